"""From a video file to the motions of its people: observe, infer, adapt, refine, clean, export, draw, report.

Every stage's result lies in the output folder: a run that was interrupted goes on where it stopped, and one with other
settings does again what depends on them (see `stages`). Of a long video only the motions are in memory, not the images.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from selfmocap._version import __version__
from selfmocap.adaptation.adapt import AdaptConfig
from selfmocap.adaptation.fit import REFINE, REFINE_LOW_SMOOTHNESS, FitConfig
from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.write import export_motion
from selfmocap.io.atomic import remove_temporaries
from selfmocap.io.files import existing_file
from selfmocap.io.memory import give_memory_back
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.stage_cache import StageCache, StageRecord
from selfmocap.io.video import open_video
from selfmocap.models.estimator import Estimator, load_estimator, save_estimator
from selfmocap.models.inference import seen_share, to_world
from selfmocap.pipeline.config import EPOCHS, SAMPLE, CaptureConfig
from selfmocap.pipeline.diagnostics import background_speed, motion_diagnostics, is_camera_static, low_confidence_ranges
from selfmocap.pipeline.postprocessing.confidence import joint_confidence
from selfmocap.pipeline.postprocessing.ground import level_rotation
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.pipeline.solve import Estimate, Solver, adapt_to_video, estimate_person, select_models
from selfmocap.pipeline.summary import capture_report, write_json
from selfmocap.tracking.observe import ObserveConfig, observe
from selfmocap.visualization.overlay import write_overlay_video
from selfmocap.visualization.report.page import write_report
from selfmocap.visualization.report.residuals import keypoint_px_by_frame


def capture(
    video: Path | str,
    out: Path | str,
    config: CaptureConfig | None = None,
    progress: ProgressCallback = no_progress,
    device: str = "cpu",
) -> list[Motion]:
    """The motions of the people in `video`, cleaned: `out/person-N/motion.npz` with the exports beside it,
    `out/overlay.mp4` and `out/report.json`. What `out` holds of an earlier run is used as far as it still holds.

    Raises FileNotFoundError or ValueError where the video or a setting cannot be used, OSError where nothing can be
    written."""
    run = _Run(Path(video), Path(out), config or CaptureConfig(), progress, _device(device))
    existing_file(run.config.weights_file)
    paths = observe(run.video, run.out, ObserveConfig(people=run.config.people), progress)
    give_memory_back()
    _without_partials(run.out)
    people = [CapturedPerson.load(n, path.parent, run.config.focal) for n, path in enumerate(paths, start=1)]
    seen = _observed(run.out)
    choice = _choice(run, people, seen)
    answers = [_answer(run, person, choice) for person in people]
    upright = _level(run, people, answers) if _camera(run, people, seen) else None
    cleaned = [_cleaned(run, person, answer, upright) for person, answer in zip(people, answers, strict=True)]
    motions = [Motion.load(person.folder / "motion.npz") for person in people]
    for person, motion, done in zip(people, motions, cleaned, strict=True):
        _exported(run, person, motion, done)
    _drawn(run, motions, cleaned)
    measured = [_measured(run, *of_one) for of_one in zip(people, motions, answers, cleaned, strict=True)]
    summary = capture_report(
        run.video, seen, run.stages.finished.values(), people, choice.result["people"], measured
    )
    run.stages.sweep()
    _paged(run, people, motions, [*cleaned, *measured], summary)
    write_json(run.out / "report.json", summary)
    return motions


@dataclass(frozen=True)
class _Run:
    """What all stages share; what costs time is loaded when it is first needed."""

    video: Path
    out: Path
    config: CaptureConfig
    on_progress: ProgressCallback
    device: torch.device

    @functools.cached_property
    def stages(self) -> StageCache:
        return StageCache(self.out / ".capture", self.out / "report.json")

    @property
    def body(self) -> Body:
        return _body()

    @functools.cached_property
    def small_body(self) -> Body:
        return keypoint_body(self.body)

    @functools.cached_property
    def weights(self) -> str:
        path = existing_file(self.config.weights_file)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    @functools.cached_property
    def solver(self) -> Solver:
        network = _network(self.config.weights_file, self.weights, self.device)
        return Solver(network, self.body.to(self.device), self.device, SAMPLE[self.config.quality])

    @property
    def adapted_weights(self) -> Path:
        return self.out / ".capture" / "adapted.safetensors"

    @property
    def settled_weights(self) -> Path:
        return self.out / ".capture" / "settled.safetensors"

    @functools.cached_property
    def adapted_network(self) -> Estimator | None:
        return self._of_this_video(self.adapted_weights)

    @functools.cached_property
    def settled_network(self) -> Estimator | None:
        return self._of_this_video(self.settled_weights)

    def _of_this_video(self, weights: Path) -> Estimator | None:
        return load_estimator(weights)[0].to(self.device) if EPOCHS[self.config.quality] else None

    def progress(self, stage: str) -> Callable[[int, int], None]:
        return lambda done, total: self.on_progress(stage, done, total)


@functools.cache
def _body() -> Body:
    """Kept for the next video of the process, as the network is."""
    return Body.load()


@functools.lru_cache(maxsize=1)
def _network(path: Path, sha256: str, device: torch.device) -> Estimator:
    """The network of a weights file whose bytes have that sum."""
    return load_estimator(path)[0].to(device)


def _device(name: str) -> torch.device:
    if name not in ("cpu", "cuda") and not name.startswith("cuda:"):
        raise ValueError(f"device: {name!r}; expected cpu, cuda or cuda:N")
    if name != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"device: {name!r}; PyTorch finds no CUDA device here: choose cpu")
    return torch.device(name)


def _without_partials(out: Path) -> None:
    """What a killed run left behind."""
    for folder in (out, *out.glob("person-*")):
        for stems in ("motion*", "overlay", "report", "observations"):
            remove_temporaries(folder, stems)
    remove_temporaries(out / ".capture")


# ---- the stages -----------------------------------------------------------------------------------------------


def _observed(out: Path) -> StageRecord:
    """What `observe` has done, as a stage that others follow."""
    report = json.loads((out / "observations.json").read_bytes())
    seconds = next(stage["seconds"] for stage in report["stages"] if stage["name"] in ("total", "whole"))
    key = hashlib.sha256(json.dumps(report["settings"], sort_keys=True).encode()).hexdigest()
    return StageRecord("observe", key, report, seconds)


def _choice(run: _Run, people: list[CapturedPerson], seen: StageRecord) -> StageRecord:
    """Adapts the network where that is asked for, and decides what to trust."""
    refining = [asdict(how) for how in (FitConfig(), REFINE, REFINE_LOW_SMOOTHNESS)]
    needs = {"version": __version__, "weights": run.weights, "focal": run.config.focal,
             "sample": SAMPLE[run.config.quality]}  # fmt: skip
    after = [seen]
    if epochs := EPOCHS[run.config.quality]:
        settings, paths = AdaptConfig(epochs=epochs), [run.adapted_weights, run.settled_weights]

        def adapt() -> tuple[dict[str, Any], list[Path]]:
            networks = adapt_to_video(run.solver, people, settings, run.progress("adapt"))
            for path, network in zip(paths, networks, strict=True):
                save_estimator(path, network, {"adapted_from": run.weights})
            return {}, paths

        names = [path.name for path in paths]
        after = [run.stages.run("adapt", {**needs, "adapt": asdict(settings), "for": names}, after, adapt)]
    return run.stages.run(
        "choose",
        {**needs, "refine": refining},
        after,
        lambda: ({"people": select_models(run.solver, run.adapted_network, people, run.progress("choose"))}, []),
    )


def _answer(run: _Run, person: CapturedPerson, choice: StageRecord) -> StageRecord:
    path = run.out / ".capture" / f"person-{person.number}.npz"

    def work() -> tuple[dict[str, Any], list[Path]]:
        mine = choice.result["people"][person.number - 1]
        name = f"refine {person.number}"
        estimate_person(run.solver, run.settled_network, person, mine, run.progress(name)).save(path)
        return mine, [path]

    return run.stages.run(f"refine-{person.number}", {}, [choice], work)


def _camera(run: _Run, people: list[CapturedPerson], seen: StageRecord) -> bool:
    """Whether it stands still."""
    if run.config.static_camera != "auto":
        return run.config.static_camera == "yes"

    def work() -> tuple[dict[str, Any], list[Path]]:
        return {"background_speeds": [background_speed(person) for person in people]}, []

    return is_camera_static(run.stages.run("camera", {}, [seen], work).result["background_speeds"])


def _level(run: _Run, people: list[CapturedPerson], answers: list[StageRecord]) -> StageRecord:
    """Which way is up for everybody."""

    def work() -> tuple[dict[str, Any], list[Path]]:
        motions = [_motion(run, person, after=True) for person in people]
        return {"R_level_world": level_rotation(motions, run.body).tolist()}, []

    return run.stages.run("level", {"version": __version__}, answers, work)


def _cleaned(run: _Run, person: CapturedPerson, answer: StageRecord, upright: StageRecord | None) -> StageRecord:
    """`upright` is the level under a camera that stands still."""
    path, still = person.folder / "motion.npz", upright is not None

    def work() -> tuple[dict[str, Any], list[Path]]:
        made = {
            "version": __version__,
            "weights": run.weights,
            "settings": _settings(run.config),
            **answer.result,
        }
        del made["betas"]
        raw = _motion(run, person, after=True)
        seen = joint_confidence(person.seen, raw.frame_index)
        R_level_world = None if upright is None else torch.tensor(upright.result["R_level_world"])
        motion = postprocess(raw, run.body, run.config.height, seen, still, R_level_world)
        replace(motion, provenance=made | motion.provenance).save(path)
        return {"frames": len(motion)}, [path]

    needs = {"settings": _settings(run.config), "still": still}
    after = [answer] if upright is None else [answer, upright]
    return run.stages.run(f"clean-{person.number}", needs, after, work)


def _settings(config: CaptureConfig) -> dict[str, str]:
    """What the motion depends on; of the weights there is a sum."""
    others = ("weights", "export", "options")
    return {name: str(value) for name, value in vars(config).items() if name not in others}


def _motion(run: _Run, person: CapturedPerson, after: bool) -> Motion:
    found = Estimate.load(run.out / ".capture" / f"person-{person.number}.npz")
    return Motion.from_parameters(
        run.small_body,
        to_world(found.after if after else found.before, person.camera),
        person.camera,
        person.seen.image_size,
        person.seen.frame_times,
        person.seen.frame_index,
        seen_share(person.seen.keypoint_confidence),
    )


def _exported(run: _Run, person: CapturedPerson, motion: Motion, cleaned: StageRecord) -> None:
    options = {name: str(value) for name, value in asdict(run.config.options).items()}
    for name in dict.fromkeys(run.config.export):
        run.stages.run(
            f"export-{person.number}-{name}",
            {"format": name, "options": options},
            [cleaned],
            lambda name=name: (
                {},
                export_motion(motion, run.body, person.folder, [name], run.config.options),
            ),
        )


def _drawn(run: _Run, motions: list[Motion], cleaned: list[StageRecord]) -> None:
    path = run.out / "overlay.mp4"

    def work() -> tuple[dict[str, Any], list[Path]]:
        write_overlay_video(path, open_video(run.video), motions, run.body, run.progress("draw"))
        return {}, [path]

    run.stages.run("draw", {}, cleaned, work)


def _measured(
    run: _Run, person: CapturedPerson, motion: Motion, answer: StageRecord, cleaned: StageRecord
) -> StageRecord:
    def work() -> tuple[dict[str, Any], list[Path]]:
        before = motion_diagnostics(_motion(run, person, after=False), person, run.body)
        after = motion_diagnostics(motion, person, run.body)
        run.on_progress("measure", person.number, person.number)
        return {"before": before, "after": after, "untrusted": low_confidence_ranges(motion, person.seen)}, []

    return run.stages.run(f"measure-{person.number}", {}, [answer, cleaned], work)


def _paged(
    run: _Run, people: list[CapturedPerson], motions: list[Motion], made: list[StageRecord], summary: dict[str, Any]
) -> None:
    """`report.html`, with the residuals of every frame, which would be too many for `report.json`."""
    path = run.out / "report.html"

    def work() -> tuple[dict[str, Any], list[Path]]:
        curves = [_curves(run, person, motion) for person, motion in zip(people, motions, strict=True)]
        detailed = [
            of_person | {when: of_person[when] | {"keypoint_px_by_frame": px} for when, px in curve.items()}
            for of_person, curve in zip(summary["people"], curves, strict=True)
        ]
        write_report(path, motions, run.body, summary | {"people": detailed}, run.out / "overlay.mp4")
        return {}, [path]

    run.stages.run("page", {"report": summary, "exports": list(run.config.export)}, made, work)


def _curves(run: _Run, person: CapturedPerson, motion: Motion) -> dict[str, list[float | None]]:
    """The residual of every frame of the motion, before and after."""
    curves = {}
    for when, its_motion in (("before", _motion(run, person, after=False)), ("after", motion)):
        px = keypoint_px_by_frame(its_motion, person.seen)
        of_frame = dict(zip(its_motion.frame_index.tolist(), px, strict=True))
        curves[when] = [of_frame.get(index) for index in motion.frame_index.tolist()]
    return curves
