"""The training run that a user asks for: which network, on which people, validated on whom."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lightning_fabric import Fabric

from selfmocap.body import Body
from selfmocap.network.config import NetworkConfig
from selfmocap.network.weights import load_network
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.train import PART, Progress, TrainConfig, train, validate
from selfmocap.training_data import SyntheticFrames, gather, validation_batches

PRESETS = {
    "default": TrainConfig(),
    "keypoints": TrainConfig(NetworkConfig(trunk="none", rgb=False), steps=12_000),
    "paper": TrainConfig.paper(),
}


def train_frames(
    out: Path,
    preset: Literal["default", "keypoints", "paper"],
    steps: int | None,
    motions: Path | None,
    backgrounds: Path | None,
    held_out: tuple[str, ...],
    begin: Path | None,
    resume: bool,
    workers: int,
    validation_frames: int,
    report: Callable[[str, int, int], None],
) -> dict[str, float]:
    """Trains a preset's network into `out` (see `train.train`) and gives the validation of its averaged weights.

    Shares the work where it is started by torchrun. Raises ValueError or FileNotFoundError naming what is wrong with
    the folders, the subjects or the run to resume."""
    config = PRESETS[preset] if steps is None else replace(PRESETS[preset], steps=steps)
    body = Body.load()
    material = gather(
        body, motions, backgrounds, held_out, None if motions is None else out / "motions.npz",
        lambda done, total, name: report("read motions", done, total),
    )  # fmt: skip
    people = SyntheticConfig(clips=PART, rgb=config.network.rgb)
    sample = SyntheticFrames(material.training, material.backgrounds, body, people)
    validation = (
        validation_batches(sample, material.validation, validation_frames) if material.validation else []
    )

    def progress(now: Progress) -> None:
        report("train", now.step, now.steps)

    network = train(
        config, sample, body, out, workers, resume, load_network(begin)[0] if begin else None, validation,
        report=progress, fabric=Fabric(accelerator="auto", devices="auto", num_nodes=1),
    )  # fmt: skip
    return validate(network, body, validation) if validation else {}
