"""Names of the body's joints in other programs."""

from typing import Literal

from selfmocap.body_model.skeleton import ALL_JOINT_NAMES, FINGERS

Naming = Literal["smpl", "mixamo"]

_SIDES = {"left": "L", "right": "R"}
_MIXAMO = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
    "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase", "collar": "Shoulder", "shoulder": "Arm",
    "elbow": "ForeArm", "wrist": "Hand", "hand": "HandKnuckles",
}  # fmt: skip
"""Mixamo has no joint for all fingers: HandKnuckles is a name of this project, which Mixamo retargeters ignore."""


def joint_names(naming: Naming) -> tuple[str, ...]:
    """Return the names of ALL_JOINT_NAMES: `L_Knee` as in SMPL's own files, or `mixamorig:LeftLeg`."""
    name_of = {"smpl": _smpl_name, "mixamo": _mixamo_name}
    if naming not in name_of:
        raise ValueError(f"no joint naming {naming!r}; choose from {', '.join(name_of)}")
    return tuple(name_of[naming](joint) for joint in ALL_JOINT_NAMES)


def _smpl_name(joint: str) -> str:
    side, _, part = joint.rpartition("_")
    return "_".join([*([_SIDES[side]] if side else []), part.capitalize()])


def _mixamo_name(joint: str) -> str:
    side, _, part = joint.rpartition("_")
    name = f"Hand{part.capitalize()}" if part.rstrip("123") in FINGERS else _MIXAMO[part]
    return f"mixamorig:{side.capitalize()}{name}"
