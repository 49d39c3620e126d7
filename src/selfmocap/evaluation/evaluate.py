"""How far estimated motions are from true ones: two files, or two folders of them, matched and scored.

A side is a `motion.npz`, an AMASS `.npz`, a 3DPW `.pkl`, or a folder of them. Files of the same clip have the same
place in their folders, the folders `person-N` and `truth` aside; which person is whom is told by where they are."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.table import Column, Table
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.model_files import SMPL_MEAN_PELVIS
from selfmocap.body_model.motion import FORMAT, Motion
from selfmocap.body_model.skeleton import JOINT, JOINT_NAMES
from selfmocap.datasets.amass import read_amass
from selfmocap.datasets.smpl_motion import SmplMotion
from selfmocap.datasets.three_dpw import read_threedpw
from selfmocap.geometry.camera import Camera
from selfmocap.io.npz import read_npz
from selfmocap.losses.metrics import (
    absolute_error,
    acceleration_error,
    procrustes_error,
    root_aligned_error,
    translation_aligned_error,
)

Errors = dict[str, Float[Tensor, "_"]]
"""By score: a value a frame, or for accelerations a value a triple of frames; mm but for `m_per_s2`."""

_NOT_MOTIONS = re.compile(r"shape\.npz|.*_stagei\.npz|observations\.npz")
_NO_PLACE = re.compile(r"person-\d+|truth")
_SAME_RATE = 0.01
_SURFACE_FRAMES = 64
_FAR = 2.0
"""Metres from which on it does not matter, in telling people apart, how far off an estimate is."""
_MEAN_SHAPE = "SMPL parameters on our own body in its mean shape: no SMPL file was given"
_NO_CAMERA = Camera(torch.ones(2), torch.zeros(2), torch.eye(3), torch.zeros(3))


# ---- scores ---------------------------------------------------------------------------------------------------


def joint_errors(
    estimate: Float[Tensor, "time 24 3"],
    truth: Float[Tensor, "time 24 3"],
    frame_index: Int[Tensor, " time"],
    fps: float,
) -> Errors:
    """All scores of joints (metres, one frame of reference). Accelerations are compared where three frames follow each
    other by their `frame_index`."""
    root = JOINT["pelvis"]
    follows = frame_index.diff() == 1
    acceleration_mm = estimate.new_zeros(0)
    if len(estimate) > 2:
        acceleration_mm = 1000 * acceleration_error(estimate, truth).mean(-1)[follows[:-1] & follows[1:]]
    return {
        "mpjpe_mm": 1000 * root_aligned_error(estimate, truth, estimate[:, root], truth[:, root]).mean(-1),
        "pa_mpjpe_mm": 1000 * procrustes_error(estimate, truth).mean(-1),
        "absolute_mpjpe_mm": 1000 * absolute_error(estimate, truth).mean(-1),
        "translation_aligned_mpjpe_mm": 1000 * translation_aligned_error(estimate, truth).mean(-1),
        "acceleration_error_mm_per_frame2": acceleration_mm,
        "acceleration_error_m_per_s2": acceleration_mm / 1000 * fps**2,
    }


def surface_errors(
    estimate: Float[Tensor, "time vertices 3"],
    truth: Float[Tensor, "time vertices 3"],
    estimate_root: Float[Tensor, "time 3"],
    truth_root: Float[Tensor, "time 3"],
) -> Errors:
    """The scores of the vertices of one body (metres, one frame of reference)."""
    return {
        "surface_mm": 1000 * root_aligned_error(estimate, truth, estimate_root, truth_root).mean(-1),
        "absolute_surface_mm": 1000 * absolute_error(estimate, truth).mean(-1),
    }


def means(parts: Sequence[Errors]) -> dict[str, Any]:
    """The mean of every score over all frames of all parts, None where nothing was measured, and how many `frames`."""
    names = dict.fromkeys(name for errors in parts for name in errors)
    values = {name: torch.cat([e[name] for e in parts if name in e]) for name in names}
    scores: dict[str, Any] = {
        n: round(float(v.double().mean()), 3) if len(v) else None for n, v in values.items()
    }
    return scores | {"frames": sum(len(e["mpjpe_mm"]) for e in parts), "joints": len(JOINT_NAMES)}


# ---- one side -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Track:
    """One person of one side."""

    name: str
    motion: Motion
    """Where no camera is known, its camera frame is the world."""
    has_camera: bool
    body: Body | None
    """What the motion's parameters are of; None where that body is not at hand."""
    note: str = ""
    """What is to be known of it."""

    def points(self, in_camera: bool) -> Float[Tensor, "time 24 3"]:
        """The joints, in the camera frame or in the world."""
        joints = self.motion.joints_cam
        return joints if in_camera else self.motion.camera.to_world(joints)

    def vertices(self, frames: slice, in_camera: bool) -> Float[Tensor, "time vertices 3"]:
        """The surface in some frames, in the camera frame or in the world."""
        assert self.body is not None
        motion = self.motion[frames]
        with torch.no_grad():
            p_world = self.body.pose(motion.parameters).vertices
        return motion.camera.to_camera(p_world) if in_camera else p_world


