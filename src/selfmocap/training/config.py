"""Settings of trainings and validations. This module does not import torch, since the command line is built from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class FrameDataConfig:
    """Synthetic people that a frame network is trained and validated on."""

    motions: Path | None = None
    """Folder of recordings (BVH, AMC, AMASS, 3DPW); None uses procedural motion."""
    backgrounds: Path | None = None
    """Folder of background images; None uses procedural ones."""
    held_out: tuple[str, ...] = ()
    """Subjects of the recordings that are used for validation only."""
    validation_frames: int = 2000
    """Number of validation frames."""
    surreal: Path | None = None
    """SURREAL as unpacked (`SURREAL/data`), instead of synthetic people: `train` learns from its split `train` and
    validates on `val`, `validate` takes `test`. In a folder without splits all clips are of each."""
    surreal_frames: int = 10_000
    """Frames of SURREAL to learn from, spread over its clips; the paper's release has as many pairs."""

    def __post_init__(self) -> None:
        if self.surreal is not None and (self.motions is not None or self.backgrounds is not None):
            raise ValueError(
                "people come from SURREAL or are synthetic: give --surreal, or --motions and --backgrounds"
            )
        if self.surreal_frames < 1:
            raise ValueError(f"{self.surreal_frames} frames of SURREAL; expected at least 1")


@dataclass(frozen=True)
class FrameRunConfig:
    """Training run of a frame network."""

    preset: Literal["default", "lifting", "keypoints", "residual", "paper"] = "default"
    """Network and schedule. `default` refines keypoints and estimates their depths from the image. `lifting` trains on
    what `init_from` does so, without drawing images: that part stays, and the rest learns. `keypoints` is the network
    without the image, to start from. `residual` has convolutions over image and heatmaps. `paper` is that of the
    paper."""
    steps: int | None = None
    """Number of steps; None is the preset's."""
    batch: int | None = None
    """Frames per step, a multiple of 32; None is the preset's. A large GPU needs about 2000."""
    init_from: Path | None = None
    """Weights file to start from: of a `keypoints` network, or of one with the same configuration."""
    resume: bool = False
    """Resume the run in the output folder."""
    workers: int = 1
    """Processes that make synthetic people."""


@dataclass(frozen=True)
class TemporalValidationConfig:
    """Clips that a temporal network is validated on."""

    motions: Path | None = None
    """Folder of recordings (BVH, AMC, AMASS, 3DPW); None uses procedural motion."""
    backgrounds: Path | None = None
    """Folder of background images for a frame network with a corrector; None uses procedural ones."""
    held_out: tuple[str, ...] = ()
    """Subjects of the recordings that are used for validation only."""
    validation_clips: int = 32
    """Number of validation clips of 60 frames."""


@dataclass(frozen=True)
class TemporalDataConfig(TemporalValidationConfig):
    """Clips that a temporal network is trained and validated on."""

    unlabelled_fraction: float = 0.0
    """Fraction of the training recordings used as unlabelled video (2D keypoints only)."""
    unlabelled: Path | None = None
    """Real videos as unlabelled video: shards of pseudo-labels (a folder, a glob or a file), a folder with
    observations.npz, or Penn Action."""
    unlabelled_share: float = 1.0
    """Fraction of the unlabelled video that is used."""

    def __post_init__(self) -> None:
        if not (0 <= self.unlabelled_fraction < 1 and 0 <= self.unlabelled_share <= 1):
            raise ValueError(
                f"unlabelled fraction {self.unlabelled_fraction}, unlabelled share {self.unlabelled_share}: expected "
                f"fractions in [0, 1) and [0, 1]"
            )
        if self.unlabelled_fraction and self.unlabelled:
            raise ValueError(
                "unlabelled video is either a fraction of the recordings or real videos: give one of them"
            )


@dataclass(frozen=True)
class TemporalRunConfig:
    """Training run of a temporal network."""

    preset: Literal["compact", "paper"] = "compact"
    """Network and schedule: `compact` for two cores, or the paper's."""
    steps: int | None = None
    """Number of steps; None is the preset's."""
    weights: Path | None = None
    """Weights file of the frame network to build on, one on keypoints; None uses the shipped weights."""
    seed: int = 0
    """Random seed."""
    resume: bool = False
    """Resume the run in the output folder."""
    workers: int = 1
    """Processes that make synthetic people."""
