"""Score estimated motions against true ones: two files, or two folders that are matched by clip and person.

Each side is a `motion.npz`, an AMASS `.npz`, a 3DPW `.pkl`, or a folder of them. Files of one clip have the same path
in both folders; `person-N` and `truth` in the path do not count. People are matched by their positions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from rich.table import Column, Table
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.model_folder import find_model
from selfmocap.body_model.motion import MOTION_FORMAT, Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.datasets.amass import read_amass
from selfmocap.datasets.smpl_motion import SmplMotion
from selfmocap.datasets.three_dpw import read_three_dpw
from selfmocap.evaluation.scores import FrameErrors, concat_errors, joint_errors, mean_scores, surface_errors
from selfmocap.evaluation.world_scores import world_errors
from selfmocap.geometry.camera import Camera
from selfmocap.io.npz import read_npz
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.stray_files import is_stray
from selfmocap.losses.metrics import absolute_error

SCORES_VERSION = 2
"""Version of the scores' JSON. Version 1 had no `version`, and the same keys."""

_NOT_MOTIONS = re.compile(r"shape\.npz|.*_stagei\.npz|observations\.npz")
_IGNORED_FOLDERS = re.compile(r"person-\d+|truth")
_FPS_TOLERANCE = 0.01
"""Maximum relative difference of frame rates."""
_FRAMES_PER_CHUNK = 64
"""Frames whose vertices are in memory at once."""
_MAX_MATCH_DISTANCE = 2.0
"""Distances between an estimate and a person are clamped to this for matching, metres."""
_MEAN_SHAPE_NOTE = (
    "SMPL parameters are applied to the default body in its mean shape, since no SMPL file is given"
)
_NO_CAMERA = Camera(torch.ones(2), torch.zeros(2), torch.eye(3), torch.zeros(3))


# ---- one side -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ScoredMotion:
    """The motion of one person, estimated or true."""

    name: str
    motion: Motion
    """Without a known camera, its camera frame is the world."""
    has_camera: bool
    body: Body | None
    """The body of the motion's parameters; None if it is not available."""
    note: str = ""
    """A limitation to report with the scores."""

    def joints(self, in_camera: bool) -> Float[Tensor, "time 24 3"]:
        """Return the joints in the camera frame or in the world."""
        joints = self.motion.joints_cam
        return joints if in_camera else self.motion.camera.to_world(joints)

    def vertices(self, frames: slice, in_camera: bool) -> Float[Tensor, "time vertices 3"]:
        """Pose the vertices of some frames, in the camera frame or in the world."""
        assert self.body is not None
        motion = self.motion[frames]
        with torch.no_grad():
            p_world = self.body.pose(motion.parameters).vertices
        return motion.camera.to_camera(p_world) if in_camera else p_world


@dataclass(frozen=True, eq=False)
class BodyModels:
    """The bodies that motions are posed with."""

    default: Body
    smpl_model: Path | None = None
    """The user's SMPL file, or a folder with one per gender."""

    def of_motion(self, name: str, motion: Motion) -> ScoredMotion:
        """Take a motion of this project, with the default body if it is the motion's."""
        return ScoredMotion(
            name, motion, True, self.default if motion.body == self.default.identity else None
        )

    def of_smpl(self, motion: SmplMotion, camera: Camera | None) -> ScoredMotion:
        """Take SMPL parameters. Without the user's SMPL file they are applied to the default body in its mean shape."""
        body = self.default if self.smpl_model is None else Body.load(_model_file(self.smpl_model, motion))
        parameters = motion.parameters(body) if self.smpl_model else motion.on_mean_shape(body)
        times = torch.arange(len(motion), dtype=torch.float64) / motion.fps
        posed = Motion.from_parameters(body, parameters, camera or _NO_CAMERA, (1, 1), times)
        note = "" if self.smpl_model else _MEAN_SHAPE_NOTE
        return ScoredMotion(motion.name, posed, camera is not None, body, note)


def _model_file(model: Path, motion: SmplMotion) -> Path:
    """Return the user's file, or of a folder the model that the motion was fitted with. SMPL and SMPL-H share betas."""
    if not model.is_dir():
        return model
    kinds = {"smpl": ("smpl", "smplh"), "smplh": ("smplh", "smpl"), "smplx": ("smplx",)}
    return find_model(model, motion.gender, kinds[motion.model])


def read_scored_motions(path: Path, bodies: BodyModels) -> list[ScoredMotion]:
    """Read the people of one file: a `motion.npz`, an AMASS `.npz` or a 3DPW `.pkl`. Of 3DPW, keep the frames with a
    valid camera. Raises ValueError for another file."""
    if path.suffix == ".pkl":
        people = []
        for person in read_three_dpw(path):
            scored = bodies.of_smpl(person.motion, person.camera)
            people.append(replace(scored, motion=scored.motion[person.camera_valid]))
        return people
    if str(read_npz(path, only={"format"}).get("format")) == MOTION_FORMAT:
        return [bodies.of_motion(path.parent.name, Motion.load(path))]
    return [bodies.of_smpl(read_amass(path), None)]


