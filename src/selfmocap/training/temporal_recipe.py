"""The training of a temporal network that a user asks for: over which frame network, on which clips, validated on
whom."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import MotionClip as Recording
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.synthetic.backgrounds import load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.synthetic.poses import widened
from selfmocap.synthetic.variety import Variety
from selfmocap.training.frame_data import TRAINING_ERRORS, WIDENED, recordings
from selfmocap.training.temporal_data import (
    CLIPS,
    Clips,
    ClipSource,
    Looking,
    SyntheticClips,
    TrackClips,
    together,
    tracks_at,
)
from selfmocap.training.train_temporal import Lessons, TemporalTrainConfig, train_temporal
from selfmocap.training.validate_temporal import filtered_scores, validation_scores

PRESETS = {"compact": TemporalTrainConfig(), "paper": TemporalTrainConfig.paper()}
_POSES = 20_000
"""Real poses for the discriminator."""
_PICTURED_SCENES = 4001
"""Scenes whose pictures are kept: some 4 GB."""
_VALIDATION_SEED = 900_000_000_000_000
_SEEDS_APART = 1009


@dataclass(frozen=True)
class ClipChoice:
    """What clips are made of."""

    motions: Path | None = None
    """A folder of recordings (BVH, AMC, AMASS, 3DPW); procedural motion without it."""
    backgrounds: Path | None = None
    """A folder of pictures, for a frame network that looks for keypoints; procedural ones without it."""
    held_out: tuple[str, ...] = ()
    """Subjects of the recordings that are for validation only."""
    untold: float = 0.0
    """Share of the training recordings whose truth is withheld: they are the unlabelled video, with other looks,
    cameras and errors."""
    unlabelled: Path | None = None
    """Real videos instead: shards of pseudo-labels (a folder of them, a glob, or one), or a folder with
    observations.npz, or Penn Action's."""
    unlabelled_share: float = 1.0
    """How much of the unlabelled video is used."""
    validation_clips: int = 32
    """Clips of 60 frames."""

    def __post_init__(self) -> None:
        if not (0 <= self.untold < 1 and 0 <= self.unlabelled_share <= 1):
            raise ValueError(
                f"untold {self.untold}, unlabelled-share {self.unlabelled_share}: expected shares in [0, 1), [0, 1]"
            )
        if self.untold and self.unlabelled:
            raise ValueError(
                "unlabelled video is either recordings that are untold or real videos: give one of them"
            )


def train_clips(
    out: Path,
    preset: Literal["compact", "paper"],
    steps: int | None,
    choice: ClipChoice,
    weights: Path | None,
    seed: int,
    resume: bool,
    workers: int,
    progress: ProgressCallback,
) -> dict[str, float]:
    """Trains a preset's temporal network over the frame network of some weights (the shipped one by default) into `out`
    (see `train_temporal.train_temporal`) and gives its validation.

    Shares the work where it is started by torchrun. Raises ValueError or FileNotFoundError naming what is wrong with
    the folders, the subjects or the run to resume."""
    config = replace(PRESETS[preset], seed=seed)
    config = config if steps is None else replace(config, steps=steps)
    body, (frame, _) = Body.load(), load_network(weights)
    out.mkdir(parents=True, exist_ok=True)
    lessons = _lessons(choice, config, looking_of(frame, choice.backgrounds), body, out, progress)
    last: list[dict[str, float]] = [{}]

    def told(now: Any) -> None:
        last[0] = now.validation or last[0]
        progress("train", now.step, now.steps)

    train_temporal(config, frame, lessons, body, out, workers, resume, progress=told)
    return last[0]


def validate_temporal(weights: Path | None, choice: ClipChoice, progress: ProgressCallback) -> dict[str, Any]:
    """The scores of a temporal network's weights (the shipped ones by default) beside those of its frame network, plain
    and filtered, on clips of people who move like the recordings that are held out, seen through a corrupted
    detector; the same clips for every network."""
    (network, _), body = load_temporal(weights), Body.load()
    motions = read_motions(choice, 0, body, None, progress)
    looking = looking_of(network.frame, choice.backgrounds)
    clips = validation_clips(motions.validation, choice.validation_clips, body, looking=looking)
    return {**validation_scores(network, body, clips), **filtered_scores(network, body, clips)}


