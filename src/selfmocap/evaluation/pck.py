"""How well motions explain where people were seen in the image, where nothing of them is known in 3D: PCK against the
labels of Penn Action."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.datasets.penn_action import KEYPOINTS, PennClip, label_files, read_penn_action
from selfmocap.evaluation.evaluate import (
    Bodies,
    Track,
    evaluate,
    files_by_clip,
    read_tracks,
    some_of,
)
from selfmocap.geometry.camera import project
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.losses.metrics import right_keypoints

_COLUMNS = [DEFAULT_KEYPOINTS.index(name) for name in KEYPOINTS.names]


def evaluate_any(
    estimates: Path, truth: Path, smpl_model: Path | None, progress: ProgressCallback
) -> dict[str, Any]:
    """`evaluate.evaluate`; `evaluate_keypoints` where the truth is Penn Action's."""
    if label_files(truth):
        return evaluate_keypoints(estimates, truth, progress)
    return evaluate(estimates, truth, smpl_model, progress)


def evaluate_keypoints(
    estimates: Path, truth: Path, progress: ProgressCallback = no_progress
) -> dict[str, Any]:
    """`pck` (see `metrics.right_keypoints`) of every film of Penn Action and of `all` together, in the form of
    `evaluate.evaluate`. A film's estimate has its number as place; of several people, the one nearest to the labels
    counts. Of a folder, only the films for tests. Raises FileNotFoundError or ValueError where nothing matches."""
    ours, films = files_by_clip(estimates), _films(truth)
    if len(ours) == len(films) == 1:
        ours = dict(zip(films, ours.values(), strict=True))
    shared = [name for name in films if name in ours]
    if not shared:
        raise ValueError(
            f"nothing matches: {estimates} has {some_of(ours)}, {truth} has the films for tests {some_of(films)}; put "
            "the motions of film 0001 into a folder 0001"
        )
    bodies, found = Bodies(Body.load()), {}
    for number, name in enumerate(shared):
        people = [track for path in ours[name] for track in read_tracks(path, bodies)]
        found[name] = _nearest(people, films[name])
        progress("evaluate", number + 1, len(shared))
    return {
        "all": _scores(list(found.values())),
        "clips": {name: _scores([match]) | {"estimate": match.name} for name, match in found.items()},
        "missing": [name for name in films if name not in ours],
        "extra": [name for name in ours if name not in films],
        "notes": [],
    }


def _films(truth: Path) -> Mapping[str, PennClip]:
    films = [read_penn_action(path) for path in label_files(truth)]
    return {film.name: film for film in films if len(films) == 1 or not film.is_train}


@dataclass(frozen=True, eq=False)
class _Match:
    """An estimate, and a film, in the frames that both have."""

    name: str
    estimate: Float[Tensor, "shared 17 2"]
    """px."""
    truth: Float[Tensor, "shared 17 2"]
    seen: Bool[Tensor, "shared 17"]
    missing: int
    """Frames of the film without an estimate."""
    extra: int

    def distance(self, missing_px: float) -> float:
        """Mean px from what was seen, frames that are missing being that far off."""
        off = (self.estimate - self.truth).norm(dim=-1) * self.seen
        apart = off.sum(1) / self.seen.sum(1).clamp_min(1)
        return (float(apart.sum()) + missing_px * self.missing) / (len(apart) + self.missing)


def _nearest(people: Sequence[Track], film: PennClip) -> _Match:
    matches = [_match(person, film) for person in people]
    return min(matches, key=lambda match: match.distance(math.hypot(*film.image_size)))


def _match(person: Track, film: PennClip) -> _Match:
    if not person.has_camera:
        raise ValueError(f"{person.name}: its camera is not known; PCK needs a motion.npz")
    motion = person.motion
    motion = motion[(motion.frame_index >= 0) & (motion.frame_index < len(film))]
    pixels = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    return _Match(
        person.name,
        pixels[:, _COLUMNS],
        film.keypoints[motion.frame_index],
        film.seen[motion.frame_index],
        missing=len(film) - len(motion),
        extra=len(person.motion) - len(motion),
    )


def _scores(matches: Sequence[_Match]) -> dict[str, Any]:
    """`pck` over all keypoints that count, None where none does, and how many frames there are."""
    right = torch.cat([right_keypoints(m.estimate, m.truth, m.seen) for m in matches]).float()
    return {
        "pck": round(float(right.mean()), 4) if len(right) else None,
        "frames": sum(len(match.truth) for match in matches),
        "missing_frames": sum(match.missing for match in matches),
        "extra_frames": sum(match.extra for match in matches),
    }
