"""Naming of the joints of common skeletons."""

from collections.abc import Callable
from dataclasses import dataclass

LIMB_POINTS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
"""Points that every rig has on both sides."""


@dataclass(frozen=True)
class RigNaming:
    """The joint names of a kind of skeleton."""

    name: str
    pelvis: str
    """The joint that rotates the pelvis."""
    spine: tuple[str, ...]
    """The joints that bend the back, from below; the last rotates the chest."""
    neck: tuple[str, ...]
    """The joints that bend the neck, from below; the last rotates the head."""
    limbs: dict[str, tuple[str, str]]
    """By body part, the left and the right joint at its position (LIMB_POINTS, `foot` at the base of the toes, `hand`
    at the knuckles) or that rotates it (`collar`; `palm` where the wrist's joint does not)."""

    def joints(self) -> set[str]:
        """Return all joints that a skeleton of this rig has."""
        return {
            self.pelvis,
            *self.spine,
            *self.neck,
            *(name for pair in self.limbs.values() for name in pair),
        }

    def renamed(self, rename: Callable[[str], str]) -> "RigNaming":
        """Return the naming with each joint's name replaced."""
        return RigNaming(
            self.name,
            rename(self.pelvis),
            tuple(map(rename, self.spine)),
            tuple(map(rename, self.neck)),
            {part: (rename(left), rename(right)) for part, (left, right) in self.limbs.items()},
        )


def _both(left: str, right: str, **patterns: str) -> dict[str, tuple[str, str]]:
    return {part: (pattern.format(left), pattern.format(right)) for part, pattern in patterns.items()}


def _motion_builder(spine: int, **toes: str) -> RigNaming:
    return RigNaming(
        f"MotionBuilder, {spine} joints of the spine, {'with' if toes else 'without'} toes",
        pelvis="Hips",
        spine=("Spine", "Spine1", "Spine2")[:spine],
        neck=("Neck", "Head"),
        limbs=_both(
            "Left", "Right", hip="{}UpLeg", knee="{}Leg", ankle="{}Foot", collar="{}Shoulder", shoulder="{}Arm",
            elbow="{}ForeArm", wrist="{}Hand", **toes,
        ),
    )  # fmt: skip


RIG_NAMINGS = (
    RigNaming(
        "CMU (Acclaim)",
        pelvis="root",
        spine=("lowerback", "upperback", "thorax"),
        neck=("lowerneck", "upperneck", "head"),
        limbs=_both(
            "l", "r", hip="{}femur", knee="{}tibia", ankle="{}foot", foot="{}toes", collar="{}clavicle",
            shoulder="{}humerus", elbow="{}radius", wrist="{}wrist", palm="{}hand", hand="{}fingers",
        ),
    ),
    RigNaming(
        "CMU (exponential map)",
        pelvis="Hips",
        spine=("lowerback", "Chest", "Chest2"),
        neck=("lowerneck", "Neck", "Head"),
        limbs=_both(
            "Left", "Right", hip="{}Hip", knee="{}Knee", ankle="{}Ankle", foot="{}Toe", collar="{}Collar",
            shoulder="{}Shoulder", elbow="{}Elbow", wrist="{}Wrist",
        ) | {"palm": ("lhand", "rhand"), "hand": ("LFingers", "RFingers")},
    ),
    RigNaming(
        "Daz",
        pelvis="hip",
        spine=("abdomen", "chest"),
        neck=("neck", "head"),
        limbs=_both(
            "l", "r", hip="{}Thigh", knee="{}Shin", ankle="{}Foot", collar="{}Collar", shoulder="{}Shldr",
            elbow="{}ForeArm", wrist="{}Hand", hand="{}Mid1",
        ),
    ),
    RigNaming(
        "Character Creator",
        pelvis="CC_Base_Pelvis",
        spine=("CC_Base_Waist", "CC_Base_Spine01", "CC_Base_Spine02"),
        neck=("CC_Base_NeckTwist01", "CC_Base_NeckTwist02", "CC_Base_Head"),
        limbs=_both(
            "CC_Base_L", "CC_Base_R", hip="{}_Thigh", knee="{}_Calf", ankle="{}_Foot", foot="{}_ToeBase",
            collar="{}_Clavicle", shoulder="{}_Upperarm", elbow="{}_Forearm", wrist="{}_Hand", hand="{}_Mid1",
        ),
    ),
    RigNaming(
        "SMPL, short names",
        pelvis="Pelvis",
        spine=("Spine1", "Spine2", "Spine3"),
        neck=("Neck", "Head"),
        limbs=_both(
            "L", "R",
            **{
                part: f"{{}}_{part.capitalize()}"
                for part in ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist", "hand")
            },
        ),
    ),
    RigNaming(
        "SMPL",
        pelvis="pelvis",
        spine=("spine1", "spine2", "spine3"),
        neck=("neck", "head"),
        limbs=_both(
            "left", "right",
            **{
                part: f"{{}}_{part}"
                for part in ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist", "hand")
            },
        ),
    ),
    RigNaming(
        "Mixamo",
        pelvis="mixamorig:Hips",
        spine=("mixamorig:Spine", "mixamorig:Spine1", "mixamorig:Spine2"),
        neck=("mixamorig:Neck", "mixamorig:Head"),
        limbs=_both(
            "mixamorig:Left", "mixamorig:Right", hip="{}UpLeg", knee="{}Leg", ankle="{}Foot", foot="{}ToeBase",
            collar="{}Shoulder", shoulder="{}Arm", elbow="{}ForeArm", wrist="{}Hand",
        ),
    ),
    _motion_builder(3, foot="{}ToeBase"),
    _motion_builder(3),
    _motion_builder(2, foot="{}ToeBase"),
    _motion_builder(2),
)  # fmt: skip
"""The first that fits counts: a skeleton may have more joints than a naming."""
