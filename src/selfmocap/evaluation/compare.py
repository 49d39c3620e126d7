"""Compare the results of two systems on one video: scores, overlays beside each other, a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.results.read import read_result
from selfmocap.evaluation.evaluate import (
    BodyModels,
    ScoredMotion,
    files_by_clip,
    first_names,
    match_estimates,
    read_scored_motions,
    score_motion,
)
from selfmocap.evaluation.scores import mean_scores
from selfmocap.io.files import write_json
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.video import Video, open_video
from selfmocap.pipeline.postprocessing.smoothness_metrics import smoothness_metrics
from selfmocap.visualization.comparison import write_comparison_page, write_comparison_video

COMPARISON_VERSION = 1
_ROWS = {
    "people": "people",
    "frames": "frames of all people",
    "jitter": "jitter, m/s³",
    "foot_slide_mm": "feet slide, mm a frame",
}
_TRUTH_ROWS = {
    "mpjpe_mm": "per joint, mm",
    "pa_mpjpe_mm": "per joint after Procrustes, mm",
    "absolute_mpjpe_mm": "per joint with translation, mm",
    "surface_mm": "surface, mm",
    "acceleration_error_m_per_s2": "acceleration error, m/s²",
    "missing_frames": "true frames without an estimate",
}


@dataclass(frozen=True, eq=False)
class ComparedSystem:
    """The result of one system."""

    name: str
    people: list[ScoredMotion]
    body: Body
    notes: list[str]

    @property
    def motions(self) -> list[Motion]:
        """The motions that can be drawn over the video."""
        return [person.motion for person in self.people if person.has_camera]


def compare_results(
    a: Path,
    b: Path,
    video: Path,
    out: Path,
    truth: Path | None = None,
    smpl_model: Path | None = None,
    focal: float | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Compare two results and write `compare.json`, `compare.mp4` and `compare.html` into the folder `out`.

    A result is that of a system that `read_result` reads, or a capture's folder. `smpl_model` is the user's SMPL file,
    `focal` the video's focal length, px, for results without one. Raises FileNotFoundError or ValueError that names the
    file and the problem."""
    film, default = open_video(video), Body.load()
    smpl = None if smpl_model is None else Body.load(smpl_model)
    systems = [_read_system(path, film, default, smpl, focal) for path in (a, b)]
    people = [] if truth is None else _read_truth(truth, BodyModels(default, smpl_model))
    names = ("A: " + systems[0].name, "B: " + systems[1].name)
    result: dict[str, Any] = {
        "version": COMPARISON_VERSION,
        "systems": [
            {"name": system.name}
            | _own_scores(system)
            | ({"truth": _scores(system.people, people)} if people else {})
            for system in systems
        ],
        "difference": _scores(systems[1].people, systems[0].people),
        "notes": list(dict.fromkeys(note for system in systems for note in system.notes)),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "compare.json", result, indent=1)
    left, right = ((system.motions, system.body) for system in systems)
    write_comparison_video(
        out / "compare.mp4", film, left, right, lambda done, total: progress("draw", done, total)
    )
    write_comparison_page(
        out / "compare.html", names, comparison_rows(result), _page_notes(result), "compare.mp4"
    )
    return result


def _read_system(
    path: Path, film: Video, default: Body, smpl: Body | None, focal: float | None
) -> ComparedSystem:
    own = sorted(path.glob("person-*/motion.npz")) if path.is_dir() else []
    if own:
        motions = [Motion.load(file) for file in own]
        if other := [motion.body for motion in motions if motion.body != default.identity]:
            raise ValueError(f"{path}: expected motions of the body {default.identity}, found {other[0]}")
        people = [
            ScoredMotion(file.parent.name, m, True, default) for file, m in zip(own, motions, strict=True)
        ]
        return ComparedSystem(path.name, people, default, [])
    times = torch.from_numpy(np.asarray(film.times))
    read = read_result(path, default, smpl, times, film.size, focal)
    body = default if smpl is None or read.system in ("selfmocap", "BVH") else smpl
    has_camera = read.camera_kind != "none"
    notes = [*read.warnings]
    if not has_camera:
        notes.append(f"{path.name}: has no camera, so that it is not drawn over the video")
    people = [
        ScoredMotion(f"{path.stem}-{number}", motion, has_camera, body)
        for number, motion in enumerate(read.motions, start=1)
    ]
    return ComparedSystem(f"{path.name} ({read.system})", people, body, notes)


def _read_truth(truth: Path, bodies: BodyModels) -> list[ScoredMotion]:
    clips = files_by_clip(truth)
    if len(clips) > 1:
        raise ValueError(
            f"{truth}: {len(clips)} clips ({first_names(clips)}); give the truth of the one video"
        )
    return [
        person for files in clips.values() for path in files for person in read_scored_motions(path, bodies)
    ]


def _own_scores(system: ComparedSystem) -> dict[str, Any]:
    metrics = [smoothness_metrics(person.motion) for person in system.people]
    frames = np.array([len(person.motion) for person in system.people])
    return {"people": len(frames), "frames": int(frames.sum())} | {
        name: round(float(np.average([one[name] for one in metrics], weights=frames)), 3)
        for name in metrics[0]
    }


def _scores(estimates: Sequence[ScoredMotion], people: Sequence[ScoredMotion]) -> dict[str, Any] | None:
    """Compute mean scores of the estimates against the people that they match; None if none matches."""
    pairs = match_estimates(estimates, people)
    errors = [score_motion(estimates[column], people[row]) for row, column in pairs.items()]
    if not errors:
        return None
    scores = mean_scores(errors)
    return scores | {"missing_frames": sum(len(person.motion) for person in people) - scores["frames"]}


def comparison_rows(result: dict[str, Any]) -> dict[str, list[str]]:
    """Format the table: a title, and the cells of both systems."""
    systems = result["systems"]
    rows = {title: [_cell(system[key]) for system in systems] for key, title in _ROWS.items()}
    if all("truth" in system for system in systems):
        for key, title in _TRUTH_ROWS.items():
            rows[f"{title} (truth)"] = [_cell((system["truth"] or {}).get(key)) for system in systems]
    return rows


def _page_notes(result: dict[str, Any]) -> list[str]:
    apart = result["difference"]
    if apart is None:
        return ["No person of one result is a person of the other.", *result["notes"]]
    return [
        f"In {apart['frames']} frames of the same people the results are {apart['mpjpe_mm']:.1f} mm per joint apart "
        f"relative to the pelvis, {apart['absolute_mpjpe_mm']:.1f} mm with translation.",
        *result["notes"],
    ]


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
