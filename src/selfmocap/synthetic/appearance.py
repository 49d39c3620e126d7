"""Random skin, hair, clothes, props and light; `surface` evaluates them at every sample of the surface."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT
from selfmocap.synthetic import surface
from selfmocap.synthetic.figure import FigureMesh, Props
from selfmocap.synthetic.shading import FigureAppearance, FigureModel
from selfmocap.synthetic.surface import MATERIAL_SIZE, NUM_EDGES, NUM_LAYERS


@dataclass(frozen=True)
class AppearanceConfig:
    """Configure the fractions of people with some clothes and props."""

    skirt: float = 0.08
    held: float = 0.15
    """With an object in a hand."""
    furniture: float = 0.2
    """With furniture between person and camera; one object is twice as likely as two."""
    patterned: float = 0.55
    """With a patterned top; half as many bottoms are patterned."""


# ---- shared by all images -------------------------------------------------------------------------------------


def figure_model(body: Body, figure: FigureMesh) -> FigureModel:
    """Return the data of rendering that all people with the body share."""
    return FigureModel(
        figure.faces, figure.face_kind, figure.rest_vertices, _face_points(body), _noise_table()
    )


def _face_points(body: Body) -> np.ndarray:
    rest = body.v_template.view(3, -1).mT
    points = body.keypoints(rest, DEFAULT_KEYPOINTS.name).numpy()
    left, right, nose = (points[DEFAULT_KEYPOINTS.index(name)] for name in ("left_eye", "right_eye", "nose"))
    eyes = (left + right) / 2
    mouth = nose - 1.45 * (eyes - nose) * np.array([0, 1, 0])
    return np.stack([left, right, nose, mouth]).astype(np.float32)


def _noise_table() -> np.ndarray:
    """Return smooth periodic noise: white noise without its high frequencies."""
    white = np.random.default_rng(7).normal(size=(16, 16, 16, 3))
    smooth = sum(np.roll(white, shift, axis) for axis in range(3) for shift in (-1, 0, 1))
    return np.clip(smooth / np.abs(smooth).max() * 2.2, -1, 1).astype(np.float32)


# ---- people ---------------------------------------------------------------------------------------------------


def sample_edges(rng: np.random.Generator, body: Body, clips: int) -> np.ndarray:
    """Draw (clips, NUM_EDGES): the ends of sleeves, trousers, socks, shoes, collars and hair."""
    joint = {name: body.J_template[index].numpy() for name, index in JOINT.items()}
    eye = _face_points(body)[0]
    edges = np.zeros((clips, NUM_EDGES), np.float32)

    def put(edge: int, values: np.ndarray | float) -> None:
        edges[:, edge] = values

    shoulder, wrist = joint["left_shoulder"][0], joint["left_wrist"][0]
    hip, knee, ankle = (joint[f"left_{part}"][1] for part in ("hip", "knee", "ankle"))
    sleeve = _sample_mixture(
        rng, clips, [(0.3, 0.95, 1.0), (0.45, 0.3, 0.5), (0.1, 0.6, 0.75), (0.15, -0.15, 0.05)]
    )
    cuff = _sample_mixture(
        rng, clips, [(0.6, 0.93, 1.02), (0.2, 0.45, 0.6), (0.12, 0.2, 0.4), (0.08, 0.7, 0.85)]
    )
    put(surface.SLEEVE, shoulder + sleeve * (wrist - shoulder))
    put(surface.SHOULDER, float(shoulder) * 0.95)
    put(surface.COLLAR, joint["neck"][1] + rng.uniform(-0.03, 0.035, clips))
    put(surface.NECKLINE, rng.choice([0.02, 0.05, 0.1], clips))
    put(surface.SLOPE, rng.uniform(7, 12, clips))
    waist = hip + rng.uniform(0.06, 0.16, clips)
    put(surface.WAIST, waist)
    put(surface.HEM, np.where(rng.random(clips) < 0.6, hip + rng.uniform(-0.1, 0.06, clips), waist))
    put(surface.CUFF, hip + cuff * (ankle - hip))
    put(surface.SOCK, ankle + rng.uniform(-0.03, 0.25, clips) * (knee - ankle))
    put(surface.SHOE, ankle + rng.uniform(-0.01, 0.04, clips) - 0.01)
    put(surface.HAIRLINE, eye[1] + rng.uniform(0.05, 0.075, clips) + 0.1 * (rng.random(clips) < 0.06))
    put(
        surface.NAPE,
        joint["head"][1] + rng.choice([-0.06, -0.02, 0.02, 0.3], clips, p=[0.35, 0.3, 0.25, 0.1]),
    )
    put(surface.EAR, joint["head"][2] + rng.uniform(-0.02, 0.02, clips))
    put(surface.CHIN, float(joint["head"][2]) + 0.04)
    return edges


def _sample_mixture(
    rng: np.random.Generator, count: int, ranges: list[tuple[float, float, float]]
) -> np.ndarray:
    """Draw values from a mixture of uniform distributions (weight, low, high)."""
    weight, low, high = np.array(ranges).T
    chosen = rng.choice(len(ranges), count, p=weight)
    return rng.uniform(low[chosen], high[chosen])


def sample_layers(rng: np.random.Generator, config: AppearanceConfig, clips: int) -> np.ndarray:
    """Draw (clips, NUM_LAYERS, MATERIAL_SIZE): colours, patterns and thickness of skin, clothes and props."""
    layers = np.zeros((clips, NUM_LAYERS, MATERIAL_SIZE), np.float32)
    layers[..., surface.SCALE] = 0.1
    skin = _sample_skin(rng, clips)
    cloth = _sample_cloth(rng, clips, NUM_LAYERS)
    second = _sample_cloth(rng, clips, NUM_LAYERS)
    layers[..., surface.COLOUR : surface.COLOUR + 3] = cloth
    layers[..., surface.SECOND : surface.SECOND + 3] = second
    for layer, fraction in ((surface.TOP, config.patterned), (surface.BOTTOM, config.patterned / 2)):
        patterned = rng.random(clips) < fraction
        layers[:, layer, surface.PATTERN] = patterned * rng.integers(1, surface.NUM_PATTERNS, clips)
        layers[:, layer, surface.SCALE] = np.exp(rng.uniform(np.log(0.025), np.log(0.2), clips))
    blotched = layers[..., surface.PATTERN] == surface.BLOTCHES
    layers[blotched, surface.SECOND : surface.SECOND + 3] = 0.65 * cloth[blotched] + 0.35 * second[blotched]
    for layer in (surface.OBJECT, surface.FURNITURE_A, surface.FURNITURE_B):
        layers[:, layer, surface.PATTERN] = (rng.random(clips) < 0.5) * surface.BLOTCHES
        layers[:, layer, surface.SCALE] = rng.uniform(0.3, 1.5, clips)
    _set_colour(layers, surface.SKIN, skin)
    _set_colour(layers, surface.HAIR, _sample_hair(rng, clips))
    _set_colour(layers, surface.BROWS, layers[:, surface.HAIR, :3] * 0.5 + skin * 0.15)
    _set_colour(layers, surface.EYES, skin * 0.1 + 0.03)
    _set_colour(layers, surface.LIPS, skin * np.array([0.75, 0.45, 0.45]))
    uniform = rng.random(clips) < 0.12
    layers[uniform, surface.BOTTOM] = layers[uniform, surface.TOP]
    wrinkled = rng.uniform(0.1, 0.5, (clips, NUM_LAYERS))
    layers[..., surface.WRINKLE] = wrinkled
    layers[:, [surface.SKIN, surface.EYES, surface.LIPS, surface.BROWS], surface.WRINKLE] = 0.06
    layers[:, [surface.OBJECT, surface.FURNITURE_A, surface.FURNITURE_B], surface.WRINKLE] = 0.15
    for layer, most in ((surface.TOP, 0.03), (surface.BOTTOM, 0.025), (surface.SHOES, 0.015)):
        layers[:, layer, surface.THICKNESS] = most * rng.random(clips) ** 1.5 + 0.002
    layers[:, surface.HAIR, surface.THICKNESS] = 0.035 * rng.random(clips) ** 1.3 + 0.003
    return layers


def _set_colour(layers: np.ndarray, layer: int, colour: np.ndarray) -> None:
    layers[:, layer, surface.COLOUR : surface.COLOUR + 3] = colour
    layers[:, layer, surface.SECOND : surface.SECOND + 3] = colour


def _sample_skin(rng: np.random.Generator, clips: int) -> np.ndarray:
    """Draw linear colours between a light and a dark skin, with a little redness."""
    light, dark = np.array([0.68, 0.44, 0.34]), np.array([0.09, 0.045, 0.028])
    tone = rng.random(clips)[:, None] ** 1.3
    return light ** (1 - tone) * dark**tone * np.exp(rng.normal(0, [0.06, 0.08, 0.1], (clips, 3)))


def _sample_hair(rng: np.random.Generator, clips: int) -> np.ndarray:
    kinds = np.array(
        [[0.012, 0.01, 0.009], [0.05, 0.028, 0.016], [0.14, 0.075, 0.035], [0.4, 0.27, 0.12], [0.35, 0.34, 0.33],
         [0.25, 0.06, 0.025]])  # fmt: skip
    kind = rng.choice(len(kinds), clips, p=[0.35, 0.28, 0.15, 0.1, 0.08, 0.04])
    return kinds[kind] * np.exp(rng.normal(0, 0.25, (clips, 1)))


def _sample_cloth(rng: np.random.Generator, clips: int, layers: int) -> np.ndarray:
    """Draw colours of cloth: mostly muted, often grey, black, white or the blue of jeans, sometimes vivid."""
    value = rng.uniform(0.12, 0.95, (clips, layers, 1)) ** 2.2
    saturation = rng.beta(1.2, 2.6, (clips, layers, 1))
    hue = rng.dirichlet([1.5, 1.5, 1.5], (clips, layers)) * 3
    colour = value * (1 - saturation + saturation * hue)
    jeans = (rng.random((clips, layers, 1)) < 0.35) & (np.arange(layers) == surface.BOTTOM)[:, None]
    blue = np.array([0.05, 0.08, 0.16]) * np.exp(rng.normal(0, 0.6, (clips, layers, 1)))
    return np.clip(np.where(jeans, blue, colour), 0.01, 0.85)


# ---- light ----------------------------------------------------------------------------------------------------


def sample_light(rng: np.random.Generator, clips: int) -> np.ndarray:
    """Draw (clips, 3, 10) light in the WORLD frame: sky and ground, a main light above, one or two weak ones."""
    light = np.zeros((clips, 3, 10))
    tint = np.exp(rng.normal(0, 0.08, (clips, 3)))
    ambient = rng.uniform(0.25, 0.6, (clips, 1)) * tint
    light[..., 0] += ambient
    light[..., 2] += ambient * rng.uniform(0.1, 0.6, (clips, 1))
    for strength, lowest in ((rng.uniform(0.4, 1.6, clips), 0.1), (rng.exponential(0.15, clips), -0.6)):
        direction = rng.normal(size=(clips, 3))
        direction[:, 1] = np.abs(direction[:, 1]) + lowest
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        colour = strength[:, None] * np.exp(rng.normal(0, 0.1, (clips, 3)))
        light += colour[..., None] * _lobe(direction)[:, None]
    return light


def _lobe(direction: np.ndarray) -> np.ndarray:
    """Expand max(0, n . d) to second order, as the quadratic form of `FigureAppearance.light`: 1/4 + c/2 + 5/32 (3 c^2
    - 1)."""
    x, y, z = direction.T
    squares = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=-1) * (15 / 32)
    constant = np.full((len(direction), 1), 1 / 4 - 5 / 32)
    return np.concatenate([constant, direction / 2, squares], axis=-1)


def light_in_camera(light: np.ndarray, R_cam_world: np.ndarray) -> np.ndarray:
    """Compute (clips, frames, 3, 10): the light of the world (clips, 3, 10) for normals in the frames of the cameras
    (clips, frames, 3, 3)."""
    linear = np.einsum("cfij,ckj->cfki", R_cam_world, light[..., 1:4])
    rows = np.array([[4, 7, 8], [7, 5, 9], [8, 9, 6]])
    M = light[..., rows] * np.where(np.eye(3, dtype=bool), 1.0, 0.5)
    M = np.einsum("cfia,ckab,cfjb->cfkij", R_cam_world, M, R_cam_world, optimize=True)
    squares = [M[..., 0, 0], M[..., 1, 1], M[..., 2, 2], 2 * M[..., 0, 1], 2 * M[..., 0, 2], 2 * M[..., 1, 2]]
    constant = np.broadcast_to(light[:, None, :, :1], (*linear.shape[:-1], 1))
    return np.concatenate([constant, linear, np.stack(squares, axis=-1)], axis=-1)


def appearance_of_frames(
    edges: np.ndarray, layers: np.ndarray, light: np.ndarray, seed: np.ndarray
) -> FigureAppearance:
    """Combine the appearance of clips with the light of their frames to one row per frame."""
    clips, frames = light.shape[:2]

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, frames, axis=0).astype(np.float32)

    return FigureAppearance(
        repeated(edges),
        repeated(layers),
        light.reshape(clips * frames, 3, 10).astype(np.float32),
        repeated(seed),
    )


# ---- props ----------------------------------------------------------------------------------------------------


def sample_props(
    rng: np.random.Generator, config: AppearanceConfig, body: Body, anchor: np.ndarray, camera: np.ndarray
) -> Props:
    """Draw skirts, held objects, and furniture between the `anchor` (clips, 3) of each person and the `camera` (clips,
    3), both in the world."""
    clips = len(anchor)
    length = _sample_mixture(rng, clips, [(0.5, 0.45, 0.8), (0.35, 0.8, 1.1), (0.15, 1.2, 1.7)])
    hips = float(body.J_template[JOINT["left_hip"]][0])
    skirt = np.stack([length, rng.uniform(0.6, 0.85, clips) * hips + 0.03, rng.uniform(0.0, 0.1, clips)], -1)
    skirt *= (rng.random(clips) < config.skirt)[:, None]
    held = np.sort(np.exp(rng.uniform(np.log(0.015), np.log(0.3), (clips, 3))), axis=1)
    held[:, :2] *= 0.6
    held *= (rng.random(clips) < config.held)[:, None]
    by = np.where(rng.random(clips) < 0.6, JOINT["right_hand"], JOINT["left_hand"])
    boxes = _sample_furniture(rng, config, anchor, camera)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).float()

    return Props(
        tensor(skirt), tensor(held), tensor(np.eye(len(JOINT))[by]), tensor(rng.normal(0, 0.04, (clips, 3))),
        *(tensor(values) for values in boxes),
    )  # fmt: skip


def _sample_furniture(
    rng: np.random.Generator, config: AppearanceConfig, anchor: np.ndarray, camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clips = len(anchor)
    towards = camera - anchor
    towards[:, 1] = 0
    distance = np.linalg.norm(towards, axis=1, keepdims=True)
    towards = towards / np.maximum(distance, 1e-6)
    across = np.stack([towards[:, 2], np.zeros(clips), -towards[:, 0]], axis=-1)
    present = rng.random((clips, 2)) < np.array([config.furniture, config.furniture / 2])
    half = np.exp(rng.normal(np.log([0.25, 0.3, 0.2]), 0.5, (clips, 2, 3))) * present[..., None]
    half = half.clip(max=1.0)
    # Close enough to occlude the person, but never around the camera.
    ahead = np.minimum(rng.uniform(0.4, 1.2, (clips, 2)) + half[..., 2], 0.6 * distance)
    position = anchor[:, None] * [1, 0, 1] + ahead[..., None] * towards[:, None]
    position = position + rng.normal(0, 0.35, (clips, 2, 1)) * across[:, None]
    position[..., 1] = half[..., 1]
    angle = rng.uniform(-0.6, 0.6, (clips, 2))
    R = np.zeros((clips, 2, 3, 3))
    z = np.cos(angle)[..., None] * towards[:, None] + np.sin(angle)[..., None] * across[:, None]
    R[..., :, 1] = [0, 1, 0]
    R[..., :, 2] = z
    R[..., :, 0] = np.cross(R[..., :, 1], z)
    return half, R, position


def posed_light(light: np.ndarray, R_cam_world: Float[Tensor, "clips frames 3 3"]) -> np.ndarray:
    """Compute `light_in_camera` for a tensor of cameras."""
    return light_in_camera(light, R_cam_world.double().numpy())
