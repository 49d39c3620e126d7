"""The body as the arrays of its file, and SMPL's equation on these arrays."""

import os
import tempfile
from pathlib import Path

import numpy as np

from .rig import PARENTS, pose_features, posed_heads, skin, skinning_maps, world_rotations
from .symmetry import dense_weights

Arrays = dict[str, np.ndarray]


def pose(arrays: Arrays, betas: np.ndarray, R_parent_joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute vertices (N, V, 3) and joints (N, 24, 3) for betas (N, B) and rotations (N, 24, 3, 3); pelvis at the
    origin."""
    rest = arrays["v_template"] + np.tensordot(betas, arrays["shapedirs"].astype(np.float32), ([1], [2]))
    joints = arrays["J_template"] + np.tensordot(betas, arrays["J_shapedirs"], ([1], [2]))
    amounts = pose_features(R_parent_joint) @ arrays["posedirs_coefficients"]
    offsets = np.tensordot(amounts, arrays["posedirs_basis"].astype(np.float32), 1)
    rest[:, arrays["posedirs_vertices"]] += offsets
    R_world_joint = world_rotations(R_parent_joint)
    posed = posed_heads(joints, R_world_joint, PARENTS)
    posed = posed - posed[:, :1]
    maps = skinning_maps(joints, R_world_joint, posed).astype(np.float32)
    return skin(
        rest.astype(np.float32), maps, dense_weights(arrays["weights_joint"], arrays["weights"])
    ), posed


def without_pose_blendshapes(arrays: Arrays) -> Arrays:
    """Return the body with pose blendshapes of zero."""
    return arrays | {"posedirs_coefficients": arrays["posedirs_coefficients"] * 0}


def write(path: Path, arrays: Arrays) -> None:
    """Write the file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, **arrays)
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink()
        raise


def read(path: Path) -> Arrays:
    """Read the arrays of a file."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
