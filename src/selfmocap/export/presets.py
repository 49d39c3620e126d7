"""Skeletons of other programs: names, bone axes and rest poses of their standard figures."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.skeleton import ALL_JOINT_NAMES, FINGERS, HAND_SIDES, JOINT_NAMES
from selfmocap.export.names import joint_names
from selfmocap.export.rig_options import Skeleton

_Vector = tuple[int | float, int | float, int | float]
_Axes = tuple[_Vector, _Vector]
_MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class SkeletonPreset:
    """The skeleton of a program's standard figure in its rest pose: y up, facing z, its left at x."""

    names: dict[str, str]
    """The program's name of each of the body's joints that it has; `{}` and `{s}` stand for the side."""
    prefix: str = ""
    axes: dict[str, _Axes] = field(default_factory=dict)
    """The x and the y axis of the joints in the middle and at the left, in the world. Empty: all axes are the world's,
    and the rest pose is the body's T-pose."""
    right: tuple[int, int, int] = (1, 1, 1)
    """Signs of the axes of a joint at the right, after mirroring those of the left."""
    along: dict[str, int] = field(default_factory=dict)
    """The axis (0: x, 1: y) along each bone of the left limbs."""
    backwards: tuple[str, ...] = ()
    """Left bones along which that axis points backwards."""
    root: bool = False
    """Whether the figure has a root bone on the floor."""

    def joint_axes(self, joint: str) -> Float[ndarray, "3 3"]:
        """Return the axes of a joint in the rest pose as columns, in the world."""
        if not self.axes:
            return np.eye(3)
        side, _, part = joint.rpartition("_")
        x, y = np.array(self.axes[part if side else joint])
        x = x / np.linalg.norm(x)
        y = y - (x @ y) * x
        left = np.stack([x, y / np.linalg.norm(y), np.cross(x, y / np.linalg.norm(y))], axis=1)
        return _MIRROR @ left * self.right if side == "right" else left

    def limb_directions(self) -> dict[str, Float[ndarray, "3"]]:
        """Return the directions of the bones of arms and legs in the rest pose; empty if it is the body's T-pose."""
        directions = {}
        for part, axis in self.along.items():
            left = self.joint_axes(f"left_{part}")[:, axis] * (-1 if part in self.backwards else 1)
            directions |= {f"left_{part}": left, f"right_{part}": _MIRROR @ left}
        return directions


def preset_names(
    preset: SkeletonPreset, prefix: str | None, joints: tuple[str, ...] = JOINT_NAMES
) -> dict[str, str]:
    """Return the name of those of the body's joints that a preset has, with its own prefix or another."""
    return {
        joint: (preset.prefix if prefix is None else prefix) + preset.names[joint]
        for joint in joints
        if joint in preset.names
    }


def _both(**patterns: str) -> dict[str, str]:
    """Fill in the sides: `{S}` is Left, `{s}` is left, `{l}` is l."""
    return {
        f"{side}_{part}": pattern.format(S=side.capitalize(), s=side, l=side[0])
        for part, pattern in patterns.items()
        for side in HAND_SIDES
    }


_HUMANIK = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
    **_both(
        hip="{S}UpLeg", knee="{S}Leg", ankle="{S}Foot", foot="{S}ToeBase", collar="{S}Shoulder", shoulder="{S}Arm",
        elbow="{S}ForeArm", wrist="{S}Hand",
    ),
}  # fmt: skip
_VRM = {
    "pelvis": "hips", "spine1": "spine", "spine2": "chest", "spine3": "upperChest", "neck": "neck", "head": "head",
    **_both(
        hip="{s}UpperLeg", knee="{s}LowerLeg", ankle="{s}Foot", foot="{s}Toes", collar="{s}Shoulder",
        shoulder="{s}UpperArm", elbow="{s}LowerArm", wrist="{s}Hand",
    ),
}  # fmt: skip
_UNREAL = {
    "pelvis": "pelvis", "spine1": "spine_01", "spine2": "spine_02", "spine3": "spine_03", "neck": "neck_01",
    "head": "head",
    **_both(
        hip="thigh_{l}", knee="calf_{l}", ankle="foot_{l}", foot="ball_{l}", collar="clavicle_{l}",
        shoulder="upperarm_{l}", elbow="lowerarm_{l}", wrist="hand_{l}",
    ),
}  # fmt: skip
_LIMB_PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_ARM: _Axes = ((0, 0, -1), (1, 0, 0))

