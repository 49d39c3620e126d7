"""Score the projection of motions where no 3D truth exists: PCK against the labels of Penn Action."""

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
from selfmocap.datasets.penn_action import (
    PENN_ACTION_KEYPOINTS,
    PennActionClip,
    penn_action_label_files,
    read_penn_action,
)
from selfmocap.evaluation.evaluate import (
    SCORES_VERSION,
    BodyModels,
    ScoredMotion,
    evaluate,
    files_by_clip,
    first_names,
    read_scored_motions,
)
from selfmocap.geometry.camera import project
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.losses.metrics import correct_keypoints

_COLUMNS = [DEFAULT_KEYPOINTS.index(name) for name in PENN_ACTION_KEYPOINTS.names]


def evaluate_any(
    estimates: Path, truth: Path, smpl_model: Path | None, progress: ProgressCallback
) -> dict[str, Any]:
    """Call `evaluate_keypoints` if the truth is Penn Action's, else `evaluate`."""
    if penn_action_label_files(truth):
        return evaluate_keypoints(estimates, truth, progress)
    return evaluate(estimates, truth, smpl_model, progress)


def evaluate_keypoints(
    estimates: Path, truth: Path, progress: ProgressCallback = no_progress
) -> dict[str, Any]:
    """Compute `pck` (see `metrics.correct_keypoints`) of each test clip of Penn Action and of `all` frames together, in
    the form of `evaluate`.

    The path of a clip's estimate is its number. Of several people, the one nearest to the labels counts. Raises
    FileNotFoundError or ValueError if nothing matches."""
    files, clips = files_by_clip(estimates), _test_clips(truth)
    if len(files) == len(clips) == 1:
        files = dict(zip(clips, files.values(), strict=True))
    shared = [name for name in clips if name in files]
    if not shared:
        raise ValueError(
            f"nothing matches: {estimates} has {first_names(files)}, {truth} has the test clips {first_names(clips)}; "
            "put the motions of clip 0001 into a folder 0001"
        )
    bodies, matches = BodyModels(Body.load()), {}
    for number, name in enumerate(shared):
        people = [person for path in files[name] for person in read_scored_motions(path, bodies)]
        matches[name] = _nearest_person(people, clips[name])
        progress("evaluate", number + 1, len(shared))
    return {
        "version": SCORES_VERSION,
        "all": _scores(list(matches.values())),
        "clips": {name: _scores([match]) | {"estimate": match.name} for name, match in matches.items()},
        "missing": [name for name in clips if name not in files],
        "extra": [name for name in files if name not in clips],
        "notes": [],
    }


def _test_clips(truth: Path) -> Mapping[str, PennActionClip]:
    """Read the test clips of a folder by name, or one clip of any kind."""
    clips = [read_penn_action(path) for path in penn_action_label_files(truth)]
    return {clip.name: clip for clip in clips if len(clips) == 1 or not clip.is_train}


@dataclass(frozen=True, eq=False)
class _Match:
    """An estimate and the labels of a clip, in the frames that both have."""

    name: str
    estimate: Float[Tensor, "shared 17 2"]
    """px."""
    truth: Float[Tensor, "shared 17 2"]
    """px."""
    visible: Bool[Tensor, "shared 17"]
    missing: int
    """Frames of the clip without an estimate."""
    extra: int

    def distance(self, missing_px: float) -> float:
        """Compute the mean distance of visible keypoints, px; a missing frame counts `missing_px`."""
        errors = (self.estimate - self.truth).norm(dim=-1) * self.visible
        by_frame = errors.sum(1) / self.visible.sum(1).clamp_min(1)
        return (float(by_frame.sum()) + missing_px * self.missing) / (len(by_frame) + self.missing)


def _nearest_person(people: Sequence[ScoredMotion], clip: PennActionClip) -> _Match:
    matches = [_match(person, clip) for person in people]
    return min(matches, key=lambda match: match.distance(math.hypot(*clip.image_size)))


def _match(person: ScoredMotion, clip: PennActionClip) -> _Match:
    if not person.has_camera:
        raise ValueError(f"{person.name}: its file has no camera; expected a motion.npz for PCK")
    motion = person.motion
    motion = motion[(motion.frame_index >= 0) & (motion.frame_index < len(clip))]
    pixels = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    return _Match(
        person.name,
        pixels[:, _COLUMNS],
        clip.keypoints[motion.frame_index],
        clip.visible[motion.frame_index],
        missing=len(clip) - len(motion),
        extra=len(person.motion) - len(motion),
    )


def _scores(matches: Sequence[_Match]) -> dict[str, Any]:
    """Compute `pck` over all keypoints that count (None if there are none), and count frames."""
    correct = torch.cat([correct_keypoints(m.estimate, m.truth, m.visible) for m in matches]).float()
    return {
        "pck": round(float(correct.mean()), 4) if len(correct) else None,
        "frames": sum(len(match.truth) for match in matches),
        "missing_frames": sum(match.missing for match in matches),
        "extra_frames": sum(match.extra for match in matches),
    }