def files_by_clip(side: Path) -> dict[str, list[Path]]:
    """Group the files of a side by clip. Raises FileNotFoundError if there are none."""
    if not side.is_dir():
        if not side.is_file():
            raise FileNotFoundError(
                f"{side} does not exist; expected a motion.npz, .npz or .pkl file, or a folder"
            )
        return {"": [side]}
    files = sorted(path for path in side.rglob("motion.npz") if not is_stray(path, side)) or [
        path
        for path in sorted([*side.rglob("*.npz"), *side.rglob("*.pkl")])
        if not _NOT_MOTIONS.fullmatch(path.name) and not is_stray(path, side)
    ]
    if not files:
        raise FileNotFoundError(
            f"{side}: no motion in it; expected motion.npz, AMASS .npz or 3DPW .pkl files"
        )
    clips: dict[str, list[Path]] = {}
    for path in files:
        relative = path.relative_to(side)
        parts = [*relative.parent.parts, *([] if path.name == "motion.npz" else [relative.stem])]
        clips.setdefault("/".join(p for p in parts if not _IGNORED_FOLDERS.fullmatch(p)), []).append(path)
    return clips


# ---- both sides -----------------------------------------------------------------------------------------------


def evaluate(
    estimates: Path,
    truth: Path,
    smpl_model: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Score every person of every clip, and `all` frames together; count and name what is missing on either side.

    AMASS and 3DPW parameters are posed with `smpl_model`. Raises FileNotFoundError or ValueError if nothing matches or
    frame rates differ."""
    bodies = BodyModels(Body.load(), smpl_model)
    estimate_files, true_files = files_by_clip(estimates), files_by_clip(truth)
    if len(estimate_files) == len(true_files) == 1:
        estimate_files = dict(zip(true_files, estimate_files.values(), strict=True))
    if not any(clip in estimate_files for clip in true_files):
        raise ValueError(
            f"nothing matches: {estimates} has {first_names(estimate_files)}, {truth} has {first_names(true_files)}; "
            "give each clip the same path in both folders"
        )
    scored = _ClipScores({}, {}, [], [], set())
    for number, clip in enumerate(true_files):
        people = [person for path in true_files[clip] for person in read_scored_motions(path, bodies)]
        estimated = [
            person for path in estimate_files.get(clip, ()) for person in read_scored_motions(path, bodies)
        ]
        _score_clip(clip or truth.stem, estimated, people, scored)
        progress("evaluate", number + 1, len(true_files))
    if not scored.errors:
        raise ValueError(
            f"{estimates} and {truth} have no frame in common: their frame indices differ; compare motions of one video"
        )
    scored.extra.extend(clip for clip in estimate_files if clip not in true_files)
    return scored.result()


@dataclass(frozen=True, eq=False)
class _ClipScores:
    clips: dict[str, dict[str, Any]]
    errors: dict[str, FrameErrors]
    missing: list[str]
    extra: list[str]
    notes: set[str]

    def result(self) -> dict[str, Any]:
        counts = {
            key: sum(clip[key] for clip in self.clips.values()) for key in ("missing_frames", "extra_frames")
        }
        return {
            "version": SCORES_VERSION,
            "all": mean_scores(list(self.errors.values())) | counts,
            "clips": {name: clip for name, clip in self.clips.items() if name in self.errors},
            "missing": self.missing,
            "extra": self.extra,
            "notes": sorted(self.notes),
        }


def first_names(clips: Mapping[str, Any]) -> str:
    """Return the first four names, for a message."""
    return ", ".join(name or "a single clip" for name in list(clips)[:4]) + (
        ", ..." if len(clips) > 4 else ""
    )


def _score_clip(
    clip: str, estimates: list[ScoredMotion], people: list[ScoredMotion], scored: _ClipScores
) -> None:
    pairs = match_estimates(estimates, people)
    scored.notes.update(motion.note for motion in (*estimates, *people) if motion.note)
    for row, person in enumerate(people):
        name = clip if len(people) == 1 else f"{clip}/{person.name}"
        if row not in pairs:
            scored.missing.append(name)
            scored.clips[name] = {"missing_frames": len(person.motion), "extra_frames": 0}
            continue
        estimate = estimates[pairs[row]]
        if not _same_body(estimate, person):
            scored.notes.add(
                f"no surface scores where the bodies differ: {estimate.motion.body}; {person.motion.body}"
            )
        errors = score_motion(estimate, person)
        frames = len(errors["mpjpe_mm"])
        scored.errors[name] = errors
        scored.clips[name] = mean_scores([errors]) | {
            "missing_frames": len(person.motion) - frames,
            "extra_frames": len(estimate.motion) - frames,
            "estimate": estimate.name,
        }
    scored.extra.extend(
        f"{clip}/{motion.name}" for row, motion in enumerate(estimates) if row not in pairs.values()
    )


def _same_body(a: ScoredMotion, b: ScoredMotion) -> bool:
    return a.body is not None and b.body is not None and a.body.identity == b.body.identity


def match_estimates(estimates: Sequence[ScoredMotion], people: Sequence[ScoredMotion]) -> dict[int, int]:
    """Match each person's row to an estimate's, with the least total distance. Pairs without a common frame are left
    out."""
    costs = np.array([[_distance(estimate, person) for estimate in estimates] for person in people])
    if not costs.size:
        return {}
    rows, columns = linear_sum_assignment(np.minimum(costs, 2 * _MAX_MATCH_DISTANCE))
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if np.isfinite(costs[r, c])}


def _distance(estimate: ScoredMotion, person: ScoredMotion) -> float:
    """Compute the mean distance over the person's frames, metres; a frame without estimate counts the maximum."""
    common, common_truth = _common_frames(estimate, person)
    if not len(common.motion):
        return np.inf
    in_camera = estimate.has_camera and person.has_camera
    error = absolute_error(common.joints(in_camera), common_truth.joints(in_camera)).mean(-1)
    error = error.clamp_max(_MAX_MATCH_DISTANCE)
    missing = len(person.motion) - len(error)
    return (float(error.sum()) + _MAX_MATCH_DISTANCE * missing) / len(person.motion)


def _common_frames(estimate: ScoredMotion, person: ScoredMotion) -> tuple[ScoredMotion, ScoredMotion]:
    """Select the frames that both have."""
    _, estimate_rows, true_rows = np.intersect1d(
        estimate.motion.frame_index.numpy(), person.motion.frame_index.numpy(), return_indices=True
    )
    return (
        replace(estimate, motion=estimate.motion[torch.from_numpy(estimate_rows)]),
        replace(person, motion=person.motion[torch.from_numpy(true_rows)]),
    )


def score_motion(estimate: ScoredMotion, truth: ScoredMotion) -> FrameErrors:
    """Compute all scores in the frames that both have: in the camera frame if both have a camera, else in the world.

    Raises ValueError if the frame rates differ."""
    fps, true_fps = estimate.motion.fps, truth.motion.fps
    if fps and true_fps and abs(fps / true_fps - 1) > _FPS_TOLERANCE:
        raise ValueError(
            f"{truth.name}: estimated at {fps:.3f} frames a second, the truth has {true_fps:.3f}; resample one of "
            "them (selfmocap export --fps)"
        )
    estimate, truth = _common_frames(estimate, truth)
    in_camera = estimate.has_camera and truth.has_camera
    joints, true_joints = estimate.joints(in_camera), truth.joints(in_camera)
    errors = joint_errors(joints, true_joints, truth.motion.frame_index, true_fps)
    errors |= world_errors(estimate.motion, truth.motion, true_fps)
    if not _same_body(estimate, truth):
        return errors
    root, parts = JOINT["pelvis"], []
    for first in range(0, len(joints), _FRAMES_PER_CHUNK):
        rows = slice(first, first + _FRAMES_PER_CHUNK)
        surface, true_surface = estimate.vertices(rows, in_camera), truth.vertices(rows, in_camera)
        parts.append(surface_errors(surface, true_surface, joints[rows, root], true_joints[rows, root]))
    return errors | concat_errors(parts)


# ---- a table to print -----------------------------------------------------------------------------------------

_COLUMNS = {
    "mpjpe_mm": "MPJPE",
    "pa_mpjpe_mm": "PA",
    "absolute_mpjpe_mm": "absolute",
    "wa_mpjpe_mm": "WA-MPJPE",
    "rte_percent": "RTE %",
    "surface_mm": "surface",
    "acceleration_error_m_per_s2": "m/s²",
    "pck": "PCK",
    "frames": "frames",
    "missing_frames": "missing",
}


def score_table(result: dict[str, Any]) -> Table:
    """Format the scores as a table; errors in mm."""
    columns = {name: title for name, title in _COLUMNS.items() if name in result["all"]}
    table = Table(
        Column("clip", overflow="fold"), *columns.values(), padding=0
    )  # Ten columns fit 80 characters.
    for name, scores in [*result["clips"].items(), ("all", result["all"])]:
        table.add_row(name, *(_cell(column, scores.get(column)) for column in columns))
    for title in ("missing", "extra"):
        if result[title]:
            table.caption = f"{table.caption or ''} {title}: {', '.join(result[title])}."
    return table


def _cell(column: str, value: int | float | None) -> str:
    if value is None:
        return "-"
    if column == "pck":
        return f"{100 * value:.1f} %"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
