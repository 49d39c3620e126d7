"""Plain clothes: which part of a dressed person each vertex of a body is drawn as."""

import numpy as np
from jaxtyping import UInt8

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT

PARTS = ("skin", "hair", "shirt", "trousers", "shoes")

_JOINTS = {
    "shirt": ("spine1", "spine2", "spine3", "collar", "shoulder"),
    "trousers": ("pelvis", "hip", "knee"),
    "shoes": ("ankle", "foot"),
}
_HAIRLINE, _BACK_HAIRLINE = 0.62, 0.22
"""Heights of the hairline at the forehead and at the back, from the chin (0) to the top of the head (1)."""


def clothed_parts(body: Body) -> UInt8[np.ndarray, " vertices"]:
    """Return the index in PARTS of each vertex, by the joint that moves it, and on the head by its height and depth."""
    joint, parts = body.vertex_joint.numpy(), np.zeros(len(body.vertex_joint), np.uint8)
    for part, words in _JOINTS.items():
        members = [index for name, index in JOINT.items() if name.endswith(words)]
        parts[np.isin(joint, members)] = PARTS.index(part)
    head = np.flatnonzero(joint == JOINT["head"])
    p = body.v_template.reshape(3, -1).numpy().T[head]
    low, high = p.min(0), p.max(0)
    height, forward = ((p[:, axis] - low[axis]) / (high[axis] - low[axis]) for axis in (1, 2))
    parts[head[height > _BACK_HAIRLINE + (_HAIRLINE - _BACK_HAIRLINE) * np.minimum(2 * forward, 1.2)]] = (
        PARTS.index("hair")
    )
    return parts
