"""The mesh that is drawn: the body, a skirt around its legs, something in its hand, something in front of it.

One topology serves every picture; what a person does not wear or hold is shrunk to a point, which covers no pixel.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT

RINGS, SEGMENTS = 9, 28
BOXES = 3
"""One in a hand, two on the ground."""

BODY, SKIRT, HELD, GROUNDED = 0, 1, 2, 3
"""What a face belongs to; GROUNDED is of the first box on the ground, GROUNDED + 1 of the second."""

_CUBE = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], np.float32)
_CUBE_FACES = np.array(
    [[0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4],
     [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5]], np.int32)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Figure:
    """The topology, and where each vertex is in the rest pose."""

    faces: np.ndarray
    """(faces, 3) int32."""
    kind: np.ndarray
    """(faces,) uint8: BODY, SKIRT, HELD or GROUNDED."""
    rest: np.ndarray
    """(3, vertices) float32, metres: where patterns live. Of the skirt: a cylinder that continues the trunk; of
    boxes: the unit cube."""
    parts: np.ndarray
    """(faces,) uint8: 1 + the joint that moves most of the face's vertices, 0 for boxes; a skirt counts as pelvis."""
    body_vertices: int


def figure_of(body: Body) -> Figure:
    """The mesh to draw for a body."""
    count = len(body.vertex_joint)
    skirt_faces = _skirt_faces() + count
    first_box = count + RINGS * SEGMENTS
    boxes = [_CUBE_FACES + first_box + 8 * i for i in range(BOXES)]
    body_faces = body.faces.numpy().astype(np.int32)
    parts = np.median(body.vertex_joint.numpy()[body_faces], axis=1).astype(np.uint8) + 1
    kinds = [np.full(len(body_faces), BODY), np.full(len(skirt_faces), SKIRT)]
    kinds += [np.full(len(_CUBE_FACES), HELD + i) for i in range(BOXES)]
    return Figure(
        faces=np.concatenate([body_faces, skirt_faces, *boxes]),
        kind=np.concatenate(kinds).astype(np.uint8),
        rest=np.concatenate(
            [body.v_template.view(3, -1).numpy(), _skirt_rest(body), *[_CUBE.T] * BOXES], axis=1
        ).astype(np.float32),
        parts=np.concatenate(
            [parts, np.full(len(skirt_faces), JOINT["pelvis"] + 1), np.zeros(BOXES * len(_CUBE_FACES))]
        ).astype(np.uint8),
        body_vertices=count,
    )


def _skirt_faces() -> np.ndarray:
    ring, segment = np.meshgrid(np.arange(RINGS - 1), np.arange(SEGMENTS), indexing="ij")
    a = ring * SEGMENTS + segment
    b = ring * SEGMENTS + (segment + 1) % SEGMENTS
    c, d = a + SEGMENTS, b + SEGMENTS
    return (
        np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], axis=2).reshape(-1, 3).astype(np.int32)
    )


def _skirt_rest(body: Body) -> np.ndarray:
    angle = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    level = np.linspace(0, 1, RINGS)
    hip = body.J_template[JOINT["left_hip"]].numpy()
    reach = body.J_template[JOINT["left_ankle"]].numpy()[1] - hip[1]
    x, z = 0.18 * np.cos(angle), 0.18 * np.sin(angle)
    y = hip[1] + reach * level
    return np.stack(np.broadcast_arrays(x[None], y[:, None], z[None])).reshape(3, -1)


@dataclass(frozen=True, eq=False)
class Things:
    """What a person wears and holds beside its body, and what stands before it. Sizes of zero mean there is none."""

    skirt: Float[Tensor, "clips 3"]
    """Length in leg bones (1 reaches the knee), radius at the hips and growth of the radius downwards, metres."""
    held: Float[Tensor, "clips 3"]
    """Half sides of the box in a hand, metres."""
    held_by: Float[Tensor, "clips 24"]
    """One at the joint that holds it, zero elsewhere."""
    held_at: Float[Tensor, "clips 3"]
    """Its centre in the frame of that joint, metres."""
    grounded: Float[Tensor, "clips 2 3"]
    """Half sides of the boxes on the ground, metres."""
    grounded_R: Float[Tensor, "clips 2 3 3"]
    """`R_world_box`."""
    grounded_at: Float[Tensor, "clips 2 3"]
    """Their centres in the world, metres."""


def skirt_vertices(
    skirt: Float[Tensor, "clips 3"],
    R: Float[Tensor, "clips frames 24 3 3"],
    p: Float[Tensor, "clips frames 24 3"],
) -> Float[Tensor, "clips frames 3 vertices"]:
    """Rings around both legs, each around the hull of the two at its level; `R` and `p` are the joints' in the frame
    that the vertices are wanted in. A skirt of length zero is one point."""
    length, radius, flare = (skirt[:, None, None, i] for i in range(3))
    along = torch.linspace(-0.22, 1.0, RINGS).expand(*R.shape[:2], RINGS) * length
    left, right = (_down_the_leg(p, side, along) for side in ("left", "right"))
    down = torch.nn.functional.normalize((left + right)[:, :, -1] - (left + right)[:, :, 0] + 1e-6, dim=-1)
    sideways = R[:, :, JOINT["pelvis"], :, 0]
    sideways = sideways - (sideways * down).sum(-1, keepdim=True) * down
    sideways = torch.nn.functional.normalize(sideways, dim=-1)
    forward = torch.cross(sideways, down, dim=-1) * -1
    angle = torch.arange(SEGMENTS) * (2 * torch.pi / SEGMENTS)
    u = angle.cos()[:, None] * sideways[..., None, :] + angle.sin()[:, None] * forward[..., None, :]
    apart = torch.einsum("cfri,cfsi->cfrs", left - right, u)
    share = torch.sigmoid(apart * 30)[..., None]
    middle = share * left[..., None, :] + (1 - share) * right[..., None, :]
    size = (radius + flare * along.clamp_min(0)) * (length > 0)
    points = middle + size[..., None, None] * u[:, :, None]
    return points.flatten(2, 3).mT


def _down_the_leg(
    p: Float[Tensor, "clips frames 24 3"], side: str, along: Float[Tensor, "clips frames rings"]
) -> Float[Tensor, "clips frames rings 3"]:
    hip, knee, ankle = (p[:, :, None, JOINT[f"{side}_{part}"]] for part in ("hip", "knee", "ankle"))
    thigh, shin = along[..., None].clamp(max=1.0), (along[..., None] - 1).clamp(min=0.0)
    return hip + (knee - hip) * thigh + (ankle - knee) * shin


def box_vertices(
    half: Float[Tensor, "*batch 3"], R: Float[Tensor, "*batch 3 3"], center: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 8"]:
    """The corners of boxes with half sides `half`."""
    return R @ (half[..., None] * torch.from_numpy(_CUBE.T)) + center[..., None]
