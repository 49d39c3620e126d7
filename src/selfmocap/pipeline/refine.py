"""Refine the result of another system on its video: observe the people, fit the given bodies to what is observed, and
go on as a capture does: level, smooth, put on the floor, export, draw, report."""

import functools
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from selfmocap._version import __version__
from selfmocap.adaptation.fit import FitConfig
from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.results.read import ReadMotions, read_result
from selfmocap.export.smpl_fit import fit_parameters
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.lens import Lens
from selfmocap.io.files import sha256_of_path
from selfmocap.io.memory import release_free_memory
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.stage_cache import StageCache, StageRecord
from selfmocap.io.video import Video, open_video
from selfmocap.io.video_source import VideoInput, local_video, source_name
from selfmocap.models.inference import default_camera
from selfmocap.pipeline.capture import finish_capture
from selfmocap.pipeline.capture_run import (
    STAGES_VERSION,
    CaptureRun,
    StageOutput,
    default_body,
    load_motion,
    load_observed,
    remove_partial_files,
)
from selfmocap.pipeline.config import CaptureConfig, RefineConfig
from selfmocap.pipeline.lens_choice import LensChoice
from selfmocap.pipeline.moving_camera import ShotCamera, find_cameras, place_in_world
from selfmocap.pipeline.result_refinement import GivenBodies, in_camera, match_people, refine_bodies
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.pipeline.solve import Estimate, PersonChoice
from selfmocap.tracking.config import ObserveConfig
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.observe import observe


def refine_result(
    result: Path | str,
    video: VideoInput,
    out: Path | str,
    config: RefineConfig | None = None,
    progress: ProgressCallback = no_progress,
    overwrite: bool = False,
) -> list[Motion]:
    """Refine the people of another system's result on their video; return their motions on the embedded body.

    Writes the files of a capture (see `capture`) for each person of the result who is observed in the video, in the
    order of the result. In `report.json`, `before` is the given result. No network is run but the detectors. A fit that
    held-out keypoints do not confirm is not kept.

    Raises FileNotFoundError or ValueError where the result, the video or a setting cannot be used, or no person of the
    result is observed, or `out` holds results of another video and `overwrite` is false."""
    out, config = Path(out).expanduser(), config or RefineConfig()
    with local_video(video, out) as path:
        return _refine_result(Path(result), path, source_name(video), out, config, progress, overwrite)


def _refine_result(
    result: Path,
    path: Path,
    name: str,
    out: Path,
    config: RefineConfig,
    progress: ProgressCallback,
    overwrite: bool,
) -> list[Motion]:
    video = open_video(path, config.input)
    read = _read(result, video, config)
    observed_folder = out / "observed"
    settings = ObserveConfig(people="all", quality=config.quality, input=config.input)
    files = observe(path, observed_folder, settings, progress, overwrite)
    release_free_memory()
    remove_partial_files(out)
    observed = load_observed(observed_folder)
    seen = [Observations.load(file, images=()) for file in files]
    camera = _camera(read, seen[0], config.focal)
    given = [in_camera(motion, camera, video.size) for motion in read.motions]
    pairs = match_people(given, seen)
    if not pairs:
        raise ValueError(
            f"{result}: none of its {len(given)} people is where a person is seen in {name}; give the video that the "
            f"system saw, or see {observed_folder / 'observations.mp4'}"
        )
    observed = _of_result(observed, [other for _, other in pairs], read.warnings)
    stages = StageCache(out / ".capture", out / "report.json", STAGES_VERSION)
    stages.discard_other_versions()
    tracks = result / "hps"  # TRAM's.
    source = f"{read.system} result sha256:{sha256_of_path(tracks if tracks.is_dir() else result)}"
    job = CaptureRun(path, name, out, _capture_config(config), progress, torch.device("cpu"), source, stages)
    lens = LensChoice(_lens(camera, video.size), "result" if config.focal is None else "option", 0.0)
    people = [
        _person(number, out, given[one].frame_index, files[other], lens.lens)
        for number, (one, other) in enumerate(pairs, start=1)
    ]
    cameras = find_cameras(
        stages, lambda: open_video(path, config.input), people, observed, job.config, progress
    )
    motion_of = {person.number: read.motions[one] for person, (one, _) in zip(people, pairs, strict=True)}
    estimates = [
        _refine(job, person, given[one], config, observed)
        for person, (one, _) in zip(people, pairs, strict=True)
    ]
    cameras = [_place(job, camera, motion_of, estimates) for camera in cameras]
    choices = [PersonChoice.from_json(stage.result["choice"]) for stage in estimates]
    motions = finish_capture(job, cameras, choices, estimates, observed, lens)
    _remove_former_people(out, {person.folder for person in people})
    return motions


