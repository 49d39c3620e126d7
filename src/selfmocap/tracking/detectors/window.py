"""Square windows of an image, possibly rotated, and the crops that they cut."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

RgbImage = UInt8[np.ndarray, "height width 3"]
"""An image, RGB, in [0, 255]."""


@dataclass(frozen=True)
class Window:
    """A square window of an image, possibly rotated."""

    x: float
    """Centre, px."""
    y: float
    side: float
    """px."""
    angle: float = 0.0
    """Rotation from the image's x axis towards its y axis (clockwise on the screen), radians."""

    def matrix(self, size: int) -> Float[np.ndarray, "2 3"]:
        """Compute the affine matrix from image px to px of the window resized to `size` px a side."""
        scale = size / self.side
        cosine, sine = scale * math.cos(self.angle), scale * math.sin(self.angle)
        linear = np.array([[cosine, sine], [-sine, cosine]])
        shift = (size - 1) / 2 - linear @ np.array([self.x, self.y])
        return np.concatenate([linear, shift[:, None]], axis=1)

    def to_image(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Convert points from fractions of the window (0 and 1 are its edges) to image px."""
        cosine, sine = self.side * math.cos(self.angle), self.side * math.sin(self.angle)
        linear = np.array([[cosine, -sine], [sine, cosine]])
        return (points - 0.5) @ linear.T + np.array([self.x, self.y])

    def distance(self, other: "Window") -> float:
        """Compute the distance of the centres in mean sides, plus half the absolute log ratio of the sides.

        Equal windows have distance 0; rotations are ignored."""
        distance = math.hypot(self.x - other.x, self.y - other.y) / (self.side + other.side) * 2
        return distance + abs(math.log(self.side / other.side)) / 2


def turned_window(points: Float[np.ndarray, "n 2"], angle: float, scale: float, min_side: float) -> Window:
    """Compute the window of a given rotation around points, `scale` times the longer side of their box."""
    axes = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned = points @ axes.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    x, y = (low + high) / 2 @ axes
    return Window(float(x), float(y), max(scale * float((high - low).max()), min_side), angle)


def crop_window(image: RgbImage, window: Window, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Cut a window out of an image and resize it to `size` px a side; black outside the image.

    The image is halved first while the window is larger than twice the result, against aliasing."""
    import cv2

    if window.side > 2 * size:
        half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return crop_window(
            half, Window(window.x / 2 - 0.25, window.y / 2 - 0.25, window.side / 2, window.angle), size
        )
    return cv2.warpAffine(image, window.matrix(size), (size, size), flags=cv2.INTER_LINEAR)


def box_overlap(box: Float[np.ndarray, " 4"], boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Compute the intersection over union of one box with others; boxes are left, top, right, bottom."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.clip(high - low, 0, None).prod(axis=-1)
    area, areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)
    return both / np.maximum(area + areas - both, 1e-12)
