"""What to capture, and how well."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfmocap.export.options import ExportOptions
from selfmocap.export.write import check_formats
from selfmocap.models.checkpoints import shipped_weights
from selfmocap.models.temporal_inference import shipped_temporal_weights
from selfmocap.pipeline.postprocessing.scale import SHORTEST, TALLEST

Quality = Literal["fast", "balanced", "best"]

EPOCHS: dict[Quality, int] = {"fast": 0, "balanced": 80, "best": 240}
"""Of adaptation."""
SAMPLE: dict[Quality, int] = {"fast": 600, "balanced": 1500, "best": 1500}
"""Frames, of all people together, on which the network is adapted and all choices are made; a longer video has no
more of them, so that neither time nor memory of it grows."""


@dataclass(frozen=True)
class CaptureConfig:
    """What to capture, and how well. A ValueError for what cannot be."""

    people: str = "all"
    """`all`, `largest`, or a number of people."""
    quality: Quality = "balanced"
    """`fast` does not adapt the network's weights."""
    focal: float | None = None
    """Focal length, px; None assumes 1.2 times the longer side of the image."""
    network: Literal["frame", "temporal"] = "temporal"
    """Whether each frame is understood by itself, or in time, which is nearer to the truth where a detector errs."""
    weights: Path | None = None
    """Weights of either kind of network, instead of those that come with the project."""
    height: float | None = None
    """The person's stature, metres, which sets the scale."""
    static_camera: Literal["auto", "yes", "no"] = "auto"
    """Whether the camera stands still: only then is there a ground, on which feet are held. `auto` looks whether the
    background moves."""
    export: tuple[str, ...] = ("bvh", "glb")
    """Formats of `export.write`."""
    options: ExportOptions = field(default_factory=ExportOptions)
    """How exported files are to look."""

    def __post_init__(self) -> None:
        check_formats(self.export)
        if self.quality not in EPOCHS:
            raise ValueError(f"quality: {self.quality!r}; expected {', '.join(EPOCHS)}")
        if self.focal is not None and not 10 <= self.focal <= 1e6:
            raise ValueError(f"a focal length of {self.focal} px; expected 10 to 1000000")
        if self.height is not None and not SHORTEST <= self.height <= TALLEST:
            raise ValueError(f"a height of {self.height} m; expected metres from {SHORTEST} to {TALLEST}")

    @property
    def weights_file(self) -> Path:
        """Where the weights lie that are meant."""
        return self.weights or (shipped_weights() if self.network == "frame" else shipped_temporal_weights())
