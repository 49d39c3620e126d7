"""The mesh that is rendered: body, skirt, a box in a hand, and furniture in front of the person.

All images share one topology. Vertices of absent parts lie in one point, which covers no pixel."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT

SKIRT_RINGS, SKIRT_SEGMENTS = 9, 28
NUM_BOXES = 3
"""One in a hand, two on the ground."""

BODY_FACE, SKIRT_FACE, HELD_FACE, FURNITURE_FACE = 0, 1, 2, 3
"""Kinds of faces. FURNITURE_FACE is the first box on the ground, FURNITURE_FACE + 1 the second."""

_CUBE = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], np.float32)
_CUBE_FACES = np.array(
    [[0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4],
     [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5]], np.int32)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FigureMesh:
    """The topology, and the vertices in the rest pose."""

    faces: np.ndarray
    """(faces, 3) int32."""
    face_kind: np.ndarray
    """(faces,) uint8: BODY_FACE, SKIRT_FACE, HELD_FACE or FURNITURE_FACE."""
    rest_vertices: np.ndarray
    """(3, vertices) float32, metres, the coordinates of patterns. A skirt's are a cylinder below the trunk, a box's the
    unit cube."""
    face_part: np.ndarray
    """(faces,) uint8: 1 + the joint that moves most of the face's vertices, 0 for boxes; the pelvis for a skirt."""
    num_body_vertices: int


def figure_mesh(body: Body) -> FigureMesh:
    """Build the mesh of a body."""
    count = len(body.vertex_joint)
    skirt_faces = _skirt_faces() + count
    first_box = count + SKIRT_RINGS * SKIRT_SEGMENTS
    boxes = [_CUBE_FACES + first_box + 8 * i for i in range(NUM_BOXES)]
    body_faces = body.faces.numpy().astype(np.int32)
    parts = np.median(body.vertex_joint.numpy()[body_faces], axis=1).astype(np.uint8) + 1
    kinds = [np.full(len(body_faces), BODY_FACE), np.full(len(skirt_faces), SKIRT_FACE)]
    kinds += [np.full(len(_CUBE_FACES), HELD_FACE + i) for i in range(NUM_BOXES)]
    return FigureMesh(
        faces=np.concatenate([body_faces, skirt_faces, *boxes]),
        face_kind=np.concatenate(kinds).astype(np.uint8),
        rest_vertices=np.concatenate(
            [body.v_template.view(3, -1).numpy(), _skirt_rest(body), *[_CUBE.T] * NUM_BOXES], axis=1
        ).astype(np.float32),
        face_part=np.concatenate(
            [parts, np.full(len(skirt_faces), JOINT["pelvis"] + 1), np.zeros(NUM_BOXES * len(_CUBE_FACES))]
        ).astype(np.uint8),
        num_body_vertices=count,
    )


def _skirt_faces() -> np.ndarray:
    ring, segment = np.meshgrid(np.arange(SKIRT_RINGS - 1), np.arange(SKIRT_SEGMENTS), indexing="ij")
    a = ring * SKIRT_SEGMENTS + segment
    b = ring * SKIRT_SEGMENTS + (segment + 1) % SKIRT_SEGMENTS
    c, d = a + SKIRT_SEGMENTS, b + SKIRT_SEGMENTS
    return (
        np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], axis=2).reshape(-1, 3).astype(np.int32)
    )


def _skirt_rest(body: Body) -> np.ndarray:
    angle = 2 * np.pi * np.arange(SKIRT_SEGMENTS) / SKIRT_SEGMENTS
    level = np.linspace(0, 1, SKIRT_RINGS)
    hip = body.J_template[JOINT["left_hip"]].numpy()
    reach = body.J_template[JOINT["left_ankle"]].numpy()[1] - hip[1]
    x, z = 0.18 * np.cos(angle), 0.18 * np.sin(angle)
    y = hip[1] + reach * level
    return np.stack(np.broadcast_arrays(x[None], y[:, None], z[None])).reshape(3, -1)


@dataclass(frozen=True, eq=False)
class Props:
    """A person's skirt, the object in their hand, and the furniture in front of them. Absent ones have size zero."""

    skirt: Float[Tensor, "clips 3"]
    """Length in leg bones (1 reaches the knee), radius at the hips and growth of the radius downwards, metres."""
    held: Float[Tensor, "clips 3"]
    """Half sides of the box in a hand, metres."""
    holding_joint: Float[Tensor, "clips 24"]
    """One at the joint that holds the box, zero elsewhere."""
    p_joint_held: Float[Tensor, "clips 3"]
    """Centre of the box in the frame of that joint, metres."""
    furniture: Float[Tensor, "clips 2 3"]
    """Half sides of the boxes on the ground, metres."""
    R_world_furniture: Float[Tensor, "clips 2 3 3"]
    """Rotations of the boxes on the ground."""
    p_world_furniture: Float[Tensor, "clips 2 3"]
    """Centres of the boxes on the ground, metres."""


def skirt_vertices(
    skirt: Float[Tensor, "clips 3"],
    R: Float[Tensor, "clips frames 24 3 3"],
    p: Float[Tensor, "clips frames 24 3"],
) -> Float[Tensor, "clips frames 3 vertices"]:
    """Compute the vertices of skirts: rings around both legs. `R` and `p` are the joints' in the frame of the result. A
    skirt of length zero is one point."""
    length, radius, flare = (skirt[:, None, None, i] for i in range(3))
    along = torch.linspace(-0.22, 1.0, SKIRT_RINGS).expand(*R.shape[:2], SKIRT_RINGS) * length
    left, right = (_leg_points(p, side, along) for side in ("left", "right"))
    down = torch.nn.functional.normalize((left + right)[:, :, -1] - (left + right)[:, :, 0] + 1e-6, dim=-1)
    sideways = R[:, :, JOINT["pelvis"], :, 0]
    sideways = sideways - (sideways * down).sum(-1, keepdim=True) * down
    sideways = torch.nn.functional.normalize(sideways, dim=-1)
    forward = torch.cross(sideways, down, dim=-1) * -1
    angle = torch.arange(SKIRT_SEGMENTS) * (2 * torch.pi / SKIRT_SEGMENTS)
    u = angle.cos()[:, None] * sideways[..., None, :] + angle.sin()[:, None] * forward[..., None, :]
    separation = torch.einsum("cfri,cfsi->cfrs", left - right, u)
    weight = torch.sigmoid(separation * 30)[..., None]
    middle = weight * left[..., None, :] + (1 - weight) * right[..., None, :]
    size = (radius + flare * along.clamp_min(0)) * (length > 0)
    points = middle + size[..., None, None] * u[:, :, None]
    return points.flatten(2, 3).mT


def _leg_points(
    p: Float[Tensor, "clips frames 24 3"], side: str, along: Float[Tensor, "clips frames rings"]
) -> Float[Tensor, "clips frames rings 3"]:
    hip, knee, ankle = (p[:, :, None, JOINT[f"{side}_{part}"]] for part in ("hip", "knee", "ankle"))
    thigh, shin = along[..., None].clamp(max=1.0), (along[..., None] - 1).clamp(min=0.0)
    return hip + (knee - hip) * thigh + (ankle - knee) * shin


def box_vertices(
    half: Float[Tensor, "*batch 3"], R: Float[Tensor, "*batch 3 3"], center: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 8"]:
    """Compute the corners of boxes with half sides `half`."""
    return R @ (half[..., None] * torch.from_numpy(_CUBE.T)) + center[..., None]
