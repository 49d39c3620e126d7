"""Capture a video: observe, adapt, refine, post-process, export, draw and report.

The result of each stage is stored in the output folder. An interrupted capture resumes where it stopped, and one with
other settings repeats the stages that depend on them (see `io.stage_cache`). Of a long video only the motions are held
in memory, not the images.
"""

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap._version import __version__
from selfmocap.adaptation.adapt import AdaptConfig
from selfmocap.adaptation.fit import REFINE, REFINE_LOW_SMOOTHNESS, FitConfig
from selfmocap.adaptation.hand_pose import fit_hands
from selfmocap.body_model.motion import Motion
from selfmocap.export.characters.write import check_character
from selfmocap.io.files import existing_file, sha256_of_path, write_json
from selfmocap.io.memory import release_free_memory
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.stage_cache import StageCache, StageRecord
from selfmocap.io.video import Video, open_video
from selfmocap.io.video_source import VideoInput, local_video, source_name
from selfmocap.models.estimator import Estimator, load_estimator, save_estimator
from selfmocap.pipeline.capture_run import (
    STAGES_VERSION,
    CaptureRun,
    StageOutput,
    default_body,
    load_motion,
    load_observed,
    remove_partial_files,
)
from selfmocap.pipeline.config import EPOCHS, SAMPLE_FRAMES, CaptureConfig, recorded_settings
from selfmocap.pipeline.diagnostics import MAX_IMAGE_FRAMES, person_diagnostics
from selfmocap.pipeline.drawing import draw_bodies, draw_observations, write_page
from selfmocap.pipeline.exports import (
    export_people,
    remove_exports_without_motion,
    remove_stale_exports,
    retarget_people,
)
from selfmocap.pipeline.lens_choice import LensChoice, choose_lens, estimate_lens
from selfmocap.pipeline.moving_camera import ShotCamera, find_cameras, place_in_world
from selfmocap.pipeline.postprocessing.confidence import joint_confidence
from selfmocap.pipeline.postprocessing.ground import level_rotation
from selfmocap.pipeline.postprocessing.postprocess import POSTPROCESS_VERSION, postprocess
from selfmocap.pipeline.samples import CapturedPerson, load_people
from selfmocap.pipeline.shared_floor import SharedFloor, solve_shared_floor
from selfmocap.pipeline.solve import (
    PersonChoice,
    Solver,
    adapt_to_video,
    checked_device,
    estimate_person,
    select_models,
)
from selfmocap.pipeline.summary import capture_report
from selfmocap.tracking.config import ObserveConfig
from selfmocap.tracking.observe import observe


def capture(
    video: VideoInput | None = None,
    out: Path | str | None = None,
    config: CaptureConfig | None = None,
    progress: ProgressCallback = no_progress,
    device: str = "cpu",
    *,
    frames: Iterable[np.ndarray] | None = None,
    times: Sequence[float] | None = None,
    overwrite: bool = False,
    unlinked: Collection[str] = (),
) -> list[Motion]:
    """Capture the people in a video; return their post-processed motions.

    Writes `out/person-N/motion.npz` with the exports beside it, `out/overlay.mp4`, `out/report.html` and
    `out/report.json`. Results of an earlier run in `out` are used as far as they are still valid. `device` is `cpu`,
    `cuda` or `cuda:N`.

    The video is a path, an open binary file, or `-` for standard input. Instead, `frames` are RGB images of one size
    (height, width, 3; uint8), and `times` their times, s (30 frames a second without); an iterator is read once, one
    frame at a time.

    `unlinked` are the names of files to which the page has no links, because the caller deletes them.

    Raises FileNotFoundError or ValueError where the video or a setting cannot be used, or `out` holds the results of
    another video and `overwrite` is false; OSError where a file cannot be written."""
    if out is None:
        raise ValueError("expected out=..., the folder to write to, found none")
    out, config, torch_device = Path(out).expanduser(), config or CaptureConfig(), checked_device(device)
    with local_video(video, out, frames, times) as path:
        return _capture(
            path, source_name(video), out, config, progress, torch_device, overwrite, frozenset(unlinked)
        )


def _capture(
    video: Path,
    name: str,
    out: Path,
    config: CaptureConfig,
    progress: ProgressCallback,
    torch_device: torch.device,
    overwrite: bool,
    unlinked: frozenset[str],
) -> list[Motion]:
    weights_file = existing_file(config.weights_file)
    if config.onto is not None:
        check_character(config.onto)
    lens = choose_lens(open_video(video, config.input), config.focal, config.lens)
    files = observe(video, out, observe_settings(config), progress, overwrite)
    release_free_memory()
    remove_partial_files(out)

    stages = StageCache(out / ".capture", out / "report.json", STAGES_VERSION)
    stages.discard_other_versions()
    job = CaptureRun(
        video, name, out, config, progress, torch_device, sha256_of_path(weights_file), stages, unlinked
    )
    observed = load_observed(out)
    lens, people, cameras = _load_people(job, [path.parent for path in files], observed, lens)
    config.check_people(len(people))
    chosen = _choose(job, people, _adapt(job, people, observed))
    choices = [PersonChoice.from_json(choice) for choice in chosen.result["people"]]
    estimates = [_refine(job, *one, chosen) for one in zip(people, choices, strict=True)]
    load = functools.partial(load_motion, job, when="after")
    cameras = [place_in_world(stages, camera, load, estimates) for camera in cameras]
    return finish_capture(job, cameras, choices, estimates, observed, lens)


