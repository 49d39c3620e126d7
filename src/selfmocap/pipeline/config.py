"""Settings of captures, adaptation, prediction and batches. This module does not import torch, since the command line
is built from it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfmocap.export.formats import DEFAULT_FORMATS, check_formats
from selfmocap.export.options import ExportOptions
from selfmocap.io.input_options import InputOptions
from selfmocap.io.lens_options import LensOptions, check_lens
from selfmocap.tracking.config import Quality

MIN_STATURE, MAX_STATURE = 0.5, 2.6
"""Metres."""
RESULT_KINDS = ("motion", "exports", "observations", "overlay", "observed", "report")
"""Kinds of files of a capture's result: motion.npz, the exports, observations.npz, overlay.mp4, observations.mp4 and
report.html."""

EPOCHS: dict[Quality, int] = {"fast": 0, "balanced": 80, "best": 240}
"""Epochs of adaptation."""
SAMPLE_FRAMES: dict[Quality, int] = {"fast": 600, "balanced": 1500, "best": 1500}
"""Frames, of all people together, on which the network is adapted and all models are selected. The time and memory of
these stages do not grow with a longer video."""


@dataclass(frozen=True)
class PostprocessConfig:
    """Settings of post-processing. Raises ValueError for an invalid value."""

    smoothing: float = 1.0
    """Strength of the smoothing, from 0 (none) to 1. Less is used where it would move the person off their
    keypoints."""
    ground: Literal["on", "off"] = "on"
    """Turn the world upright and put the person on the ground, if the camera is static. `off` leaves the world as the
    camera sees it, and feet unlocked."""
    feet: Literal["auto", "off"] = "auto"
    """Lock feet to the ground while they are in contact, as far as the person stays on their keypoints."""

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing <= 1:
            raise ValueError(f"smoothing: {self.smoothing}; expected 0 (none) to 1")
        if self.ground not in ("on", "off"):
            raise ValueError(f"ground: {self.ground!r}; expected on or off")
        if self.feet not in ("auto", "off"):
            raise ValueError(f"feet: {self.feet!r}; expected auto or off")


@dataclass(frozen=True)
class CaptureConfig:
    """Settings of a capture. Raises ValueError for an invalid value."""

    people: str = "all"
    """People to capture: `all`, `largest`, or a number, most visible first."""
    quality: Quality = "balanced"
    """`fast` uses faster detectors and does not adapt the network to the video; `best` uses more exact detectors than
    `balanced` and adapts the network three times as long."""
    focal: float | None = None
    """Focal length, px; None reads it from the file, estimates it, or assumes the usual one of such a video."""
    lens: LensOptions = field(default_factory=LensOptions)
    """Other descriptions of the lens."""
    network: Literal["frame", "temporal"] = "temporal"
    """Network to use: per-frame or temporal. The temporal network is more accurate where the detector errs."""
    weights: Path | None = None
    """Weights file of either kind of network; None uses the shipped weights."""
    height: float | str | None = None
    """Statures, metres, which set the scale: one value a person, in the order of their numbers, with commas between
    them: 1.7,1.0. People without a value are estimated."""
    static_camera: Literal["auto", "yes", "no"] = "auto"
    """Whether the camera is static. `auto` decides by the background. The path of a camera that moves is estimated from
    the background, which takes some time: `yes` avoids it."""
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    """Settings of post-processing."""
    formats: tuple[str, ...] = DEFAULT_FORMATS
    """Formats to export: bvh, glb, fbx, blend, usd, amass, smpl, csv, trc."""
    options: ExportOptions = field(default_factory=ExportOptions)
    """Options of the exported files."""
    overlay: Literal["none", "bodies", "all"] = "bodies"
    """Videos to draw: overlay.mp4 with the `bodies`, and with `all` also observations.mp4 with what was detected."""
    onto: Path | None = None
    """Rigged character (.glb, .gltf, .vrm, .fbx, .bvh) onto which people are retargeted, beside the other exports."""
    input: InputOptions = field(default_factory=InputOptions)
    """Options of reading the video."""

    def __post_init__(self) -> None:
        check_formats(self.formats)
        if self.quality not in EPOCHS:
            raise ValueError(f"quality: {self.quality!r}; expected {', '.join(EPOCHS)}")
        if self.overlay not in ("none", "bodies", "all"):
            raise ValueError(f"overlay: {self.overlay!r}; expected none, bodies or all")
        check_lens(self.focal, self.lens)
        for metres in self.statures:
            if not MIN_STATURE <= metres <= MAX_STATURE:
                raise ValueError(
                    f"a height of {metres} m; expected metres from {MIN_STATURE} to {MAX_STATURE}"
                )

    @property
    def statures(self) -> tuple[float, ...]:
        """The statures of `height`, metres. Raises ValueError for a text that is not numbers."""
        values = () if self.height is None else str(self.height).split(",")
        try:
            return tuple(map(float, values))
        except ValueError:
            raise ValueError(
                f"height: {self.height!r}; expected metres, one value a person, with commas between them: 1.7,1.0"
            ) from None

    def stature_of(self, person: int) -> float | None:
        """Return the stature of a person, from 1, metres; None without one."""
        return self.statures[person - 1] if person <= len(self.statures) else None

    def check_people(self, people: int) -> None:
        """Raise ValueError if there are more statures than people."""
        if len(self.statures) > people:
            raise ValueError(
                f"--height has {len(self.statures)} values ({self.height}), and {people} people are captured; "
                "give at most one value a person, in the order of their numbers in observations.mp4 (see --overlay all)"
            )

    @property
    def weights_file(self) -> Path:
        """The weights file to use."""
        from selfmocap.models.checkpoints import shipped_weights
        from selfmocap.models.temporal_inference import shipped_temporal_weights

        return self.weights or (shipped_weights() if self.network == "frame" else shipped_temporal_weights())


def recorded_settings(config: CaptureConfig) -> dict[str, str]:
    """Return the settings that the motion depends on; the weights are identified by their SHA-256 instead."""
    others = {"weights", "formats", "options", "overlay", "onto"}
    # Former versions had none of these.
    default = CaptureConfig()
    others |= {n for n in ("input", "lens", "postprocess") if getattr(config, n) == getattr(default, n)}
    return {name: str(value) for name, value in vars(config).items() if name not in others}


@dataclass(frozen=True)
class RefineConfig:
    """Settings of the refinement of another system's result. Raises ValueError for an invalid value."""

    quality: Quality = "balanced"
    """Detectors: `fast`, `balanced` or `best`, each more exact and slower."""
    focal: float | None = None
    """Focal length, px; None is the result's, or for a result without one the usual one of such a video."""
    height: float | str | None = None
    """Statures, metres, which set the scale: one value a person, with commas between them."""
    static_camera: Literal["auto", "yes", "no"] = "auto"
    """Whether the camera is static; `auto` decides by the background. The path of a camera that moves is the result's,
    or measured for a result without one."""
    formats: tuple[str, ...] = DEFAULT_FORMATS
    """Formats to export: bvh, glb, fbx, blend, usd, amass, smpl, csv, trc."""
    options: ExportOptions = field(default_factory=ExportOptions)
    """Options of the exported files. With an SMPL model, the result's shape is used too."""
    input: InputOptions = field(default_factory=InputOptions)
    """Options of reading the video."""

    def __post_init__(self) -> None:
        CaptureConfig(
            quality=self.quality, focal=self.focal, height=self.height, formats=self.formats
        )  # The same limits.


