"""The camera of a capture: static, or with a pose in every frame."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
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
from selfmocap.pipeline.lens_choice import LensChoice, with_estimates
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.tracking.camera_path.path import CameraPath
from selfmocap.tracking.camera_path.people import people_masks
from selfmocap.tracking.camera_path.solve import focal_from_background, solve_path
from selfmocap.tracking.camera_path.stillness import SAMPLED_FRAMES, background_motion
from selfmocap.tracking.camera_path.tracks import PeopleMask, track_background, work_size
from selfmocap.tracking.detectors.window import RgbImage

_MIN_CERTAINTY = 0.3
_MAX_FOCAL_RATIO = 1.15
"""Ratio of two focal lengths, or its inverse, above which they differ enough to say so."""


@dataclass(frozen=True)
class ShotCamera:
    """The camera of a shot, and the people before it."""

    shot: int
    """Number of the shot, from 1."""
    people: list[CapturedPerson]
    found: StageRecord | None
    """The stage that measured the camera; None where the user says that it is static."""
    scaled: StageRecord | None = None
    """The stage that found the scale of its path, if it has one."""

    @property
    def is_static(self) -> bool:
        """True for a static camera."""
        return self.found is None or self.found.result["static"]

    @property
    def is_path_known(self) -> bool:
        """True if the camera is static, or its path is known in a part of the shot."""
        return self.is_static or any(kind != "unknown" for kind in self.measured["kinds"])

    @property
    def measured(self) -> dict[str, Any]:
        """What was measured, see `measure_camera`; `scales` too where they were."""
        found = {"static": True} if self.found is None else self.found.result
        measured = {name: value for name, value in found.items() if name != "lens"}
        return measured | ({} if self.scaled is None else self.scaled.result)

    @property
    def estimated_lens(self) -> LensChoice | None:
        """The lens by the path of a moving camera; None where it was not estimated."""
        lens = None if self.found is None else self.found.result.get("lens")
        return None if lens is None else LensChoice.from_json(lens)

    @property
    def stages(self) -> list[StageRecord]:
        """The stages that what follows depends on."""
        return [stage for stage in (self.found, self.scaled) if stage is not None]

    @property
    def path_file(self) -> str:
        """Name of the file of a moving camera's path among the stages' files."""
        return f"camera-{self.shot}.npz"


def find_cameras(
    stages: StageCache,
    open_input: Callable[[], Video],
    people: Sequence[CapturedPerson],
    observed: StageRecord,
    config: CaptureConfig,
    progress: ProgressCallback,
    lens: LensChoice | None = None,
) -> list[ShotCamera]:
    """Find out for each shot with people whether the camera is static, and its path if not: the stages `camera-N`.

    Where `lens` is a default and there is one shot, the lens is estimated with the path of a moving camera."""
    shot_of = [person["shot"] for person in observed.result["people"]]
    guessed = lens if lens is not None and lens.source == "default" and len(set(shot_of)) == 1 else None
    cameras = []
    for shot in sorted(set(shot_of)):
        camera = ShotCamera(
            shot, [one for one, its in zip(people, shot_of, strict=True) if its == shot], None
        )
        if config.static_camera != "yes":
            frames = observed.result["shots"][shot - 1]
            shown = range(frames["first_frame"], frames["last_frame"] + 1)
            file = stages.folder / camera.path_file

            def compute(
                camera: ShotCamera = camera, shown: range = shown, file: Path = file
            ) -> tuple[dict[str, Any], list[Path]]:
                may_be_static = config.static_camera == "auto"
                result = measure_camera(
                    open_input(), camera.people, shown, may_be_static, file, progress, guessed
                )
                return result, [] if result["static"] else [file]

            needs = {
                "version": __version__,
                "lens": asdict(people[0].lens),
                "static_camera": config.static_camera,
                "default": None if guessed is None else guessed.as_json(),
            }
            camera = replace(camera, found=stages.run(f"camera-{shot}", needs, [observed], compute))
        cameras.append(camera)
    return cameras


def place_in_world(
    stages: StageCache,
    camera: ShotCamera,
    load: Callable[[CapturedPerson], Motion],
    estimates: Sequence[StageRecord],
) -> ShotCamera:
    """Give each person of a shot the camera of every frame, in metres, if its path is known, by the stage `scale-N`.
    `load` returns the motion of a person before a static camera; `estimates` are the stages of all people's motions."""
    if camera.found is None or camera.is_static or not camera.is_path_known:
        return camera
    path = CameraPath.load(stages.folder / camera.path_file)

    def compute() -> tuple[dict[str, Any], list[Path]]:
        scales = [asdict(scale) for scale in path_scales([load(person) for person in camera.people], path)]
        return {"scales": [{n: v if np.isfinite(v) else None for n, v in one.items()} for one in scales]}, []

    after = [*(estimates[person.number - 1] for person in camera.people), camera.found]
    stage = stages.run(f"scale-{camera.shot}", {"version": __version__}, after, compute)
    metres = [scale["metres_per_unit"] for scale in stage.result["scales"]]
    people = [
        replace(one, camera=camera_in_frames(one.camera, path, metres, one.observations.frame_index))
        for one in camera.people
    ]
    return replace(camera, people=people, scaled=stage)