def observe_settings(config: CaptureConfig) -> ObserveConfig:
    """Return the settings with which a capture observes its video."""
    return ObserveConfig(
        config.people, quality=config.quality, flow_frames=MAX_IMAGE_FRAMES, overlay=False, input=config.input
    )


def finish_capture(
    job: CaptureRun,
    cameras: list[ShotCamera],
    choices: list[PersonChoice],
    estimates: list[StageRecord],
    observed: StageRecord,
    lens: LensChoice,
) -> list[Motion]:
    """Post-process, export, draw and report the people before `cameras`, whose bodies are in files of `Estimate`."""
    people = sorted((one for camera in cameras for one in camera.people), key=lambda one: one.number)
    levels: dict[int, StageRecord | None] = {}
    for camera in cameras:
        levels |= dict.fromkeys((one.number for one in camera.people), _level(job, camera, estimates))
    processed = [
        _postprocess(job, person, choice, estimate, levels[person.number])
        for person, choice, estimate in zip(people, choices, estimates, strict=True)
    ]
    motions = [Motion.load(person.folder / "motion.npz") for person in people]
    export_people(
        job.stages, motions, processed, default_body(), job.out, job.config.formats, job.config.options
    )
    if job.config.onto is not None:
        retarget_people(job.stages, motions, processed, default_body(), job.out, job.config.onto)
    draw_bodies(job, motions, processed, lens.lens)
    draw_observations(job, people, observed)
    measured = [_measure(job, *one) for one in zip(people, motions, estimates, processed, strict=True)]
    report = capture_report(
        job.name, observed, job.stages.finished.values(), people, choices, measured, motions, cameras, lens
    )
    job.stages.sweep()
    remove_exports_without_motion(job.out)
    write_page(job, people, motions, [*processed, *measured], report)
    write_json(job.out / "report.json", report, indent=1)
    return motions


# ---- models, loaded when a stage first needs them, and kept for the next video of the process -----------------


@functools.lru_cache(maxsize=1)
def _load_solver(weights_file: Path, sha256: str, device: torch.device, max_frames: int) -> Solver:
    """Load the models; `sha256` is that of the weights file, so that a replaced file is loaded again."""
    return Solver(load_estimator(weights_file)[0].to(device), default_body().to(device), device, max_frames)


def _solver(job: CaptureRun) -> Solver:
    max_frames = SAMPLE_FRAMES[job.config.quality]
    return _load_solver(job.config.weights_file, job.weights_sha256, job.device, max_frames)


def _load_adapted(job: CaptureRun, name: str) -> Estimator | None:
    """Load a network that was adapted to this video; None where the quality does not adapt."""
    return load_estimator(job.file(name))[0].to(job.device) if EPOCHS[job.config.quality] else None


# ---- the stages -----------------------------------------------------------------------------------------------


def _model_needs(job: CaptureRun, people: list[CapturedPerson]) -> dict[str, Any]:
    return {
        "version": __version__,
        "weights": job.weights_sha256,
        "lens": asdict(people[0].lens),
        "sample": SAMPLE_FRAMES[job.config.quality],
    }


def _load_people(
    job: CaptureRun, folders: list[Path], observed: StageRecord, lens: LensChoice
) -> tuple[LensChoice, list[CapturedPerson], list[ShotCamera]]:
    """Load the people as seen through the lens, and find the camera of each shot with people. Where the lens is a
    default, it is estimated: from the background before one moving camera, or from the people before a static one."""
    people = load_people(folders, lens.lens)

    def open_input() -> Video:
        return open_video(job.video, job.config.input)

    cameras = find_cameras(job.stages, open_input, people, observed, job.config, job.progress, lens)
    if lens.source != "default" or len(cameras) > 1:
        return lens, people, cameras

    def compute() -> StageOutput:
        return estimate_lens(lens, [person.observations for person in people], default_body()).as_json(), []

    if cameras[0].is_static:
        needs = {"version": __version__, "default": lens.as_json()}
        estimate = LensChoice.from_json(job.stages.run("lens", needs, [observed], compute).result)
    else:
        estimate = cameras[0].estimated_lens or lens
    people = load_people(folders, estimate.lens)
    return estimate, people, [replace(cameras[0], people=people)]