@dataclass(frozen=True, eq=False)
class Bodies:
    """The bodies at hand."""

    own: Body
    smpl_model: Path | None = None
    """The user's SMPL file, or a folder with one a gender."""

    def track(self, name: str, motion: Motion) -> Track:
        """A track of a motion of ours."""
        return Track(name, motion, True, self.own if motion.body == self.own.identity else None)

    def of_smpl(self, motion: SmplMotion, camera: Camera | None) -> Track:
        """A track of SMPL parameters; without the user's SMPL file, on our own body in its mean shape."""
        body = self.own if self.smpl_model is None else Body.load(_of_gender(self.smpl_model, motion.gender))
        if self.smpl_model is None:
            motion = replace(motion, betas=torch.zeros_like(motion.betas))
        parameters = motion.parameters(body)
        if self.smpl_model is None:
            moved = torch.tensor(SMPL_MEAN_PELVIS) - body.J_template[JOINT["pelvis"]]
            p_world_root = parameters.p_world_root + moved @ motion.R_world_file.to(moved).T
            parameters = replace(parameters, p_world_root=p_world_root)
        times = torch.arange(len(motion), dtype=torch.float64) / motion.fps
        whole = Motion.from_parameters(body, parameters, camera or _NO_CAMERA, (1, 1), times)
        return Track(motion.name, whole, camera is not None, body, "" if self.smpl_model else _MEAN_SHAPE)


def _of_gender(model: Path, gender: str) -> Path:
    if not model.is_dir():
        return model
    for path in sorted(model.iterdir()):
        if {gender, gender[:1]} & set(path.stem.lower().split("_")):
            return path
    raise FileNotFoundError(
        f"{model}: no SMPL model for gender {gender}; expected a file such as SMPL_{gender.upper()}.pkl"
    )


def read_tracks(path: Path, bodies: Bodies) -> list[Track]:
    """The people of one file: a `motion.npz`, an AMASS `.npz` or a 3DPW `.pkl`. Of 3DPW, only the frames that are for
    evaluation. Raises ValueError for another file."""
    if path.suffix == ".pkl":
        tracks = []
        for person in read_threedpw(path):
            track = bodies.of_smpl(person.motion, person.camera)
            tracks.append(replace(track, motion=track.motion[person.camera_valid]))
        return tracks
    if str(read_npz(path, only={"format"}).get("format")) == FORMAT:
        return [bodies.track(path.parent.name, Motion.load(path))]
    return [bodies.of_smpl(read_amass(path), None)]


