"""What a body in motion looks like to its camera: the same evidence that `Observations` holds, without a detector."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Projection:
    """One person through frames, in pixels of a 128 x 128 crop: the square window that belongs to each frame."""

    keypoint_set: str
    """Name of the keypoint set."""
    keypoints: Float[Tensor, "*batch time keypoints 2"]
    """px of the crop."""
    vertices: Float[Tensor, "*batch time vertices 2"]
    """px of the crop; finite for vertices that are not visible, too."""
    visible: Bool[Tensor, "*batch time vertices"]
    """Which vertices the camera sees, inside the crop or out of it; a constant of differentiation."""
    flow: Float[Tensor, "*batch time vertices 2"]
    """Motion of each vertex to the next frame, crop px, both frames cut by THIS frame's window; 0 without a next."""
    has_next: Bool[Tensor, "*batch time"]
    """Whether the next frame of the video follows."""