def measure_camera(
    video: Video,
    people: Sequence[CapturedPerson],
    shown: range,
    may_be_static: bool,
    file: Path,
    progress: ProgressCallback,
    guessed: LensChoice | None = None,
) -> dict[str, Any]:
    """Find out whether the camera is static (unless it may not be) in the frames `shown` of the video, and write the
    path of one that moves to `file`.

    Returns JSON data: `static`; the `shift` of `BackgroundMotion`, None where not measured; `certainty`, the fraction
    of the background's points that agree; and of a path `kinds`, `shot_starts`, `known_fraction`, `error_px`,
    `focal_ratio` and `loops`. Where the lens is `guessed`, also the `lens` after its estimation, a
    `LensChoice.as_json`."""
    result: dict[str, Any] = {"static": False, "shift": None}
    if may_be_static:
        every = max(len(shown) // SAMPLED_FRAMES, 1)
        motion = background_motion(_frames(video, people, shown[::every], lambda *_: None))
        shift = round(motion.shift, 5) if np.isfinite(motion.shift) else None
        result |= {"static": motion.is_static, "shift": shift, "certainty": round(motion.certainty, 3)}
    if result["static"]:
        return result
    camera = people[0].camera
    focal, center = float(camera.focal.mean()), (float(camera.center[0]), float(camera.center[1]))
    tracks = track_background(_frames(video, people, shown, progress))
    if guessed is not None and len(tracks.shot_starts) == 1:
        estimate = focal_from_background(tracks, focal, center)
        lens = with_estimates(guessed, [] if estimate is None else [estimate])
        focal, result["lens"] = lens.focal_px, lens.as_json()
    path = solve_path(tracks, focal, center)
    path.after(shown.start).save(file)
    return result | {
        "certainty": round(path.inlier_fraction, 3),
        "kinds": list(path.kinds),
        "shot_starts": (path.shot_starts + shown.start).tolist(),
        "known_fraction": round(float(path.known.mean()), 3),
        "error_px": round(path.error_px, 3),
        "focal_ratio": [round(ratio, 3) for ratio in path.focal_ratio],
        "loops": path.loops,
    }


def _frames(
    video: Video, people: Sequence[CapturedPerson], shown: range, progress: ProgressCallback
) -> Iterator[tuple[RgbImage, PeopleMask]]:
    """Yield the frames `shown` with the mask of their people."""
    mask_of = people_masks([person.observations for person in people])
    for frame in prefetched(video.frames(shown.start, shown.step)):
        if frame.index not in shown:
            return
        progress("camera", video.num_read(frame), video.declared_frames)
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


def camera_warnings(measured: dict[str, Any]) -> list[str]:
    """Say in a sentence each what is doubtful about the `ShotCamera.measured`."""
    if measured["static"]:
        if measured.get("certainty", 1.0) < _MIN_CERTAINTY:
            return [
                "camera: little of the background can be tracked; it is taken to be static (see --static-camera)"
            ]
        return []
    warnings = []
    starts, scales = measured["shot_starts"], measured.get("scales", ())
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
