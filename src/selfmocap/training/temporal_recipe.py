"""Recipe of the temporal network: presets, training and validation data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import Recording
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.synthetic.backgrounds import load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motion_augmentation import augment_motions
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.synthetic.pose_variety import PoseVariety
from selfmocap.training.config import TemporalDataConfig, TemporalRunConfig, TemporalValidationConfig
from selfmocap.training.frame_data import NUM_AUGMENTED_MOTIONS, TRAINING_ERRORS, split_recordings
from selfmocap.training.lifting_clips import LiftingClips, refine_rendered_clips
from selfmocap.training.posed_people import sample_sequences
from selfmocap.training.refined_examples import RefinedExamples
from selfmocap.training.run_log import TrainingStatus
from selfmocap.training.temporal_data import (
    CLIPS_PER_SCENE,
    ClipBatch,
    ClipSource,
    KeypointRefinement,
    SyntheticClips,
    concat_clips,
)
from selfmocap.training.train_temporal import (
    TemporalTrainConfig,
    TemporalTrainingData,
    train_temporal_network,
)
from selfmocap.training.validate_temporal import filtered_scores, validation_scores
from selfmocap.training.video_tracks import TrackClips, load_tracks

TEMPORAL_PRESETS = {"compact": TemporalTrainConfig(), "paper": TemporalTrainConfig.paper()}
"""Presets by name; the reference of the command line describes them."""
_MAX_REAL_POSES = 20_000
"""Real poses for the discriminator."""
_NUM_EXAMPLE_SCENES, _NUM_SEQUENCES = 320, 4000
"""Scenes of rendered clips, and sequences of poses, in a training without rendering."""
_FIRST_VALIDATION_SEED = 900_000_000_000_000
_VALIDATION_SEED_STRIDE = 1009


def train_temporal_preset(
    out: Path, run: TemporalRunConfig, data: TemporalDataConfig, progress: ProgressCallback
) -> dict[str, float]:
    """Train the temporal network of a preset into the folder `out`; return its validation scores.

    Under torchrun the processes share the work. Raises ValueError or FileNotFoundError for wrong folders, subjects, or
    a run that cannot be resumed."""
    config = replace(TEMPORAL_PRESETS[run.preset], seed=run.seed)
    config = config if run.steps is None else replace(config, steps=run.steps)
    body, (frame, _) = Body.load(), load_network(run.weights)
    out.mkdir(parents=True, exist_ok=True)
    refinement = keypoint_refinement(frame, data.backgrounds)
    loaded = _load_data(data, config, refinement, body, out, run.resume, progress)
    scores: list[dict[str, float]] = [{}]

    def report(status: TrainingStatus) -> None:
        scores[0] = status.validation or scores[0]
        progress("train", status.step, status.steps)

    train_temporal_network(config, frame, loaded, body, out, run.workers, run.resume, progress=report)
    return scores[0]


def validate_temporal_weights(
    weights: Path | None, config: TemporalValidationConfig, progress: ProgressCallback
) -> dict[str, Any]:
    """Compute the scores of a temporal network's weights (default: the shipped ones) on synthetic clips.

    Beside them are the scores of its frame network, unfiltered and filtered. The people move like the held-out
    recordings and have detection errors; the clips are the same for every network."""
    (network, _), body = load_temporal(weights), Body.load()
    data = TemporalDataConfig(config.motions, config.backgrounds, config.held_out)
    motions = read_motions(data, 0, body, None, progress)
    refinement = keypoint_refinement(network.frame, config.backgrounds)
    clips = validation_clips(motions.validation, config.validation_clips, body, refinement=refinement)
    return {**validation_scores(network, body, clips), **filtered_scores(network, body, clips)}


@dataclass(frozen=True, eq=False)
class TemporalMotions:
    """Motions of the synthetic people of labelled, unlabelled and validation clips."""

    labelled: Sequence[MotionClip]
    unlabelled: Sequence[MotionClip]
    validation: Sequence[MotionClip]


def read_motions(
    data: TemporalDataConfig, augmented: int, body: Body, cache: Path | None, progress: ProgressCallback
) -> TemporalMotions:
    """Read the recordings of a configuration, and make about `augmented` more motions from those for training.

    Unlabelled recordings are set apart before that, so that no labelled motion is made from them. `cache` is a file
    that keeps the recordings. Errors as in `frame_data.split_recordings`."""
    if data.motions is None:
        unlabelled = procedural_motions(body, seed=2) if data.unlabelled_fraction else []
        return TemporalMotions(
            procedural_motions(body), unlabelled, procedural_motions(body, count=16, seed=1)
        )
    training, validation = split_recordings(body, data.motions, data.held_out, augmented > 0, cache, progress)
    fraction = data.unlabelled_fraction
    hidden = [int((i + 1) * fraction) > int(i * fraction) for i in range(len(training))]
    labelled, unlabelled = (
        [clip for clip, is_hidden in zip(training, hidden, strict=True) if is_hidden == wanted]
        for wanted in (False, True)
    )

    def convert(clips: Sequence[Recording]) -> list[MotionClip]:
        if not clips:
            return []
        more = augment_motions(clips, body, round(augmented * len(clips) / len(training)), seed=0)
        return [from_recording(clip, body) for clip in (*clips, *more)]

    return TemporalMotions(
        convert(labelled), convert(unlabelled), [from_recording(clip, body) for clip in validation]
    )


def keypoint_refinement(frame: FrameNetwork, backgrounds: Path | None) -> KeypointRefinement | None:
    """Build the refinement of keypoints for a temporal network over `frame`; None if `frame` has no corrector.

    `backgrounds` is a folder of images; None makes procedural ones."""
    if not frame.config.images:
        return None
    return KeypointRefinement(
        frame, load_backgrounds(backgrounds) if backgrounds else procedural_backgrounds()
    )


def _load_data(
    data: TemporalDataConfig, config: TemporalTrainConfig, refinement: KeypointRefinement | None, body: Body, out: Path,
    resume: bool, progress: ProgressCallback,
) -> TemporalTrainingData:  # fmt: skip
    motions = read_motions(data, NUM_AUGMENTED_MOTIONS, body, out / "motions.npz", progress)
    frames = config.network.frames
    make_clips = clip_maker(motions.labelled, body, frames, refinement, out, progress, resume)
    loaded = temporal_training_data(data, motions, make_clips)
    if data.unlabelled is not None:
        tracks = load_tracks(data.unlabelled, frames, data.unlabelled_share, out / "tracks", progress)
        unlabelled = TrackClips(tracks, frames, body.num_betas) if tracks.num_frames else loaded.labelled
        loaded = replace(loaded, unlabelled=unlabelled)
    if not motions.validation:
        return loaded
    clips = validation_clips(motions.validation, data.validation_clips, body, refinement=refinement)
    return replace(loaded, validation=clips)


ClipMaker = Callable[[Sequence[MotionClip], bool], ClipSource]
"""From motions, and whether the clips have their truth, to training clips."""


def clip_maker(
    motions: Sequence[MotionClip], body: Body, frames: int, refinement: KeypointRefinement | None, out: Path,
    progress: ProgressCallback, resume: bool = True,
) -> ClipMaker:  # fmt: skip
    """Return what makes training clips of `frames` frames for a temporal network.

    For a frame network with a corrector, clips of `motions` are rendered and refined once, into a file in the folder
    `out`, which `resume` takes where it is there. All clips get their errors."""
    rendered = SyntheticClips(motions, body, frames, TRAINING_ERRORS, variety=PoseVariety())
    if refinement is None:
        return lambda motions, labelled: replace(rendered, motions=motions, labelled=labelled, cache={})
    path = out / "examples.npz"
    if not (resume and path.is_file()):
        refine_rendered_clips(replace(rendered, refinement=refinement), _NUM_EXAMPLE_SCENES, progress).save(
            path
        )
    examples = RefinedExamples.load(path)

    def make(motions: Sequence[MotionClip], labelled: bool) -> ClipSource:
        poses = sample_sequences(motions, body, _NUM_SEQUENCES, frames, 0, progress)
        return LiftingClips(poses, examples, body, labelled)

    return make


def temporal_training_data(
    data: TemporalDataConfig, motions: TemporalMotions, make_clips: ClipMaker
) -> TemporalTrainingData:
    """Make labelled clips, and unlabelled ones of the unlabelled recordings, without validation clips."""
    labelled = make_clips(motions.labelled, True)
    clips = _spread_subset(motions.unlabelled, data.unlabelled_share)
    unlabelled = make_clips(clips, False) if clips else labelled
    return TemporalTrainingData(labelled, unlabelled, real_poses(motions.labelled))


def _spread_subset(rows: Sequence[Any], fraction: float) -> list[Any]:
    """Return a fraction of rows, evenly spread."""
    count = round(fraction * len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def real_poses(motions: Sequence[MotionClip]) -> Float[Tensor, "poses 24 3 3"]:
    """Return evenly spread poses of recordings, about 20000 at most."""
    every = max(1, sum(len(motion.p_world_root) for motion in motions) // _MAX_REAL_POSES)
    return torch.cat([motion.R_parent_joint[::every].float() for motion in motions])


def validation_clips(
    motions: Sequence[MotionClip], clips: int, body: Body, frames: int = 60, seed: int = 0,
    refinement: KeypointRefinement | None = None,
) -> ClipBatch:  # fmt: skip
    """Draw at least `clips` clips, the same for every run of the same seed."""
    source = SyntheticClips(motions, body, frames, KeypointErrors(), augment=False, refinement=refinement)
    first = _FIRST_VALIDATION_SEED + _VALIDATION_SEED_STRIDE * seed
    return concat_clips([source(first + number) for number in range(-(-clips // CLIPS_PER_SCENE))])
