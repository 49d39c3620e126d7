"""Settings of a capture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfmocap.export.options import ExportOptions
from selfmocap.export.write import check_formats
from selfmocap.models.checkpoints import shipped_weights
from selfmocap.models.temporal_inference import shipped_temporal_weights
from selfmocap.pipeline.postprocessing.scale import MAX_STATURE, MIN_STATURE

Quality = Literal["fast", "balanced", "best"]

EPOCHS: dict[Quality, int] = {"fast": 0, "balanced": 80, "best": 240}
"""Epochs of adaptation."""
SAMPLE_FRAMES: dict[Quality, int] = {"fast": 600, "balanced": 1500, "best": 1500}
"""Frames, of all people together, on which the network is adapted and all models are selected. The time and memory of
these stages do not grow with a longer video."""


@dataclass(frozen=True)
class CaptureConfig:
    """Settings of a capture. Raises ValueError for an invalid value."""

    people: str = "all"
    """`all`, `largest`, or a number of people."""
    quality: Quality = "balanced"
    """`fast` does not adapt the network's weights."""
    focal: float | None = None
    """Focal length, px; None assumes 1.2 times the longer side of the image."""
    network: Literal["frame", "temporal"] = "temporal"
    """Network to use: per-frame or temporal. The temporal network is more accurate where the detector errs."""
    weights: Path | None = None
    """Weights file of either kind of network; None uses those that come with the project."""
    height: float | None = None
    """The person's stature, metres, which sets the scale."""
    static_camera: Literal["auto", "yes", "no"] = "auto"
    """Whether the camera is static. Ground alignment and foot locking need a static camera. `auto` measures the motion
    of the background."""
    export: tuple[str, ...] = ("bvh", "glb")
    """Formats of `export.write`."""
    options: ExportOptions = field(default_factory=ExportOptions)
    """Options of the exported files."""

    def __post_init__(self) -> None:
        check_formats(self.export)
        if self.quality not in EPOCHS:
            raise ValueError(f"quality: {self.quality!r}; expected {', '.join(EPOCHS)}")
        if self.focal is not None and not 10 <= self.focal <= 1e6:
            raise ValueError(f"a focal length of {self.focal} px; expected 10 to 1000000")
        if self.height is not None and not MIN_STATURE <= self.height <= MAX_STATURE:
            raise ValueError(
                f"a height of {self.height} m; expected metres from {MIN_STATURE} to {MAX_STATURE}"
            )

    @property
    def weights_file(self) -> Path:
        """The weights file to use."""
        return self.weights or (shipped_weights() if self.network == "frame" else shipped_temporal_weights())
