"""How exported files are to look."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from selfmocap.export.names import Naming

UpAxis = Literal["y", "z"]
Unit = Literal["m", "cm", "mm"]

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Metres a unit."""


@dataclass(frozen=True)
class ExportOptions:
    """What all formats have in common. Axes and unit are for `bvh`, `usd`, `csv` and `trc`: `glb` is y up in metres,
    `amass` z up in metres, by their definitions, and `smpl` y up in metres as the motion itself."""

    names: Naming = "smpl"
    """Whose names the joints get."""
    up_axis: UpAxis = "y"
    """The vertical; z up is right-handed, with y away from whoever looks at the camera's picture."""
    unit: Unit | None = None
    """Of length; None is the format's custom: cm in `bvh`, mm in `trc`, else m."""
    fps: float | None = None
    """Frames a second to resample to; None keeps the video's."""
    smpl_model: Path | None = None
    """The user's own SMPL, SMPL-H or SMPL-X file, to which `smpl` and `amass` are fitted."""

    def __post_init__(self) -> None:
        if self.fps is not None and not 1 <= self.fps <= 1000:
            raise ValueError(f"fps is {self.fps}; expected 1 to 1000 frames a second")
