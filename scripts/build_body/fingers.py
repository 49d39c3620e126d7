"""The finger joints of the body, with their skinning weights: the arrays of a file beside that of the body."""

import numpy as np

from .packed import Arrays
from .rig import JOINT
from .shape_space import ShapeSpace
from .source import Source
from .symmetry import dense_weights

FINGER_BONES = {"index": 2, "middle": 3, "pinky": 5, "ring": 4, "thumb": 1}
"""anny's number of each finger, in SMPL-H's order of the fingers."""
SIDES = {"left": "L", "right": "R"}
MAX_JOINTS = 4
"""Finger joints that may move one vertex."""


def finger_bones(bone_names: tuple[str, ...]) -> list[int]:
    """Return anny's bone of each of the 30 finger joints: of the left hand, then of the right one."""
    return [
        bone_names.index(f"finger{number}-{phalanx}.{suffix}")
        for suffix in SIDES.values()
        for number in FINGER_BONES.values()
        for phalanx in (1, 2, 3)
    ]


def finger_arrays(body: Source, space: ShapeSpace, skin: Arrays, coefficients: np.ndarray) -> Arrays:
    """Compute the finger joints, linear in the betas of a population (N, K), and the parts of their hand's skinning
    weight that the fingers have. `skin` are the skinning weights of the body's file."""
    bones = finger_bones(body.bone_names)
    vertices, heads = body.t_pose(coefficients)
    ground = vertices.mean(0)[:, 1].min() * np.array([0.0, 1.0, 0.0])
    betas = np.concatenate([np.ones((len(vertices), 1)), space.betas(vertices + -ground)], 1)
    solution = np.linalg.lstsq(betas, (heads[:, bones] - ground).reshape(len(heads), -1), rcond=None)[0]
    linear = solution.reshape(-1, len(bones), 3).astype(np.float32)
    hands = dense_weights(skin["weights_joint"], skin["weights"])[:, [JOINT[f"{s}_hand"] for s in SIDES]]
    moved = np.flatnonzero(hands.any(1))
    joints, fractions = _largest(body.weights[np.ix_(moved, bones)])
    return {
        "J_template": linear[0],
        "J_shapedirs": np.moveaxis(linear[1:], 0, 2),
        "vertices": moved.astype(np.int32),
        "weights_joint": joints,
        "weights": fractions,
        "tips": _tips(body, space, linear[0]),
    }


def _largest(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the `MAX_JOINTS` largest weights of each vertex, with their joints; they sum to 1."""
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :MAX_JOINTS]
    largest = np.take_along_axis(weights, joints, 1)
    return joints.astype(np.uint8), (largest / largest.sum(1, keepdims=True)).astype(np.float32)


def _tips(body: Source, space: ShapeSpace, joints: np.ndarray) -> np.ndarray:
    """Return the vertex at the end of each finger (10,): of those that its last bone moves most, the farthest."""
    weights = body.weights[:, finger_bones(body.bone_names)]
    tips = []
    for last in range(2, weights.shape[1], 3):
        own = np.flatnonzero(weights.argmax(1) * (weights.max(1) > 0) == last)
        outwards = joints[last] - joints[last - 1]
        tips.append(own[(space.v_template[own] @ outwards).argmax()])
    return np.array(tips, np.int32)
