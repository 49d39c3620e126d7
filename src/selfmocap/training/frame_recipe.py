"""The training run that a user asks for: which network, on which people, validated on whom."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.checkpoints import load_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.variety import Variety
from selfmocap.training.frame_data import (
    TRAINING_ERRORS,
    WIDENED,
    KeypointFrames,
    Material,
    PictureFrames,
    SyntheticFrames,
    gather,
    validation_batches,
)
from selfmocap.training.train_frame import PART, Pool, Sample, TrainConfig, train, validate

PRESETS = {
    "default": TrainConfig(
        NetworkConfig(trunk="none", rgb=False, corrector=True), steps=8_000, batch=128, learning_rate=1.5e-3
    ),
    "keypoints": TrainConfig(NetworkConfig(trunk="none", rgb=False), steps=40_000, batch=128),
    "residual": TrainConfig(),
    "paper": TrainConfig.paper(),
}
_SCENES_TOGETHER = 128
"""People whose pictures a worker sends at once: sending costs as much for few as for many."""


@dataclass(frozen=True)
class MaterialChoice:
    """What synthetic people are made of."""

    motions: Path | None = None
    """A folder of recordings (BVH, AMC, AMASS, 3DPW); procedural motion without it."""
    backgrounds: Path | None = None
    """A folder of pictures; procedural ones without it."""
    held_out: tuple[str, ...] = ()
    """Subjects of the recordings that are for validation only."""
    validation_frames: int = 2000
    """How many frames to validate on."""

    def gathered(self, body: Body, cache: Path | None, widen: int, progress: ProgressCallback) -> Material:
        """The recordings and pictures, read, and `widen` motions more."""
        return gather(body, self.motions, self.backgrounds, self.held_out, widen, cache, progress)


def train_frames(
    out: Path,
    preset: Literal["default", "keypoints", "residual", "paper"],
    steps: int | None,
    batch: int | None,
    material: MaterialChoice,
    begin: Path | None,
    resume: bool,
    workers: int,
    progress: ProgressCallback,
) -> dict[str, float]:
    """Trains a preset's network into `out` (see `train.train`) and gives the validation of its averaged weights.

    Shares the work where it is started by torchrun. Raises ValueError or FileNotFoundError naming what is wrong with
    the folders, the subjects or the run to resume."""
    wanted = {"steps": steps, "batch": batch}
    config = replace(PRESETS[preset], **{name: value for name, value in wanted.items() if value is not None})
    body = Body.load()
    out.mkdir(parents=True, exist_ok=True)
    found = material.gathered(body, out / "motions.npz", WIDENED, progress)
    sample = people(config.network, found, body)
    validation = validation_frames(found, body, bool(config.network.images), material.validation_frames)
    network = train(
        config, sample, body, out, workers, resume, load_network(begin)[0] if begin else None, validation,
        progress=lambda now: progress("train", now.step, now.steps),
    )  # fmt: skip
    return validate(network, body, validation) if validation else {}


def people(network: NetworkConfig, found: Material, body: Body) -> Sample | Pool:
    """Those that a network is trained on."""
    looks = SyntheticConfig(
        clips=PART, rgb=bool(network.images), variety=Variety(), corruption=CorruptionConfig(TRAINING_ERRORS)
    )
    if network.corrector:
        return PictureFrames(
            found.training, found.backgrounds, body, replace(looks, clips=_SCENES_TOGETHER, samples=1)
        )
    if network.trunk == "none":
        return KeypointFrames(found.training, body, looks)
    return SyntheticFrames(found.training, found.backgrounds, body, looks)


def validate_weights(
    weights: Path | None, material: MaterialChoice, progress: ProgressCallback
) -> dict[str, float]:
    """The errors (mm) of a network's weights, the shipped ones by default, on synthetic people who move like the
    recordings that are held out, seen through a corrupted detector; the same people for every network."""
    (network, _), body = load_network(weights), Body.load()
    if not material.held_out and material.motions is not None:
        raise ValueError("no subject is held out: name those that the network was not trained on")
    found = material.gathered(body, None, 0, progress)
    return validate(
        network, body, validation_frames(found, body, bool(network.config.images), material.validation_frames)
    )


def validation_frames(
    material: Material, body: Body, rgb: bool, frames: int
) -> list[tuple[FrameInputs, BodyParameters]]:
    if not material.validation:
        return []
    sample = SyntheticFrames(
        material.validation, material.backgrounds, body, SyntheticConfig(clips=PART, rgb=rgb)
    )
    return validation_batches(sample, frames)
