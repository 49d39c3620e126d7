"""The camera of a video over time, for scenes in other programs."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.motion import Motion
from selfmocap.export.segments import Segment
from selfmocap.geometry.camera import Camera


@dataclass(frozen=True, eq=False)
class CameraTrack:
    """A pinhole camera in the world of the people: y up, metres."""

    times: Float[ndarray, " time"]
    """s, on the video's clock; one for a camera that does not move."""
    p_world: Float[ndarray, "time 3"]
    R_world_camera: Float[ndarray, "time 3 3"]
    """Axes of the camera as columns: x right, y up, z backwards (OpenGL's)."""
    focal: tuple[float, float]
    """px."""
    image_size: tuple[int, int]
    """px."""

    @property
    def yfov(self) -> float:
        """Vertical angle of view, radians."""
        return 2 * math.atan(self.image_size[1] / (2 * self.focal[1]))

    @property
    def aspect(self) -> float:
        """Ratio of the horizontal to the vertical extent of the view at one distance."""
        (fx, fy), (width, height) = self.focal, self.image_size
        return width * fy / (height * fx)

    @property
    def moves(self) -> bool:
        """Whether there is one pose per frame."""
        return len(self.times) > 1


def camera_track(motions: list[Motion]) -> CameraTrack:
    """Return the camera of a video's motions: that of all their frames, in the order of time.

    Programs place the image's centre on the axis of the lens: an offset of the camera's centre is left out."""
    camera = motions[0].camera
    if all(_is_same_static(motion.camera, camera) for motion in motions):
        times, R, t = motions[0].frame_times[:1], camera.R_cam_world[None], camera.t_cam_world[None]
    else:
        times = torch.cat([motion.frame_times for motion in motions])
        R = torch.cat([m.camera.R_cam_world.expand(len(m), 3, 3) for m in motions])
        t = torch.cat([m.camera.t_cam_world.expand(len(m), 3) for m in motions])
        order = np.unique(times.numpy(), return_index=True)[1]
        times, R, t = times[order], R[order], t[order]
    R_world_cam = R.double().mT.numpy()
    fx, fy = (float(f) for f in camera.focal)
    return CameraTrack(
        times=times.double().numpy(),
        p_world=-np.einsum("tab,tb->ta", R_world_cam, t.double().numpy()),
        R_world_camera=R_world_cam * np.array([1.0, -1.0, -1.0]),
        focal=(fx, fy),
        image_size=motions[0].image_size,
    )


def camera_of_segment(segment: Segment) -> CameraTrack | None:
    """Return the camera of a segment that moves; None for a static one."""
    view = segment.view
    if view is None:
        return None
    times, p_world, R_world_camera = segment.times.double(), view.p_world_view, view.R_world_view
    return CameraTrack(times.numpy(), p_world.numpy(), R_world_camera.numpy(), view.focal, view.size)


def _is_same_static(camera: Camera, other: Camera) -> bool:
    return (
        camera.R_cam_world.ndim == 2
        and other.R_cam_world.ndim == 2
        and torch.equal(camera.R_cam_world, other.R_cam_world)
        and torch.equal(camera.t_cam_world, other.t_cam_world)
    )