def files_by_clip(side: Path) -> dict[str, list[Path]]:
    """The files of a side by the clip that they are of. Raises FileNotFoundError where there are none."""
    if not side.is_dir():
        if not side.is_file():
            raise FileNotFoundError(
                f"{side} does not exist; expected a motion.npz, .npz or .pkl file, or a folder"
            )
        return {"": [side]}
    files = sorted(side.rglob("motion.npz")) or [
        path
        for path in sorted([*side.rglob("*.npz"), *side.rglob("*.pkl")])
        if not _NOT_MOTIONS.fullmatch(path.name)
    ]
    if not files:
        raise FileNotFoundError(
            f"{side}: no motion in it; expected motion.npz, AMASS .npz or 3DPW .pkl files"
        )
    clips: dict[str, list[Path]] = {}
    for path in files:
        place = path.relative_to(side)
        parts = [*place.parent.parts, *([] if path.name == "motion.npz" else [place.stem])]
        clips.setdefault("/".join(p for p in parts if not _NO_PLACE.fullmatch(p)), []).append(path)
    return clips


# ---- both sides -----------------------------------------------------------------------------------------------


def evaluate(
    estimates: Path,
    truth: Path,
    smpl_model: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, Any]:
    """The scores of docs/reference/file-formats.md, for every person of every clip and for `all` frames together; what is missing on
    either side is counted and named. AMASS and 3DPW parameters are posed by `smpl_model`. Raises FileNotFoundError or
    ValueError where nothing matches, or frame rates differ."""
    bodies, (ours, theirs) = Bodies(Body.load(), smpl_model), (files_by_clip(estimates), files_by_clip(truth))
    if len(ours) == len(theirs) == 1:
        ours = dict(zip(theirs, ours.values(), strict=True))
    shared = [clip for clip in theirs if clip in ours]
    if not shared:
        raise ValueError(
            f"nothing matches: {estimates} has {some_of(ours)}, {truth} has {some_of(theirs)}; give the same clip the "
            "same place in both folders"
        )
    found = _Found({}, {}, [], [], set())
    for number, clip in enumerate(theirs):
        people = [track for path in theirs[clip] for track in read_tracks(path, bodies)]
        guesses = [track for path in ours.get(clip, ()) for track in read_tracks(path, bodies)]
        _score_clip(clip or truth.stem, guesses, people, found)
        progress("evaluate", number + 1, len(theirs))
    if not found.errors:
        raise ValueError(f"{estimates} and {truth} have no frame in common: their frame indices differ")
    found.extra.extend(clip for clip in ours if clip not in theirs)
    return found.result()


@dataclass(frozen=True, eq=False)
class _Found:
    clips: dict[str, dict[str, Any]]
    errors: dict[str, Errors]
    missing: list[str]
    extra: list[str]
    notes: set[str]

    def result(self) -> dict[str, Any]:
        counts = {
            key: sum(clip[key] for clip in self.clips.values()) for key in ("missing_frames", "extra_frames")
        }
        return {
            "all": means(list(self.errors.values())) | counts,
            "clips": {name: clip for name, clip in self.clips.items() if name in self.errors},
            "missing": self.missing,
            "extra": self.extra,
            "notes": sorted(self.notes),
        }


def some_of(clips: Mapping[str, Any]) -> str:
    """Some of the names, for a message."""
    return ", ".join(name or "a single clip" for name in list(clips)[:4]) + (
        ", ..." if len(clips) > 4 else ""
    )


def _score_clip(clip: str, estimates: list[Track], people: list[Track], found: _Found) -> None:
    pairs = _assigned(estimates, people)
    found.notes.update(track.note for track in (*estimates, *people) if track.note)
    for row, person in enumerate(people):
        name = clip if len(people) == 1 else f"{clip}/{person.name}"
        if row not in pairs:
            found.missing.append(name)
            found.clips[name] = {"missing_frames": len(person.motion), "extra_frames": 0}
            continue
        estimate = estimates[pairs[row]]
        if not _same_body(estimate, person):
            found.notes.add(
                f"no surface where the bodies differ: {estimate.motion.body}; {person.motion.body}"
            )
        errors = compare(estimate, person)
        frames = len(errors["mpjpe_mm"])
        found.errors[name] = errors
        found.clips[name] = means([errors]) | {
            "missing_frames": len(person.motion) - frames,
            "extra_frames": len(estimate.motion) - frames,
            "estimate": estimate.name,
        }
    found.extra.extend(
        f"{clip}/{track.name}" for row, track in enumerate(estimates) if row not in pairs.values()
    )