def _adapt(job: CaptureRun, people: list[CapturedPerson], observed: StageRecord) -> StageRecord:
    """Adapt the network to the video; with a quality that does not adapt, return the stage before."""
    epochs = EPOCHS[job.config.quality]
    if not epochs:
        return observed
    config = AdaptConfig(epochs=epochs)

    def compute() -> StageOutput:
        networks = adapt_to_video(_solver(job), people, config, job.progress)
        paths = [job.file("adapted.safetensors"), job.file("refit.safetensors")]
        for path, network in zip(paths, networks, strict=True):
            save_estimator(path, network, {"adapted_from": job.weights_sha256})
        return {}, paths

    return job.stages.run(
        "adapt", {**_model_needs(job, people), "adapt": asdict(config)}, [observed], compute
    )


def _choose(job: CaptureRun, people: list[CapturedPerson], adapted: StageRecord) -> StageRecord:
    refinements = [asdict(config) for config in (FitConfig(), REFINE, REFINE_LOW_SMOOTHNESS)]

    def compute() -> StageOutput:
        network = _load_adapted(job, "adapted.safetensors")
        choices = select_models(_solver(job), network, people, job.progress)
        return {"people": [choice.as_json() for choice in choices]}, []

    return job.stages.run("choose", {**_model_needs(job, people), "refine": refinements}, [adapted], compute)


def _refine(
    job: CaptureRun, person: CapturedPerson, choice: PersonChoice, chosen: StageRecord
) -> StageRecord:
    def compute() -> StageOutput:
        path = job.file(f"person-{person.number}.npz")
        network = _load_adapted(job, "refit.safetensors")
        estimate_person(_solver(job), network, person, choice, job.progress).save(path)
        return {}, [path]

    return job.stages.run(f"refine-{person.number}", {}, [chosen], compute)


def _level(job: CaptureRun, camera: ShotCamera, estimates: list[StageRecord]) -> StageRecord | None:
    """Find the vertical of all people of a shot together, and before a static camera their statures by their common
    floor; None for a camera whose path is unknown."""
    if not camera.is_path_known:
        return None
    people = camera.people
    known = [job.config.stature_of(person.number) for person in people]

    def compute() -> StageOutput:
        motions = [load_motion(job, person, "after") for person in people]
        R_level_world = level_rotation(motions, default_body())
        seen, floor = [person.observations for person in people], SharedFloor(known, None)
        if camera.is_static:
            floor = solve_shared_floor(motions, default_body(), R_level_world, seen, known)
        by_number = {
            str(person.number): metres for person, metres in zip(people, floor.statures, strict=True)
        }
        level = {"R_level_world": R_level_world.tolist(), "statures": by_number}
        return level | {"camera_height": floor.camera_height}, []

    needs = {"version": __version__, "height": known, "procedure": POSTPROCESS_VERSION}
    after = [*(estimates[person.number - 1] for person in people), *camera.stages]
    return job.stages.run(f"level-{camera.shot}", needs, after, compute)


def _postprocess(
    job: CaptureRun,
    person: CapturedPerson,
    choice: PersonChoice,
    estimate: StageRecord,
    level: StageRecord | None,
) -> StageRecord:
    """Post-process a person's motion; `level` is None for a camera whose path is unknown."""

    def compute() -> StageOutput:
        path = person.folder / "motion.npz"
        remove_stale_exports(job.stages, path)
        motion = load_motion(job, person, "after")
        confidence = joint_confidence(person.observations, motion.frame_index)
        R_level_world = None if level is None else torch.tensor(level.result["R_level_world"])
        number, seen, settings = person.number, person.observations, job.config.postprocess
        known = job.config.stature_of(number)
        metres = known if level is None else level.result["statures"][str(number)]
        camera_height = None if level is None or known else level.result["camera_height"]
        in_world, body = level is not None, default_body()
        motion = postprocess(
            motion, body, metres, confidence, in_world, R_level_world, seen, settings, camera_height
        )
        motion = fit_hands(motion, body, seen)
        replace(motion, provenance=_provenance(job, choice) | motion.provenance).save(path)
        return {}, [path]

    needs = {"settings": recorded_settings(job.config), "in_world": level is not None}
    needs |= {"procedure": POSTPROCESS_VERSION}
    after = [estimate] if level is None else [estimate, level]
    return job.stages.run(f"postprocess-{person.number}", needs, after, compute)


def _provenance(job: CaptureRun, choice: PersonChoice) -> dict[str, Any]:
    selected = {name: value for name, value in asdict(choice).items() if name != "betas"}
    settings = recorded_settings(job.config)
    return {"version": __version__, "weights": job.weights_sha256, "settings": settings, **selected}


def _measure(
    job: CaptureRun, person: CapturedPerson, motion: Motion, estimate: StageRecord, processed: StageRecord
) -> StageRecord:
    def compute() -> StageOutput:
        job.progress("measure", person.number - 1, person.number)
        height = job.config.stature_of(person.number)
        result = person_diagnostics(
            load_motion(job, person, "before"), motion, person, default_body(), height
        )
        job.progress("measure", person.number, person.number)
        return result, []

    return job.stages.run(f"measure-{person.number}", {}, [estimate, processed], compute)
