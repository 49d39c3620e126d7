"""Which joints of the skeletons in use stand where in a person's body."""

from dataclasses import dataclass

LIMB_POINTS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
"""What every rig has on both sides."""


@dataclass(frozen=True)
class Rig:
    """A skeleton's naming."""

    name: str
    pelvis: str
    """The joint that turns the pelvis."""
    spine: tuple[str, ...]
    """The joints that bend the back, from below; the last turns the chest."""
    neck: tuple[str, ...]
    """The joints that bend the neck, from below; the last turns the head."""
    limbs: dict[str, tuple[str, str]]
    """By body part, the left and the right joint that stands there (LIMB_POINTS, `foot` at the toes' base, `hand` at
    the knuckles) or turns it (`collar`; `palm` where the wrist's joint does not)."""

    def joints(self) -> set[str]:
        """All the joints that a skeleton must have to be of this rig."""
        return {
            self.pelvis,
            *self.spine,
            *self.neck,
            *(name for pair in self.limbs.values() for name in pair),
        }


def _both(left: str, right: str, **patterns: str) -> dict[str, tuple[str, str]]:
    return {part: (pattern.format(left), pattern.format(right)) for part, pattern in patterns.items()}


RIGS = (
    Rig(
        "CMU (Acclaim)",
        pelvis="root",
        spine=("lowerback", "upperback", "thorax"),
        neck=("lowerneck", "upperneck", "head"),
        limbs=_both(
            "l", "r", hip="{}femur", knee="{}tibia", ankle="{}foot", foot="{}toes", collar="{}clavicle",
            shoulder="{}humerus", elbow="{}radius", wrist="{}wrist", palm="{}hand", hand="{}fingers",
        ),
    ),
    Rig(
        "CMU (exponential map)",
        pelvis="Hips",
        spine=("lowerback", "Chest", "Chest2"),
        neck=("lowerneck", "Neck", "Head"),
        limbs=_both(
            "Left", "Right", hip="{}Hip", knee="{}Knee", ankle="{}Ankle", foot="{}Toe", collar="{}Collar",
            shoulder="{}Shoulder", elbow="{}Elbow", wrist="{}Wrist",
        ) | {"palm": ("lhand", "rhand"), "hand": ("LFingers", "RFingers")},
    ),
    Rig(
        "Daz",
        pelvis="hip",
        spine=("abdomen", "chest"),
        neck=("neck", "head"),
        limbs=_both(
            "l", "r", hip="{}Thigh", knee="{}Shin", ankle="{}Foot", collar="{}Collar", shoulder="{}Shldr",
            elbow="{}ForeArm", wrist="{}Hand", hand="{}Mid1",
        ),
    ),
    Rig(
        "Character Creator",
        pelvis="CC_Base_Pelvis",
        spine=("CC_Base_Waist", "CC_Base_Spine01", "CC_Base_Spine02"),
        neck=("CC_Base_NeckTwist01", "CC_Base_NeckTwist02", "CC_Base_Head"),
        limbs=_both(
            "CC_Base_L", "CC_Base_R", hip="{}_Thigh", knee="{}_Calf", ankle="{}_Foot", foot="{}_ToeBase",
            collar="{}_Clavicle", shoulder="{}_Upperarm", elbow="{}_Forearm", wrist="{}_Hand", hand="{}_Mid1",
        ),
    ),
    Rig(
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
    Rig(
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
    Rig(
        "Mixamo",
        pelvis="mixamorig:Hips",
        spine=("mixamorig:Spine", "mixamorig:Spine1", "mixamorig:Spine2"),
        neck=("mixamorig:Neck", "mixamorig:Head"),
        limbs=_both(
            "mixamorig:Left", "mixamorig:Right", hip="{}UpLeg", knee="{}Leg", ankle="{}Foot", foot="{}ToeBase",
            collar="{}Shoulder", shoulder="{}Arm", elbow="{}ForeArm", wrist="{}Hand",
        ),
    ),
)  # fmt: skip


def rig_of(name: str, joint_names: tuple[str, ...]) -> Rig:
    """The rig that a skeleton's joint names belong to; a ValueError that says what is known otherwise."""
    names = set(joint_names)
    for rig in RIGS:
        if rig.joints() <= names:
            return rig
    nearest = min(RIGS, key=lambda rig: len(rig.joints() - names))
    missing = sorted(nearest.joints() - names)
    raise ValueError(
        f"{name}: a skeleton of an unknown kind; nearest is {nearest.name}'s, which has {', '.join(missing[:6])} as "
        f"well. Known are {', '.join(rig.name for rig in RIGS)}: rename the joints to one of these"
    )