@dataclass(frozen=True, eq=False)
class Motions:
    """What people move like."""

    told: Sequence[MotionClip]
    untold: Sequence[MotionClip]
    validation: Sequence[MotionClip]


def read_motions(
    choice: ClipChoice, widen: int, body: Body, cache: Path | None, progress: ProgressCallback
) -> Motions:
    """The recordings of a choice, with about `widen` motions more that are made of those that are not held out; kept in
    the file `cache`. Untold recordings are parted from the others before that: nothing of them is told. Raises what
    `training_data.recordings` raises."""
    if choice.motions is None:
        untold = procedural_motions(body, seed=2) if choice.untold else []
        return Motions(procedural_motions(body), untold, procedural_motions(body, count=16, seed=1))
    known, validation = recordings(
        body,
        choice.motions,
        choice.held_out,
        cache,
        progress,
    )
    hidden = [int((i + 1) * choice.untold) > int(i * choice.untold) for i in range(len(known))]
    told, untold = (
        [clip for clip, is_hidden in zip(known, hidden, strict=True) if is_hidden == wanted]
        for wanted in (False, True)
    )

    def moving(clips: Sequence[Recording]) -> list[MotionClip]:
        more = widened(clips, body, round(widen * len(clips) / len(known)), seed=0) if clips else []
        return [from_recording(clip, body) for clip in (*clips, *more)]

    return Motions(moving(told), moving(untold), [from_recording(clip, body) for clip in validation])


def looking_of(frame: FrameNetwork, backgrounds: Path | None) -> Looking | None:
    """How the keypoints are corrected that a temporal network over `frame` sees, people being drawn before pictures of
    a folder, or procedural ones; None where `frame` does not look for keypoints."""
    if not frame.config.images:
        return None
    return Looking(frame, load_backgrounds(backgrounds) if backgrounds else procedural_backgrounds())


def _lessons(
    choice: ClipChoice, config: TemporalTrainConfig, looking: Looking | None, body: Body, out: Path,
    progress: ProgressCallback,
) -> Lessons:  # fmt: skip
    motions, frames = (
        read_motions(choice, WIDENED, body, out / "motions.npz", progress),
        config.network.frames,
    )
    labelled = SyntheticClips(motions.told, body, frames, TRAINING_ERRORS, variety=Variety(), looking=looking)
    if looking is not None:
        labelled = replace(labelled, scenes=_PICTURED_SCENES)
    lessons = lessons_of(choice, motions, labelled)
    if choice.unlabelled is not None:
        tracks = tracks_at(choice.unlabelled, frames, choice.unlabelled_share, out / "tracks", progress)
        seen = TrackClips(tracks, frames, body.num_betas) if tracks.frames else labelled
        lessons = replace(lessons, unlabelled=seen)
    if not motions.validation:
        return lessons
    clips = validation_clips(motions.validation, choice.validation_clips, body, looking=looking)
    return replace(lessons, validation=clips)


def lessons_of(choice: ClipChoice, motions: Motions, labelled: SyntheticClips) -> Lessons:
    """What is learned from `labelled` clips and from the untold recordings of a choice, without validation."""
    unlabelled: ClipSource = labelled
    if untold := _share_of(motions.untold, choice.unlabelled_share):
        unlabelled = replace(labelled, motions=untold, truth=False, kept={})
    return Lessons(labelled, unlabelled, real_poses(motions.told))


def _share_of(rows: Sequence[Any], share: float) -> list[Any]:
    """Evenly spread rows."""
    count = round(share * len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def real_poses(motions: Sequence[MotionClip]) -> Float[Tensor, "poses 24 3 3"]:
    """Poses of recordings, at most some 20000, evenly spread."""
    every = max(1, sum(len(motion.p_world_root) for motion in motions) // _POSES)
    return torch.cat([motion.R_parent_joint[::every].float() for motion in motions])


def validation_clips(
    motions: Sequence[MotionClip], clips: int, body: Body, frames: int = 60, seed: int = 0,
    looking: Looking | None = None,
) -> Clips:  # fmt: skip
    """At least so many clips, the same for every run of the same seed."""
    sample = SyntheticClips(motions, body, frames, KeypointErrors(), wander=False, looking=looking)
    first = _VALIDATION_SEED + _SEEDS_APART * seed
    return together([sample(first + number) for number in range(-(-clips // CLIPS))])