@dataclass(frozen=True)
class InferFolderConfig:
    """Settings of inference on a folder of observations."""

    focal: float | None = None
    """Focal length, px; None assumes the usual one of such a video."""
    weights: Path | None = None
    """Weights file of either kind of network; None uses the shipped frame network."""


@dataclass(frozen=True)
class AdaptFolderConfig:
    """Settings of the adaptation to a folder of observations."""

    focal: float | None = None
    """Focal length, px; None assumes the usual one of such a video."""
    init_from: Path | None = None
    """Weights file to start from; None uses the shipped frame network."""
    save_weights: Path | None = None
    """File for the adapted weights, to start from with the next videos."""


@dataclass(frozen=True)
class PredictConfig:
    """Settings of the prediction of past and future motion."""

    people: str = "all"
    """People to observe: `all`, `largest`, or a number, most visible first."""
    focal: float | None = None
    """Focal length, px; None reads it from the file, or assumes the usual one of such a picture or video."""
    weights: Path | None = None
    """Weights file of a temporal network; None uses the shipped weights."""
    formats: tuple[str, ...] = DEFAULT_FORMATS
    """Formats to export: bvh, glb, fbx, blend, usd, amass, smpl, csv, trc."""
    input: InputOptions = field(default_factory=InputOptions)
    """Options of reading the image or video."""

    def __post_init__(self) -> None:
        check_formats(self.formats)


@dataclass(frozen=True)
class BatchConfig:
    """Settings of a batch of captures."""

    address: str | None = None
    """Ray cluster, `auto` or `ray://host:port`; None uses this machine."""
    workers: int | None = None
    """Number of workers; None is one per GPU, or one per core without a GPU."""
    pseudo_labels: bool = False
    """Also write WebDataset shards of 2D tracks, masks and motions, for training."""
    retry: bool = False
    """Also retry videos that failed twice."""
    keep: str = ",".join(RESULT_KINDS)
    """Kinds of files to keep, with commas between them: motion,exports,observations,overlay,observed,report. What is
    not kept is not drawn. report.json is always kept."""
    scratch: Path | None = None
    """Folder of each machine for unfinished captures and downloads where --out is a bucket; None is the system's
    temporary folder."""

    @property
    def kept(self) -> frozenset[str]:
        """The kinds of files to keep."""
        return frozenset(self.keep.split(","))

    def __post_init__(self) -> None:
        if not self.kept <= set(RESULT_KINDS):
            raise ValueError(
                f"keep: {self.keep!r}; expected some of {','.join(RESULT_KINDS)}, with commas between them"
            )
        if self.pseudo_labels and not {"motion", "observations"} <= self.kept:
            raise ValueError(
                f"pseudo-labels need motion and observations, found --keep {self.keep}; keep both"
            )
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"{self.workers} workers; expected at least 1")
