"""The camera of a motion that moves, for exports: its pose over time in the world, and a JSON file of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.motion import Motion
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.rotations import interpolate_frames
from selfmocap.io.files import write_json

CAMERA_FILE = "camera.json"
_VERSION = 1
_R_VIEW_CAM = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
"""From OpenCV's camera frame (x right, y down, z forward) to that of glTF and USD (x right, y up, -z forward)."""


@dataclass(frozen=True, eq=False)
class MovingView:
    """A camera with one pose per frame, in float64."""

    R_world_view: Float[Tensor, "time 3 3"]
    """From the camera's frame (x right, y up, -z forward) to the world."""
    p_world_view: Float[Tensor, "time 3"]
    """Position in the world, metres."""
    focal: tuple[float, float]
    """Along x and y, px."""
    size: tuple[int, int]
    """Width and height of the image, px."""

    def __getitem__(self, frames: slice) -> "MovingView":
        return replace(self, R_world_view=self.R_world_view[frames], p_world_view=self.p_world_view[frames])

    def interpolated(self, before: Tensor, after: Tensor, fraction: Tensor) -> "MovingView":
        """Return the view between its frames `before` (fraction 0) and `after` (fraction 1)."""
        R, p = interpolate_frames(self.R_world_view, self.p_world_view, before, after, fraction)
        return replace(self, R_world_view=R, p_world_view=p)


def moving_view(motion: Motion) -> MovingView | None:
    """Return the camera of a motion; None if it is static, or has a focal length of each frame."""
    camera = motion.camera.to(torch.float64)
    if camera.R_cam_world.ndim == 2 or camera.focal.ndim > 1:
        return None
    R = torch.as_tensor(roma.special_procrustes(camera.R_cam_world.mT @ _R_VIEW_CAM)).cpu()
    fx, fy = camera.focal.tolist()
    return MovingView(R, camera.p_world_cam.cpu(), (fx, fy), motion.image_size)


def concat_views(views: list[MovingView | None]) -> MovingView | None:
    """Concatenate the views of consecutive parts of one motion."""
    known = [view for view in views if view is not None]
    if not known:
        return None
    return replace(
        known[0],
        R_world_view=torch.cat([view.R_world_view for view in known]),
        p_world_view=torch.cat([view.p_world_view for view in known]),
    )


def write_camera(path: Path, motion: Motion) -> None:
    """Write `camera.json`: the camera of each frame of a motion, in the motion's world (y up, metres), atomically.

    `position` is that of the camera; `quaternion` (x, y, z, w) rotates from its frame (x right, y up, -z forward) to
    the world. Raises ValueError for a static camera."""
    view = moving_view(motion)
    if view is None:
        raise ValueError(f"{path}: expected a camera with a pose per frame, found a static one")
    quaternions = roma.rotmat_to_unitquat(view.R_world_view)
    columns = (motion.frame_index, motion.frame_times, view.p_world_view, quaternions)
    frames = [
        {"frame": frame, "time": round(time, 6), "position": p, "quaternion": q}
        for frame, time, p, q in zip(*(column.tolist() for column in columns), strict=True)
    ]
    center = motion.camera.center.tolist()
    document = {
        "version": _VERSION, "image_size": list(view.size), "focal_px": list(view.focal), "center_px": center,
        "frames": frames,
    }  # fmt: skip
    write_json(path, document, indent=1)
