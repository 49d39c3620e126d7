"""Options of exported files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfmocap.export.names import Naming
from selfmocap.export.rig_options import RigOptions

UpAxis = Literal["y", "z"]
Unit = Literal["m", "cm", "mm"]

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""Metres per unit."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of all formats.

    Axes and unit apply to `bvh`, `usd`, `csv` and `trc`. By definition `glb` is y up in metres and `amass` z up in
    metres; `smpl` is y up in metres like the motion, `fbx` y up in centimetres, `blend` z up in metres."""

    names: Naming = "smpl"
    """Joint names of csv, trc and SMPL's skeleton: SMPL's or Mixamo's. `skeleton` gives bones their axes, too."""
    up_axis: UpAxis = "y"
    """Vertical axis. With z up, x stays and y points away from the camera; axes are right-handed."""
    unit: Unit | None = None
    """Unit of length; None is the default of the format: cm in `bvh`, mm in `trc`, else m."""
    fps: float | None = None
    """Frame rate to resample to, frames a second; None keeps the video's."""
    rig: RigOptions = field(default_factory=RigOptions)
    """Options of skeletons."""
    smpl_model: Path | None = None
    """The user's SMPL, SMPL-H or SMPL-X file, to which `smpl` and `amass` are fitted."""

    def __post_init__(self) -> None:
        if self.fps is not None and not 1 <= self.fps <= 1000:
            raise ValueError(f"fps: expected 1 to 1000 frames a second, found {self.fps}")
