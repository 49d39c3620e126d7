"""Settings of synthetic clips on disk. This module does not import torch, since the command line is built from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MAX_CLIP_FRAMES = 600

Layout = Literal["selfmocap", "surreal", "human36m", "3dpw", "penn"]
CameraMove = Literal["static", "hand-held", "pan", "walk", "circle"]


@dataclass(frozen=True)
class SynthesizeConfig:
    """Settings of synthetic clips."""

    clips: int = 8
    """Number of clips."""
    frames: int = 60
    """Frames per clip, at 30 frames a second (50 in the layout of Human3.6M)."""
    seed: int = 0
    """Seed of the clips."""
    motions: Path | None = None
    """Folder of recordings (BVH, AMC, AMASS, 3DPW); None uses procedural motion."""
    backgrounds: Path | None = None
    """Folder of images; None uses procedural ones."""
    room: CameraMove | None = None
    """Film the person in a room, with a camera that moves so; None films before an image."""
    layout: Layout = "selfmocap"
    """Layout of the files: of this project, or of SURREAL, Human3.6M, 3DPW or Penn Action, for their readers."""
    workers: int = 1
    """Processes that make clips; 1 makes them in the main process. The clips do not depend on it."""

    def __post_init__(self) -> None:
        if self.clips < 1 or not 1 <= self.frames <= MAX_CLIP_FRAMES:
            raise ValueError(
                f"{self.clips} clips of {self.frames} frames; expected at least one, of 1 to {MAX_CLIP_FRAMES} frames"
            )
        if self.room and self.layout != "selfmocap":
            raise ValueError(
                f"expected no room in the layout {self.layout}, found {self.room}; leave out one of them"
            )
