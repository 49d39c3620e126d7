"""Square windows of an image, perhaps turned, and what is seen through them."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class Window:
    """A square of the image, perhaps turned."""

    x: float
    """Centre, px."""
    y: float
    side: float
    """px."""
    angle: float = 0.0
    """Radians by which it is turned from the image's x axis towards its y axis (clockwise as seen)."""

    def matrix(self, size: int) -> Float[np.ndarray, "2 3"]:
        """Takes image px to px of the window resized to `size` px a side."""
        scale = size / self.side
        cosine, sine = scale * math.cos(self.angle), scale * math.sin(self.angle)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        shift = (size - 1) / 2 - turn @ np.array([self.x, self.y])
        return np.concatenate([turn, shift[:, None]], axis=1)

    def to_image(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Image px of points given as fractions of the window (0 and 1 are its edges)."""
        cosine, sine = self.side * math.cos(self.angle), self.side * math.sin(self.angle)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        return (points - 0.5) @ turn.T + np.array([self.x, self.y])

    def nearness(self, other: "Window") -> float:
        """Distance of the centres in mean sides, plus the logarithm of the ratio of the sides: 0 is the same."""
        distance = math.hypot(self.x - other.x, self.y - other.y) / (self.side + other.side) * 2
        return distance + abs(math.log(self.side / other.side)) / 2


def cut(
    image: UInt8[np.ndarray, "height width 3"], window: Window, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """The window of the image, resized; black outside the image."""
    import cv2

    if window.side > 2 * size:
        half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return cut(
            half, Window(window.x / 2 - 0.25, window.y / 2 - 0.25, window.side / 2, window.angle), size
        )
    return cv2.warpAffine(image, window.matrix(size), (size, size), flags=cv2.INTER_LINEAR)