_FINGERS_OF = {
    "humanik": {
        f"{finger}{n}": f"{{S}}Hand{finger.capitalize()}{n}" for finger in FINGERS for n in (1, 2, 3)
    },
    "unreal": {f"{finger}{n}": f"{finger}_0{n}_{{l}}" for finger in FINGERS for n in (1, 2, 3)},
    "vrm": {
        f"{finger}{n}": f"{{s}}{'Little' if finger == 'pinky' else finger.capitalize()}{part}"
        for finger in FINGERS
        for n, part in enumerate(
            ("Metacarpal", "Proximal", "Distal")
            if finger == "thumb"
            else ("Proximal", "Intermediate", "Distal"),
            1,
        )
    },
}
_HUMANIK |= _both(**_FINGERS_OF["humanik"])
_VRM |= _both(**_FINGERS_OF["vrm"])
_UNREAL |= _both(**_FINGERS_OF["unreal"])

PRESETS: dict[Skeleton, SkeletonPreset] = {
    "smpl": SkeletonPreset(dict(zip(ALL_JOINT_NAMES, joint_names("smpl"), strict=True))),
    "humanik": SkeletonPreset(_HUMANIK),
    "vrm": SkeletonPreset(_VRM),
    "mixamo": SkeletonPreset(
        _HUMANIK,
        prefix="mixamorig:",
        axes={
            "pelvis": ((1, 0, 0), (0, 1, 0.0129)), "spine1": ((1, 0, 0), (0, 0.9891, -0.147)),
            "spine2": ((1, 0, 0), (0, 0.9891, -0.147)), "spine3": ((1, 0, 0), (0, 0.9926, -0.1215)),
            "neck": ((1, 0, 0), (0, 0.9926, -0.1215)), "head": ((1, 0, 0), (0, 0.9926, -0.1215)),
            "collar": ((-0.2057, 0.0102, -0.9786), (0.9774, -0.0484, -0.206)),
            "shoulder": _ARM, "elbow": _ARM, "wrist": _ARM,
            "hip": ((-1, 0, 0), (0, -1, 0.0078)), "knee": ((-1, 0, 0), (0, -0.9977, -0.0684)),
            "ankle": ((-1, 0, 0), (0, -0.6317, 0.7752)), "foot": ((-1, 0, 0), (0, 0, 1)),
        },
        right=(-1, 1, 1),
        along=dict.fromkeys(_LIMB_PARTS, 1),
    ),
    "unreal": SkeletonPreset(
        _UNREAL,
        axes={
            "pelvis": ((0, 1, 0.004), (-1, 0, 0)), "spine1": ((0, 0.992, 0.128), (-1, 0, 0)),
            "spine2": ((0, 0.993, -0.117), (-1, 0, 0)), "spine3": ((0, 0.986, -0.165), (-1, 0, 0)),
            "neck": ((0, 0.97, 0.242), (-1, 0, 0)), "head": ((0, 1, -0.023), (-1, 0, 0)),
            "collar": ((0.882, -0.169, -0.44), (0.151, 0.986, -0.076)),
            "shoulder": ((0.645, -0.761, -0.073), (0.761, 0.648, -0.028)),
            "elbow": ((0.718, -0.547, 0.429), (0.658, 0.735, -0.163)),
            "wrist": ((0.687, -0.576, 0.442), (0.387, -0.224, -0.894)),
            "hip": ((-0.122, 0.992, 0.03), (-0.981, -0.125, 0.145)),
            "knee": ((-0.071, 0.985, 0.156), (-0.995, -0.08, 0.052)),
            "ankle": ((-0.015, 1, 0.013), (-0.999, -0.015, 0.046)),
            "foot": ((0.046, -0.045, 0.998), (-0.999, -0.015, 0.046)),
        },
        right=(-1, -1, -1),
        along=dict.fromkeys(("shoulder", "elbow", "wrist", "hip", "knee"), 0),
        backwards=("hip", "knee"),
        root=True,
    ),
}  # fmt: skip
"""Mixamo: its standard figure, which rests in a T-pose, with y along the bones. Unreal: its mannequin, which rests in
an A-pose, with x along the bones (backwards along legs and on the right), in the axes of its glTF files. VRM and
HumanIK: a T-pose, all axes are the world's."""
