"""The camera of a capture: static, or with a pose in every frame."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from selfmocap._version import __version__
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.camera import Camera
from selfmocap.io.prefetch import prefetched
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.stage_cache import StageCache, StageRecord
from selfmocap.io.video import Video
from selfmocap.pipeline.camera_scale import path_scales
from selfmocap.pipeline.config import CaptureConfig
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.tracking.camera_path.path import CameraPath
from selfmocap.tracking.camera_path.people import people_masks
from selfmocap.tracking.camera_path.solve import estimate_camera_path
from selfmocap.tracking.camera_path.stillness import SAMPLED_FRAMES, background_motion
from selfmocap.tracking.camera_path.tracks import PeopleMask, work_size
from selfmocap.tracking.detectors.window import RgbImage

_PATH_FILE = "camera.npz"
_MIN_CERTAINTY = 0.3
_MAX_FOCAL_RATIO = 1.15
"""Ratio of two focal lengths, or its inverse, above which they differ enough to say so."""


def find_camera(
    stages: StageCache,
    open_input: Callable[[], Video],
    people: Sequence[CapturedPerson],
    observed: StageRecord,
    config: CaptureConfig,
    progress: ProgressCallback,
) -> StageRecord | None:
    """Find out whether the camera is static, and its path if not, as the stage `camera`; None where the user says that
    it is static."""
    if config.static_camera == "yes":
        return None

    def compute() -> tuple[dict[str, Any], list[Path]]:
        file = stages.folder / _PATH_FILE
        result = measure_camera(open_input(), people, config.static_camera == "auto", file, progress)
        return result, [] if result["static"] else [file]

    needs = {"version": __version__, "lens": asdict(people[0].lens), "static_camera": config.static_camera}
    return stages.run("camera", needs, [observed], compute)


def place_in_world(
    stages: StageCache,
    people: list[CapturedPerson],
    load: Callable[[CapturedPerson], Motion],
    estimates: Sequence[StageRecord],
    camera: StageRecord | None,
) -> tuple[list[CapturedPerson], list[StageRecord]]:
    """Give each person the camera of every frame, in metres, if its path is known; also return the stage `scale` that
    this depends on, if any. `load` returns the motion of a person before a static camera."""
    if camera is None or camera.result["static"] or not is_path_known(camera):
        return people, []
    path = CameraPath.load(stages.folder / _PATH_FILE)

    def compute() -> tuple[dict[str, Any], list[Path]]:
        scales = [asdict(scale) for scale in path_scales([load(person) for person in people], path)]
        return {"scales": [{n: v if np.isfinite(v) else None for n, v in one.items()} for one in scales]}, []

    stage = stages.run("scale", {"version": __version__}, [*estimates, camera], compute)
    metres = [scale["metres_per_unit"] for scale in stage.result["scales"]]
    moved = [
        replace(one, camera=camera_in_frames(one.camera, path, metres, one.observations.frame_index))
        for one in people
    ]
    return moved, [stage]


def is_static(camera: StageRecord | None) -> bool:
    """Decide whether the camera is static."""
    return camera is None or camera.result["static"]


def is_path_known(camera: StageRecord | None) -> bool:
    """Decide whether the camera is static, or its path is known in a part of the video."""
    return camera is None or camera.result["static"] or any(k != "unknown" for k in camera.result["kinds"])


def measure_camera(
    video: Video,
    people: Sequence[CapturedPerson],
    may_be_static: bool,
    file: Path,
    progress: ProgressCallback,
) -> dict[str, Any]:
    """Find out whether the camera is static (unless it may not be), and write the path of one that moves to `file`.

    Returns JSON data: `static`; `shift` and `certainty` of `BackgroundMotion`, None where not measured; and of a path
    `kinds`, `shot_starts`, `known_fraction`, `inlier_fraction`, `error_px`, `focal_ratio` and `loops`."""
    result: dict[str, Any] = {"static": False, "shift": None, "certainty": None}
    if may_be_static:
        every = max(video.declared_frames // SAMPLED_FRAMES, 1)
        motion = background_motion(_frames(video, people, every, lambda *_: None))
        shift = round(motion.shift, 5) if np.isfinite(motion.shift) else None
        result |= {"static": motion.is_static, "shift": shift, "certainty": round(motion.certainty, 3)}
    if result["static"]:
        return result
    camera = people[0].camera
    focal, center = float(camera.focal.mean()), (float(camera.center[0]), float(camera.center[1]))
    path = estimate_camera_path(_frames(video, people, 1, progress), focal, center)
    path.save(file)
    return result | {
        "kinds": list(path.kinds),
        "shot_starts": path.shot_starts.tolist(),
        "known_fraction": round(float(path.known.mean()), 3),
        "inlier_fraction": round(path.inlier_fraction, 3),
        "error_px": round(path.error_px, 3),
        "focal_ratio": [round(ratio, 3) for ratio in path.focal_ratio],
        "loops": path.loops,
    }


def _frames(
    video: Video, people: Sequence[CapturedPerson], every: int, progress: ProgressCallback
) -> Iterator[tuple[RgbImage, PeopleMask]]:
    """Yield every n-th frame with the mask of its people."""
    mask_of = people_masks([person.observations for person in people])
    for frame in prefetched(video.frames()):
        progress("camera", frame.index + 1, video.declared_frames)
        if frame.index % every == 0:
            shape, scale = work_size(frame.image)
            yield frame.image, mask_of(frame.index, shape, scale)


def camera_in_frames(
    camera: Camera, path: CameraPath, metres: Sequence[float], frames: Int[Tensor, " time"]
) -> Camera:
    """Return the camera of some frames of the video. `metres` are those of a unit of each shot's path."""
    eye = path.p_world_cam.copy()
    for shot, unit in zip(path.shots, metres, strict=True):
        eye[shot] *= unit
    rows = frames.numpy()
    R = path.R_cam_world[rows]
    t = -np.einsum("nij,nj->ni", R, eye[rows])
    return replace(camera, R_cam_world=torch.from_numpy(R).float(), t_cam_world=torch.from_numpy(t).float())