def _place(
    job: CaptureRun, camera: ShotCamera, motion_of: Mapping[int, Motion], estimates: list[StageRecord]
) -> ShotCamera:
    """Give the people of a moving camera its poses: the result's own where it has them, else the measured ones."""
    if camera.is_static:
        return camera
    if any(motion_of[person.number].camera.R_cam_world.ndim == 2 for person in camera.people):
        return place_in_world(
            job.stages, camera, functools.partial(load_motion, job, when="after"), estimates
        )
    people = [replace(one, camera=_moving_camera(motion_of[one.number], one)) for one in camera.people]
    return replace(camera, people=people)


def _read(result: Path, video: Video, config: RefineConfig) -> ReadMotions:
    """Read the result as motions of the embedded body."""
    body, smpl_file = default_body(), config.options.smpl_model
    smpl = None if smpl_file is None else Body.load(smpl_file)
    read = read_result(result, body, smpl, torch.from_numpy(video.times), video.size, config.focal)
    if read.camera_kind == "none":
        raise ValueError(
            f"{result}: a result of {read.system} has no camera, so that it cannot be compared with a video; give the "
            "file of a system that has one, or use selfmocap export"
        )
    if smpl is None:
        return read
    return replace(read, motions=[_on_body(motion, smpl, body) for motion in read.motions])


def _on_body(motion: Motion, smpl: Body, body: Body) -> Motion:
    if motion.body == body.identity:
        return motion
    return Motion.from_parameters(
        body, fit_parameters(motion.parameters, smpl, body).to(torch.float32), motion.camera, motion.image_size,
        motion.frame_times, motion.frame_index, provenance=motion.provenance,
    )  # fmt: skip


def _of_result(observed: StageRecord, people: list[int], warnings: list[str]) -> StageRecord:
    """Keep the people of the result, in its order, and add what is to be known of it to the video's warnings."""
    video = observed.result["video"]
    video = video | {"warnings": [*video.get("warnings", ()), *warnings]}
    kept = [observed.result["people"][one] | {"perhaps_person": None} for one in people]
    return replace(observed, result=observed.result | {"video": video, "people": kept})


def _camera(read: ReadMotions, observations: Observations, focal: float | None) -> Camera:
    """Return the static camera of the video: that of the result, unless a focal length is given or the result has none
    of its own."""
    camera = default_camera(observations, focal)
    if focal is not None or read.camera_kind == "weak perspective":
        return camera
    ratio = observations.image_size[0] / read.motions[0].image_size[0]
    found = read.motions[0].camera
    return replace(camera, focal=found.focal * ratio, center=(found.center + 0.5) * ratio - 0.5)


def _capture_config(config: RefineConfig) -> CaptureConfig:
    shared = ("quality", "focal", "height", "static_camera", "formats", "options", "input")
    return CaptureConfig(people="all", **{name: getattr(config, name) for name in shared})


def _lens(camera: Camera, size: tuple[int, int]) -> Lens:
    fx, fy = camera.focal.tolist()
    x, y = camera.center.tolist()
    return Lens(size, (fx, fy), (x, y))


def _person(number: int, out: Path, frame_index: torch.Tensor, file: Path, lens: Lens) -> CapturedPerson:
    """Write the observations of the frames in which the result has the person, and return the person."""
    folder = out / f"person-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    whole = Observations.load(file)
    whole[torch.isin(whole.frame_index, frame_index)].save(folder / "observations.npz")
    return CapturedPerson.load(number, folder, lens)


def _remove_former_people(out: Path, folders: set[Path]) -> None:
    """Delete the observations of people whom only a former result had; the files of its stages are gone already."""
    for folder in set(out.glob("person-*")) - folders:
        (folder / "observations.npz").unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def _moving_camera(motion: Motion, person: CapturedPerson) -> Camera:
    """Return the result's camera of each frame of a person."""
    rows = torch.searchsorted(motion.frame_index, person.observations.frame_index)
    moving = motion.camera
    return replace(person.camera, R_cam_world=moving.R_cam_world[rows], t_cam_world=moving.t_cam_world[rows])


def _refine(
    job: CaptureRun,
    person: CapturedPerson,
    given: GivenBodies,
    config: RefineConfig,
    observed: StageRecord,
) -> StageRecord:
    fitting = FitConfig()

    def compute() -> StageOutput:
        before = given.at(person.observations.frame_index)
        found = refine_bodies(default_body(), before, person.observations, person.camera, fitting)
        path = job.file(f"person-{person.number}.npz")
        Estimate(before, found.bodies).save(path)
        px = [value if value == value else None for value in (found.before_px, found.after_px)]
        choice = PersonChoice(False, found.refined, False, tuple(found.bodies.betas.tolist()), *px)
        job.progress("refine", person.number, person.number)
        return {"choice": choice.as_json()}, [path]

    needs: dict[str, Any] = {
        "version": __version__,
        "result": job.weights_sha256,
        "smpl": None if config.options.smpl_model is None else sha256_of_path(config.options.smpl_model),
        "focal": person.camera.focal.tolist(),
        "fit": asdict(fitting),
    }
    return job.stages.run(f"refine-{person.number}", needs, [observed], compute)
