"""The animation of a character."""

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class CharacterAnimation:
    """Rotations of a character's nodes over time; nodes that are not named keep their rest pose."""

    times: Float[ndarray, " time"]
    """s, on the video's clock."""
    fps: float
    """Nominal rate of the frames, frames a second."""
    rotations: dict[int, Float[ndarray, "time 4"]]
    """By node: unit quaternions (x, y, z, w) in the frame of its parent, each in the hemisphere of the one before."""
    root: int
    """The node that carries the person's place."""
    root_positions: Float[ndarray, "time 3"]
    """In the frame of its parent."""