def camera_report(
    camera: StageRecord | None, scaled: Sequence[StageRecord], warnings: Sequence[str]
) -> dict[str, Any]:
    """Return what `report.json` says of the camera, and its warnings with those about the camera."""
    if camera is None:
        return {}
    scales = [scale for stage in scaled for scale in stage.result["scales"]]
    return {
        "camera": camera.result | ({"scales": scales} if scales else {}),
        "warnings": [*warnings, *camera_warnings(camera.result, scales)],
    }


def camera_warnings(measured: dict[str, Any], scales: Sequence[dict[str, Any]]) -> list[str]:
    """Say in a sentence each what is doubtful about the camera."""
    if measured["static"]:
        if measured["certainty"] < _MIN_CERTAINTY:
            return [
                "camera: little of the background can be tracked; it is taken to be static (see --static-camera)"
            ]
        return []
    warnings = []
    starts = measured["shot_starts"]
    for start, kind, scale in zip(starts, measured["kinds"], scales or [{}] * len(starts), strict=True):
        if kind == "unknown":
            warnings.append(
                f"camera: from frame {start} on its path is unknown, the background does not agree on one; the motion "
                "is relative to the camera there"
            )
        elif kind == "moving" and not scale["metres_per_unit"]:
            warnings.append(
                f"camera: from frame {start} on it moves from its place, but no foot stands long enough to measure how "
                "far; it is taken to turn only"
            )
    if len(starts) > 1:
        warnings.append(
            f"camera: the background cannot be followed into frame {', '.join(map(str, starts[1:]))}; a new world "
            "begins there"
        )
    if measured["known_fraction"] < 1:
        warnings.append(
            f"camera: its pose is interpolated in {1 - measured['known_fraction']:.0%} of the frames"
        )
    least, most = measured["focal_ratio"]
    if most / least > _MAX_FOCAL_RATIO:
        warnings.append(f"camera: it zooms, by a factor of {most / least:.2f}; distances follow the zoom")
    elif not 1 / _MAX_FOCAL_RATIO < least <= most < _MAX_FOCAL_RATIO:
        warnings.append(
            f"camera: its turning suggests a focal length {(least * most) ** 0.5:.2f} times as long; see --focal"
        )
    return warnings
