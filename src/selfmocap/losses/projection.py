"""Record of a projected body in motion: the same quantities as `Observations`."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Projection:
    """Projection of one person over time, in px of the 128 x 128 crop of each frame."""

    keypoint_set: str
    """Name of the keypoint set."""
    keypoints: Float[Tensor, "*batch time keypoints 2"]
    """px of the crop."""
    vertices: Float[Tensor, "*batch time vertices 2"]
    """px of the crop; finite also for hidden vertices."""
    visible: Bool[Tensor, "*batch time vertices"]
    """Visibility of each vertex, inside and outside of the crop; without gradient."""
    flow: Float[Tensor, "*batch time vertices 2"]
    """Motion of each vertex to the next frame, px; both frames are cropped by THIS frame's box. 0 without a next."""
    has_next: Bool[Tensor, "*batch time"]
    """Whether the next row is the next frame of the video."""
