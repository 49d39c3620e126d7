"""Read the exponential-map text of CMU recordings that motion prediction uses (117 numbers per line)."""

from pathlib import Path

import roma
import torch

from selfmocap.datasets.asf_amc import CMU_FPS
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.io.text import parse_number_table, read_text

CMU_UNIT = 0.0254 / 0.45
"""Metres per unit."""

_SKELETON = (
    ("Hips", "", 0, 0, 0), ("LHipJoint", "Hips", 0, 0, 0), ("LeftHip", "LHipJoint", 1.65674, -1.80282, 0.62477),
    ("LeftKnee", "LeftHip", 2.59720, -7.13576, 0), ("LeftAnkle", "LeftKnee", 2.49236, -6.84770, 0),
    ("LeftToe", "LeftAnkle", 0.19704, -0.54136, 2.14581), ("LeftToe_end", "LeftToe", 0, 0, 1.11249),
    ("RHipJoint", "Hips", 0, 0, 0), ("RightHip", "RHipJoint", -1.61070, -1.80282, 0.62476),
    ("RightKnee", "RightHip", -2.59502, -7.12977, 0), ("RightAnkle", "RightKnee", -2.46780, -6.78024, 0),
    ("RightToe", "RightAnkle", -0.23024, -0.63258, 2.13368), ("RightToe_end", "RightToe", 0, 0, 1.11569),
    ("lowerback", "Hips", 0, 0, 0), ("Chest", "lowerback", 0.01961, 2.05450, -0.14112),
    ("Chest2", "Chest", 0.01021, 2.06436, -0.05921), ("lowerneck", "Chest2", 0, 2.068, 0),
    ("Neck", "lowerneck", 0.00713, 1.56711, 0.14968), ("Head", "Neck", 0.03429, 1.56041, -0.10006),
    ("Head_end", "Head", 0.01305, 1.62560, -0.05265), ("LeftCollar", "Chest2", 0, 2.068, 0),
    ("LeftShoulder", "LeftCollar", 3.54205, 0.90436, -0.17364), ("LeftElbow", "LeftShoulder", 4.86513, 0, 0),
    ("LeftWrist", "LeftElbow", 3.35554, 0, 0), ("lhand", "LeftWrist", 0, 0, 0), ("LFingers", "lhand", 0.66117, 0, 0),
    ("LFingers_end", "LFingers", 0.53306, 0, 0), ("LThumb", "lhand", 0, 0, 0),
    ("LThumb_end", "LThumb", 0.54120, 0, 0.54120), ("RightCollar", "Chest2", 0, 2.068, 0),
    ("RightShoulder", "RightCollar", -3.49802, 0.75994, -0.32616), ("RightElbow", "RightShoulder", -5.02649, 0, 0),
    ("RightWrist", "RightElbow", -3.36431, 0, 0), ("rhand", "RightWrist", 0, 0, 0),
    ("RFingers", "rhand", -0.73041, 0, 0), ("RFingers_end", "RFingers", -0.58887, 0, 0), ("RThumb", "rhand", 0, 0, 0),
    ("RThumb_end", "RThumb", -0.59786, 0, 0.59786),
)  # fmt: skip
"""Name, parent and offset (CMU units) of the joints, in the order of the columns. The file contains none: all
recordings share this skeleton. The original conversion lost the thorax bone, which puts shoulders, arms and head 11.7
cm too low; here it is restored, as the 2.068 units below the neck and the collars."""


def read_cmu_exponential(path: Path | str, fps: float | None = None, subject: str = "") -> SkeletonMotion:
    """Read the motion of an exponential-map text file: a line per frame with the root's position and 38 rotation
    vectors.

    The vectors are those of the inverse rotations, since the field multiplies row vectors. Raises ValueError that names
    the file and the expected content."""
    path = Path(path)
    columns = 3 + 3 * len(_SKELETON)
    table = torch.from_numpy(parse_number_table(path, read_text(path), 1, columns, ","))
    names = tuple(name for name, *_ in _SKELETON)
    rotvec = -table[:, 3:].unflatten(1, (len(names), 3))
    return SkeletonMotion(
        name=path.stem,
        subject=subject,
        fps=fps or CMU_FPS,
        joint_names=names,
        parents=tuple(names.index(parent) if parent else -1 for _, parent, *_ in _SKELETON),
        offsets=torch.tensor([offset for _, _, *offset in _SKELETON], dtype=torch.float64) * CMU_UNIT,
        R_parent_joint=roma.rotvec_to_rotmat(rotvec),
        p_world_root=table[:, :3] * CMU_UNIT,
    )