def _same_body(one: Track, other: Track) -> bool:
    return one.body is not None and other.body is not None and one.body.identity == other.body.identity


def _assigned(estimates: list[Track], people: list[Track]) -> dict[int, int]:
    """By person the estimate that is of it: together as near to the truth as can be. Who has no frame in common is
    nobody's."""
    costs = np.array([[_distance(estimate, person) for estimate in estimates] for person in people])
    if not costs.size:
        return {}
    rows, columns = linear_sum_assignment(np.minimum(costs, 2 * _FAR))
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if np.isfinite(costs[r, c])}


def _distance(estimate: Track, person: Track) -> float:
    """Metres, the mean over the person's frames; one without an estimate counts as far away."""
    ours, theirs = _same_frames(estimate, person)
    if not len(ours.motion):
        return np.inf
    in_camera = estimate.has_camera and person.has_camera
    error = absolute_error(ours.points(in_camera), theirs.points(in_camera)).mean(-1).clamp_max(_FAR)
    missing = len(person.motion) - len(error)
    return (float(error.sum()) + _FAR * missing) / len(person.motion)


def _same_frames(estimate: Track, person: Track) -> tuple[Track, Track]:
    """Both in the frames that both have."""
    _, ours, theirs = np.intersect1d(
        estimate.motion.frame_index.numpy(), person.motion.frame_index.numpy(), return_indices=True
    )
    return (
        replace(estimate, motion=estimate.motion[torch.from_numpy(ours)]),
        replace(person, motion=person.motion[torch.from_numpy(theirs)]),
    )


def compare(estimate: Track, person: Track) -> Errors:
    """All scores in the frames that both have: in the camera frame where both know it, otherwise in the world. A
    ValueError where the frame rates differ."""
    rate, true_rate = estimate.motion.fps, person.motion.fps
    if rate and true_rate and abs(rate / true_rate - 1) > _SAME_RATE:
        raise ValueError(
            f"{person.name}: estimated at {rate:.3f} frames a second, the truth has {true_rate:.3f}; resample one of "
            "them (selfmocap export --fps)"
        )
    ours, theirs = _same_frames(estimate, person)
    in_camera = estimate.has_camera and person.has_camera
    joints, true_joints = ours.points(in_camera), theirs.points(in_camera)
    errors = joint_errors(joints, true_joints, theirs.motion.frame_index, true_rate)
    if not _same_body(ours, theirs):
        return errors
    root, parts = JOINT["pelvis"], []
    for first in range(0, len(joints), _SURFACE_FRAMES):
        now = slice(first, first + _SURFACE_FRAMES)
        surface, true_surface = ours.vertices(now, in_camera), theirs.vertices(now, in_camera)
        parts.append(surface_errors(surface, true_surface, joints[now, root], true_joints[now, root]))
    return errors | {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


# ---- on paper -------------------------------------------------------------------------------------------------

_COLUMNS = {
    "mpjpe_mm": "MPJPE",
    "pa_mpjpe_mm": "PA",
    "absolute_mpjpe_mm": "absolute",
    "surface_mm": "surface",
    "acceleration_error_m_per_s2": "m/s²",
    "pck": "PCK",
    "frames": "frames",
    "missing_frames": "missing",
}


def table_of(result: dict[str, Any]) -> Table:
    """The scores that there are as a table for people, mm."""
    columns = {name: title for name, title in _COLUMNS.items() if name in result["all"]}
    table = Table(Column("clip", overflow="fold"), *columns.values())
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
