"""Orientations of pictures: quarter turns and mirroring, as display matrices and users give them."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8


@dataclass(frozen=True)
class Orientation:
    """A quarter turn, and a mirroring after it: one of the eight symmetries of a rectangle."""

    quarter_turns: int = 0
    """Counter-clockwise, 0 to 3."""
    mirrored: bool = False
    """True if left and right are exchanged after the turn."""

    @classmethod
    def from_display_matrix(cls, matrix: Int32[np.ndarray, "3 3"]) -> "Orientation":
        """Return the orientation nearest to a display matrix of FFmpeg (ISO 14496-12, 8.3.2: rows a b u, c d v, x y w;
        16.16 fixed point), which moves a pixel at (x, y) to (a x + c y, b x + d y), y down."""
        (a, b), (c, d) = matrix[:2, :2].astype(float).tolist()
        mirrored = a * d - b * c < 0
        angle = math.atan2(-b, -a if mirrored else a)
        return cls(round(angle / (math.pi / 2)) % 4, mirrored)

    def then(self, clockwise_deg: int, mirror: bool) -> "Orientation":
        """Return this orientation, followed by a clockwise turn of a multiple of 90 degrees and a mirroring."""
        turns = clockwise_deg // 90 if self.mirrored else -clockwise_deg // 90
        return Orientation((self.quarter_turns + turns) % 4, self.mirrored != mirror)

    def apply(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height2 width2 3"]:
        """Turn and mirror an image."""
        turned = np.rot90(image, self.quarter_turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the turned image."""
        return (height, width) if self.quarter_turns % 2 else (width, height)
