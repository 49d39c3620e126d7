"""Recipe of the frame network: presets, training and validation data."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.checkpoints import load_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.pose_variety import PoseVariety
from selfmocap.training.config import FrameDataConfig, FrameRunConfig
from selfmocap.training.frame_data import (
    NUM_AUGMENTED_MOTIONS,
    TRAINING_ERRORS,
    FrameTrainingData,
    KeypointFrames,
    PooledFrames,
    SyntheticFrames,
    load_training_data,
    validation_batches,
)
from selfmocap.training.lifting_data import LiftingFrames
from selfmocap.training.posed_people import sample_sequences
from selfmocap.training.refined_examples import RefinedExamples, refine_examples
from selfmocap.training.surreal_frames import SurrealFrames, load_surreal_frames
from selfmocap.training.train_frame import (
    MICRO_BATCH_FRAMES,
    FrameBatch,
    FrameSource,
    FrameStream,
    FrameTrainConfig,
    train_frame_network,
    validate_frame_network,
)

FRAME_PRESETS = {
    "default": FrameTrainConfig(
        NetworkConfig(trunk="none", rgb=False, corrector=True), steps=8_000, batch=128, learning_rate=1.5e-3
    ),
    "lifting": FrameTrainConfig(
        NetworkConfig(trunk="none", rgb=False, corrector=True), steps=20_000, batch=512, learning_rate=5e-4
    ),
    "keypoints": FrameTrainConfig(NetworkConfig(trunk="none", rgb=False), steps=40_000, batch=128),
    "residual": FrameTrainConfig(),
    "paper": FrameTrainConfig.paper(),
}
"""Presets by name; the reference of the command line describes them."""
_SCENES_PER_PART = 128
"""Scenes with images that a worker sends at once; the cost of sending hardly depends on their number."""
_NUM_LIFTING_MOTIONS, _NUM_POSES, _NUM_EXAMPLE_PARTS, _EXAMPLES_SEED = 500, 100_000, 160, 1
"""Augmented motions, poses and parts of rendered people in a training without rendering."""


def train_frame_preset(
    out: Path, run: FrameRunConfig, data: FrameDataConfig, progress: ProgressCallback
) -> dict[str, float]:
    """Train the network of a preset into the folder `out`; return the validation scores of its averaged weights.

    Under torchrun the processes share the work. Raises ValueError or FileNotFoundError for wrong folders, subjects, or
    a run that cannot be resumed."""
    overrides = {"steps": run.steps, "batch": run.batch}
    config = replace(
        FRAME_PRESETS[run.preset], **{name: value for name, value in overrides.items() if value is not None}
    )
    initial, body = load_network(run.init_from)[0] if run.init_from else None, Body.load()
    corrector = _corrector(config.network, initial) if run.preset == "lifting" else None
    out.mkdir(parents=True, exist_ok=True)
    posed = None
    if data.surreal is not None:
        source, validation = _surreal_data(run, config, data, body, progress)
    else:
        augmented = _NUM_LIFTING_MOTIONS if corrector else NUM_AUGMENTED_MOTIONS
        loaded = _load_data(data, body, out / "motions.npz", augmented, progress)
        source = frame_source(config.network, loaded, body)
        validation = validation_frames(loaded, body, bool(config.network.images), data.validation_frames)
    if corrector:
        source = _lifting_frames(source, corrector, out / "examples.npz", run.resume, progress)
        with torch.no_grad():
            validation = [(x.with_refined(corrector.refine_keypoints(x)), truth) for x, truth in validation]
        posed = body.keypoint_proxy(config.network.keypoint_set)
    network = train_frame_network(
        config, source, body, out, run.workers, run.resume, initial, validation, posed,
        progress=lambda status: progress("train", status.step, status.steps),
    )  # fmt: skip
    return validate_frame_network(network, body, validation) if validation else {}


def _corrector(config: NetworkConfig, initial: FrameNetwork | None) -> FrameNetwork:
    if initial is None or initial.config != config:
        raise ValueError(
            "the preset lifting trains on the refined keypoints of another network: name a weights file of the preset "
            f"default as --init-from, found {'none' if initial is None else 'one of another configuration'}"
        )
    return initial


def _lifting_frames(
    rendered: FrameSource | FrameStream,
    corrector: FrameNetwork,
    path: Path,
    resume: bool,
    progress: ProgressCallback,
) -> LiftingFrames:
    """Draw the poses to train on, and render and refine examples into the file `path`; a resumed run has them."""
    assert isinstance(rendered, PooledFrames)
    if not (resume and path.is_file()):
        frames = rendered.distinct(_NUM_EXAMPLE_PARTS, _EXAMPLES_SEED)
        counted = _counted(frames, "refine examples", _NUM_EXAMPLE_PARTS, progress)
        refine_examples(corrector, counted).save(path)
    poses = sample_sequences(rendered.motions, rendered.body, _NUM_POSES, 1, 0, progress)
    return LiftingFrames(poses, RefinedExamples.load(path), rendered.body, rendered.config)


def _counted(
    frames: Iterable[FrameBatch], task: str, total: int, progress: ProgressCallback
) -> Iterator[FrameBatch]:
    for number, batch in enumerate(frames):
        progress(task, number, total)
        yield batch


def _surreal_data(
    run: FrameRunConfig,
    config: FrameTrainConfig,
    data: FrameDataConfig,
    body: Body,
    progress: ProgressCallback,
) -> tuple[FrameSource, list[FrameBatch]]:
    """Read training and validation frames of SURREAL. The paper's network gets exact keypoints as in the paper, the
    others get detection errors."""
    assert data.surreal is not None
    if run.preset == "lifting":
        raise ValueError("the preset lifting draws its own people; give --surreal with another preset")
    errors = None if config.losses == "paper" else TRAINING_ERRORS
    table = load_surreal_frames(data.surreal, "train", data.surreal_frames, config.network, body, progress)
    has_validation = any((data.surreal / part / "val").is_dir() for part in ("", "cmu"))
    validation = (
        load_surreal_frames(
            data.surreal, "val", data.validation_frames, config.network, body, progress
        ).batches()
        if has_validation
        else []
    )
    return SurrealFrames(table, errors), validation


def _load_data(
    config: FrameDataConfig, body: Body, cache: Path | None, augmented: int, progress: ProgressCallback
) -> FrameTrainingData:
    return load_training_data(
        body, config.motions, config.backgrounds, config.held_out, augmented, cache, progress
    )


def frame_source(network: NetworkConfig, data: FrameTrainingData, body: Body) -> FrameSource | FrameStream:
    """Build the source of training frames for a kind of network."""
    config = SyntheticConfig(
        clips=MICRO_BATCH_FRAMES,
        rgb=bool(network.images),
        variety=PoseVariety(),
        corruption=CorruptionConfig(TRAINING_ERRORS),
    )
    if network.corrector:
        config = replace(config, clips=_SCENES_PER_PART, samples=1)
        return PooledFrames(data.training, data.backgrounds, body, config)
    if network.trunk == "none":
        return KeypointFrames(data.training, body, config)
    return SyntheticFrames(data.training, data.backgrounds, body, config)


def validate_frame_weights(
    weights: Path | None, data: FrameDataConfig, progress: ProgressCallback
) -> dict[str, float]:
    """Compute the errors (mm) of a frame network's weights (default: the shipped ones) on synthetic people.

    They move like the held-out recordings and have detection errors; they are the same for every network. Those of
    SURREAL have exact keypoints; their truth is the default body that fits SURREAL's joints."""
    (network, _), body = load_network(weights), Body.load()
    if data.surreal is not None:
        count = data.validation_frames
        table = load_surreal_frames(data.surreal, "test", count, network.config, body, progress)
        return validate_frame_network(network, body, table.batches())
    if not data.held_out and data.motions is not None:
        raise ValueError("no held-out subjects: name the subjects that the network was not trained on")
    loaded = _load_data(data, body, None, 0, progress)
    frames = validation_frames(loaded, body, bool(network.config.images), data.validation_frames)
    return validate_frame_network(network, body, frames)


def validation_frames(
    data: FrameTrainingData, body: Body, rgb: bool, frames: int
) -> list[tuple[FrameInputs, BodyParameters]]:
    """Draw at least `frames` frames of people who move like the validation recordings; none without recordings."""
    if not data.validation:
        return []
    source = SyntheticFrames(
        data.validation, data.backgrounds, body, SyntheticConfig(clips=MICRO_BATCH_FRAMES, rgb=rgb)
    )
    return validation_batches(source, frames)
