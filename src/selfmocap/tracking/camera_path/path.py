"""The record of a camera's path through a video, and its file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from selfmocap.io.npz import check_format, check_numbers, check_shapes, read_npz, write_npz

CameraKind = Literal["turning", "moving", "unknown"]

_FORMAT, _VERSION = "selfmocap-camera-path", 1
_SHAPES: dict[str, tuple[str | int, ...]] = {
    "R_cam_world": ("time", 3, 3),
    "p_world_cam": ("time", 3),
    "known": ("time",),
    "shot_starts": ("shots",),
    "kinds": ("shots",),
    "points": ("points", 3),
    "point_shots": ("points",),
    "inlier_fraction": (),
    "error_px": (),
    "focal_ratio": (2,),
    "loops": (),
}


@dataclass(frozen=True, eq=False)
class CameraPath:
    """The pose of the camera in every frame of a video.

    The world's y is up as far as the camera is level on average. Each shot has a world of its own."""

    R_cam_world: Float[np.ndarray, "time 3 3"]
    p_world_cam: Float[np.ndarray, "time 3"]
    """Position of the camera; of a moving camera in a unit of its own (one for each shot), since images do not show
    how large the world is."""
    known: Bool[np.ndarray, " time"]
    """False for frames whose pose is interpolated or held, because too little of the background was tracked."""
    shot_starts: Int[np.ndarray, " shots"]
    """First frame of each shot."""
    kinds: tuple[CameraKind, ...]
    """What the camera does in each shot."""
    points: Float[np.ndarray, "points 3"]
    """Points of the background whose distance is well known, in the world and unit of their shot."""
    point_shots: Int[np.ndarray, " points"]
    """The shot of each point."""
    inlier_fraction: float
    """Fraction of the background's points that the path explains."""
    error_px: float
    """Median distance of a background point from its place, px of the frame."""
    focal_ratio: tuple[float, float]
    """Least and greatest ratio of the focal length that a turning camera suggests to the given one: 1 and 1 where the
    given one fits or none is measured, unequal for a zoom."""
    loops: int
    """Returns of the view that were recognised."""

    @property
    def shots(self) -> list[slice]:
        """The frames of each shot."""
        ends = [*self.shot_starts[1:].tolist(), len(self.known)]
        return [slice(start, end) for start, end in zip(self.shot_starts.tolist(), ends, strict=True)]

    def after(self, frames: int) -> "CameraPath":
        """Return the path through a video with as many frames more at its beginning, which belong to no shot."""
        return replace(
            self,
            R_cam_world=np.concatenate([np.tile(np.eye(3), (frames, 1, 1)), self.R_cam_world]),
            p_world_cam=np.concatenate([np.zeros((frames, 3)), self.p_world_cam]),
            known=np.concatenate([np.zeros(frames, bool), self.known]),
            shot_starts=self.shot_starts + frames,
        )

    def save(self, path: Path | str) -> None:
        """Write an `.npz`, atomically."""
        write_npz(
            path,
            {
                "format": _FORMAT,
                "version": _VERSION,
                **{name: np.array(getattr(self, name)) for name in _SHAPES},
            },
        )

    @classmethod
    def load(cls, path: Path | str) -> "CameraPath":
        """Read a file of `save`. A ValueError names the problem of a damaged or foreign file."""
        arrays: dict[str, Any] = read_npz(path)
        check_format(path, arrays, _FORMAT, _VERSION, _SHAPES.keys())
        check_shapes(path, arrays, _SHAPES)
        check_numbers(path, arrays, _SHAPES.keys() - {"kinds"})
        kinds = tuple(str(kind) for kind in arrays["kinds"])
        if not set(kinds) <= set(get_args(CameraKind)):
            raise ValueError(
                f"{path}: expected kinds {', '.join(get_args(CameraKind))}, found {', '.join(kinds)}"
            )
        ratio = arrays["focal_ratio"].tolist()
        return cls(
            **{
                name: arrays[name]
                for name in ("R_cam_world", "p_world_cam", "known", "shot_starts", "points", "point_shots")
            },
            kinds=kinds,  # pyright: ignore[reportArgumentType] (checked above)
            inlier_fraction=float(arrays["inlier_fraction"]),
            error_px=float(arrays["error_px"]),
            focal_ratio=(ratio[0], ratio[1]),
            loops=int(arrays["loops"]),
        )
