"""Options of exported skeletons and their animation. This module imports nothing heavy: the command line is built from
it."""

from dataclasses import dataclass
from typing import Literal, get_args

Skeleton = Literal["smpl", "mixamo", "vrm", "unreal", "humanik"]
EulerOrder = Literal["ZXY", "ZYX", "XYZ", "XZY", "YXZ", "YZX"]


@dataclass(frozen=True)
class RigOptions:
    """Options of the skeletons in `bvh`, `glb`, `fbx`, `blend` and `usd`. Raises ValueError for an invalid prefix."""

    skeleton: Skeleton = "smpl"
    """Skeleton with its joint names, bone axes and rest pose, in bvh, glb, fbx, blend and usd."""
    prefix: str | None = None
    """Prefix of all joint names; None is the skeleton's own (`mixamorig:`)."""
    root_bone: bool = False
    """Add a bone on the floor that moves along with the hips. Unreal's skeleton always has one."""
    t_pose: bool = False
    """Begin with one frame in the T-pose, standing on the floor; all other frames come one frame later."""
    euler_order: EulerOrder = "ZXY"
    """Order of the rotation channels of all joints in bvh: R is their product from left to right."""
    in_place: bool = False
    """Keep the hips above one place."""
    origin: Literal["camera", "first-frame"] = "camera"
    """The world's origin: that of the motion, at the camera, or the place of the person's first frame."""

    @property
    def keeps_world(self) -> bool:
        """Whether the person stays where and when they are in the motion."""
        return self.origin == "camera" and not (self.in_place or self.t_pose)

    def __post_init__(self) -> None:
        if self.euler_order not in get_args(EulerOrder):
            orders = ", ".join(get_args(EulerOrder))
            raise ValueError(f"euler_order: expected one of {orders}, found {self.euler_order!r}")
        if self.prefix is not None and (not self.prefix.isprintable() or len(self.prefix) > 64):
            raise ValueError(f"prefix: expected at most 64 printable characters, found {self.prefix!r}")
