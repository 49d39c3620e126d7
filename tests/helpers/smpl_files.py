"""Make body models in SMPL's file format with random content of real sizes, since the real files are licensed."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

from selfmocap.body_model.skeleton import JOINT_PARENTS

PARENTS = {24: list(JOINT_PARENTS), 52: list(JOINT_PARENTS[:22]), 55: [*JOINT_PARENTS[:22], 15, 15, 15]}
for _joints in (52, 55):
    for _wrist in (20, 21):
        for _finger in range(5):
            _first = len(PARENTS[_joints])
            PARENTS[_joints] += [_wrist, _first, _first + 1]


def smpl_arrays(vertices: int = 6890, joints: int = 24, betas: int = 10, seed: int = 0) -> dict[str, Any]:
    """Make the arrays of an SMPL (24 joints), SMPL-H (52) or SMPL-X (55) file with realistic magnitudes."""
    rng = np.random.default_rng(seed)
    v_template = rng.uniform([-0.9, -1.2, -0.15], [0.9, 0.6, 0.15], (vertices, 3))
    weights = rng.random((vertices, joints)) ** 8
    regressor = np.zeros((joints, vertices))
    for row in regressor:
        row[rng.choice(vertices, 30, replace=False)] = rng.random(30)
    return {
        "v_template": v_template,
        "f": rng.integers(0, vertices, (2 * vertices - 4, 3)).astype(np.uint32),
        "shapedirs": rng.normal(0, 0.01, (vertices, 3, betas)),
        "posedirs": rng.normal(0, 0.001, (vertices, 3, 9 * (joints - 1))),
        "weights": weights / weights.sum(1, keepdims=True),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": np.array([PARENTS[joints], range(joints)]).astype(np.uint32),
    }


def write_smpl_npz(path: Path, **sizes: int) -> Path:
    """Write arrays as SMPL-X and the `.npz` releases of SMPL-H."""
    np.savez(path, **smpl_arrays(**sizes))
    return path


def write_smpl_pickle(path: Path, **sizes: int) -> Path:
    """Write arrays as SMPL 1.0, with plain arrays instead of chumpy: a pickle with a scipy sparse matrix."""
    arrays = smpl_arrays(**sizes)
    arrays |= {"J_regressor": csc_matrix(arrays["J_regressor"]), "bs_style": "lbs", "bs_type": "lrotmin"}
    path.write_bytes(pickle.dumps(arrays, protocol=2))
    return path
