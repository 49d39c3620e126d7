"""Settings of the papers' experiments."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

PaperExperiment = Literal["table1", "table2", "figure3", "experience", "hmmr"]

DEFAULT_CLIPS, DEFAULT_FRAMES = 24, 31


@dataclass(frozen=True)
class BenchmarkConfig:
    """Test clips of an experiment."""

    clips: int | None = None
    """Number of clips; None is 24, and 64 for `hmmr`, which takes all of the papers' data."""
    frames: int | None = None
    """Frames per clip; None is 31, and 60 for `hmmr`."""
    seed: int = 0
    """Seed of the clips."""
    motions: Path | None = None
    """Folder of recordings (BVH, AMC, AMASS, 3DPW) that the network was not trained on; None uses procedural motion."""
    backgrounds: Path | None = None
    """Folder of images; None uses procedural ones. `hmmr` draws images only for a network that uses them."""
    held_out: tuple[str, ...] = ()
    """Subjects of the recordings to test on; empty takes all. `hmmr --train` learns from the others."""

    def __post_init__(self) -> None:
        if self.num_clips < 1 or self.num_frames < 3:
            raise ValueError(
                f"{self.num_clips} clips of {self.num_frames} frames; expected at least 1 clip of 3 frames"
            )

    @property
    def num_clips(self) -> int:
        """Number of clips, with the default of the experiments on single frames."""
        return DEFAULT_CLIPS if self.clips is None else self.clips

    @property
    def num_frames(self) -> int:
        """Frames per clip, with the default of the experiments on single frames."""
        return DEFAULT_FRAMES if self.frames is None else self.frames

    def as_json(self) -> dict[str, Any]:
        """Return JSON data for a record, with the names of folders instead of their paths."""
        folders = {
            name: path and Path(path).name
            for name, path in (("motions", self.motions), ("backgrounds", self.backgrounds))
        }
        sizes = {"clips": self.num_clips, "frames": self.num_frames}
        return asdict(self) | sizes | folders | {"held_out": list(self.held_out)}


@dataclass(frozen=True)
class OwnDataConfig:
    """The papers' data, from your own copies, instead of synthetic people."""

    surreal: Path | None = None
    """For `table1`: SURREAL as unpacked (`SURREAL/data`)."""
    surreal_list: Path | None = None
    """Text file with names of clips of SURREAL, one a line (`run1_104_21_c0004.mp4`): the middle frame of each is
    scored, as of the 493 of the literature. None takes `--clips` of the test split, in all their frames."""
    human36m: Path | None = None
    """For `table2` and `hmmr`: folder of Human3.6M with S9 and S11, as .cdf, .h5 or `data_3d_h36m.npz`, its
    metadata.xml and, for images, S9/Videos."""
    threedpw: Path | None = None
    """For `hmmr`: folder of 3DPW with sequenceFiles and, for images, imageFiles."""
    penn: Path | None = None
    """For `hmmr`: folder of Penn Action with labels and, for images, frames."""
    smpl_model: Path | None = None
    """Your own SMPL file, or a folder with one per gender: for surfaces of SURREAL and joints of 3DPW."""

    def folders(self) -> dict[str, Path]:
        """Return the data that are given, by option."""
        return {name: path for name, path in vars(self).items() if path is not None}


@dataclass(frozen=True)
class HmmrTrainingConfig:
    """Trainings of the rows of `hmmr` that no shipped weights exist for: the default network, trained briefly."""

    seeds: int = 3
    """Trainings per row."""
    steps: int = 400
    """Steps per training."""
    learning_rate: float = 2e-3
    """Learning rate at the start."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"{self.seeds} seeds; expected at least 1")
