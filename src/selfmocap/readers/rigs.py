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
    sides: tuple[str, str]
    """How left and right are written, in place of `{}` in `limbs`."""
    limbs: dict[str, str]
    """By body part, the joint that stands there (LIMB_POINTS, `foot` at the toes' base, `hand` at the knuckles) or
    turns it (`collar`, `palm` where it is not the wrist's)."""

    def limb(self, part: str, side: str) -> str | None:
        """The name of the joint at a part of the `left` or `right` limbs; None where the rig has none."""
        return self.limbs[part].format(self.sides[side == "right"]) if part in self.limbs else None

    def joints(self) -> set[str]:
        """All the joints that a skeleton must have to be of this rig."""
        limbs = {name.format(side) for name in self.limbs.values() for side in self.sides}
        return {self.pelvis, *self.spine, *self.neck} | limbs


RIGS = (
    Rig(
        "CMU (Acclaim)",
        "root",
        ("lowerback", "upperback", "thorax"),
        ("lowerneck", "upperneck", "head"),
        ("l", "r"),
        {
            "hip": "{}femur", "knee": "{}tibia", "ankle": "{}foot", "foot": "{}toes", "collar": "{}clavicle",
            "shoulder": "{}humerus", "elbow": "{}radius", "wrist": "{}wrist", "palm": "{}hand", "hand": "{}fingers",
        },
    ),
    Rig(
        "CMU (exponential map)",
        "Hips",
        ("lowerback", "Chest", "Chest2"),
        ("lowerneck", "Neck", "Head"),
        ("Left", "Right"),
        {
            "hip": "{}Hip", "knee": "{}Knee", "ankle": "{}Ankle", "foot": "{}Toe", "collar": "{}Collar",
            "shoulder": "{}Shoulder", "elbow": "{}Elbow", "wrist": "{}Wrist",
        },
    ),
    Rig(
        "Daz",
        "hip",
        ("abdomen", "chest"),
        ("neck", "head"),
        ("l", "r"),
        {
            "hip": "{}Thigh", "knee": "{}Shin", "ankle": "{}Foot", "collar": "{}Collar", "shoulder": "{}Shldr",
            "elbow": "{}ForeArm", "wrist": "{}Hand", "hand": "{}Mid1",
        },
    ),
    Rig(
        "Character Creator",
        "CC_Base_Pelvis",
        ("CC_Base_Waist", "CC_Base_Spine01", "CC_Base_Spine02"),
        ("CC_Base_NeckTwist01", "CC_Base_NeckTwist02", "CC_Base_Head"),
        ("L", "R"),
        {
            "hip": "CC_Base_{}_Thigh", "knee": "CC_Base_{}_Calf", "ankle": "CC_Base_{}_Foot",
            "foot": "CC_Base_{}_ToeBase", "collar": "CC_Base_{}_Clavicle", "shoulder": "CC_Base_{}_Upperarm",
            "elbow": "CC_Base_{}_Forearm", "wrist": "CC_Base_{}_Hand", "hand": "CC_Base_{}_Mid1",
        },
    ),
    Rig(
        "SMPL",
        "pelvis",
        ("spine1", "spine2", "spine3"),
        ("neck", "head"),
        ("left", "right"),
        {
            part: f"{{}}_{part}"
            for part in ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist", "hand")
        },
    ),
    Rig(
        "Mixamo",
        "mixamorig:Hips",
        ("mixamorig:Spine", "mixamorig:Spine1", "mixamorig:Spine2"),
        ("mixamorig:Neck", "mixamorig:Head"),
        ("Left", "Right"),
        {
            "hip": "mixamorig:{}UpLeg", "knee": "mixamorig:{}Leg", "ankle": "mixamorig:{}Foot",
            "foot": "mixamorig:{}ToeBase", "collar": "mixamorig:{}Shoulder", "shoulder": "mixamorig:{}Arm",
            "elbow": "mixamorig:{}ForeArm", "wrist": "mixamorig:{}Hand",
        },
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
