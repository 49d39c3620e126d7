"""Recipe of the frame network: presets, training and validation data."""

from dataclasses import replace
from pathlib import Path

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.checkpoints import load_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs
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
from selfmocap.training.train_frame import (
    MICRO_BATCH_FRAMES,
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
    "keypoints": FrameTrainConfig(NetworkConfig(trunk="none", rgb=False), steps=40_000, batch=128),
    "residual": FrameTrainConfig(),
    "paper": FrameTrainConfig.paper(),
}
"""Presets by name; the reference of the command line describes them."""
_SCENES_PER_PART = 128
"""Scenes with images that a worker sends at once; the cost of sending hardly depends on their number."""


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
    body = Body.load()
    out.mkdir(parents=True, exist_ok=True)
    loaded = _load_data(data, body, out / "motions.npz", NUM_AUGMENTED_MOTIONS, progress)
    source = frame_source(config.network, loaded, body)
    validation = validation_frames(loaded, body, bool(config.network.images), data.validation_frames)
    initial = load_network(run.init_from)[0] if run.init_from else None
    network = train_frame_network(
        config, source, body, out, run.workers, run.resume, initial, validation,
        progress=lambda status: progress("train", status.step, status.steps),
    )  # fmt: skip
    return validate_frame_network(network, body, validation) if validation else {}


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

    They move like the held-out recordings and have detection errors; they are the same for every network."""
    (network, _), body = load_network(weights), Body.load()
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
