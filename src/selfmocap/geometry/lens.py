"""The lens of a real camera: intrinsics with distortion, and the way between its pixels and those of a pinhole camera.

Everything behind the tracking is a pinhole camera. Observations are undistorted when they are loaded, and bodies are
distorted when they are drawn over the video.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.geometry.camera import NEAREST_DEPTH, Camera, project, unproject

_NEWTON_STEPS = 20
_TOLERANCE, _DIFFERENCE = 1e-9, 1e-5
_MAX_ERROR = 1e-4
"""Largest error, in focal lengths, of a position that was undistorted."""
_MAX_RADIUS = 20.0
"""Focal lengths; an undistorted position farther out is more than 87 degrees from the axis."""


@dataclass(frozen=True)
class Lens:
    """The intrinsics of a camera, with radial and tangential distortion or a fisheye's."""

    size: tuple[int, int]
    """Width and height of the image, px."""
    focal: tuple[float, float]
    """Focal lengths along x and y, px."""
    center: tuple[float, float]
    """Principal point, px; (0, 0) is the centre of the top left pixel."""
    distortion: tuple[float, ...] = ()
    """`brown`: k1, k2, p1, p2, k3, k4, k5, k6 (OpenCV's order; missing ones are 0). `fisheye`: k1, k2, k3, k4."""
    model: Literal["brown", "fisheye"] = "brown"
    """OpenCV's models: Brown-Conrady with a rational radial part, or Kannala-Brandt's equidistant fisheye."""

    @classmethod
    def pinhole(cls, focal: float, size: tuple[int, int]) -> "Lens":
        """Return a lens without distortion whose principal point is the middle of the image; `focal` is in px."""
        return cls(size, (focal, focal), ((size[0] - 1) / 2, (size[1] - 1) / 2))

    @property
    def is_distorted(self) -> bool:
        """True if straight lines are not straight in the image."""
        return self.model == "fisheye" or any(self.distortion)

    @cached_property
    def max_radius(self) -> float:
        """Radius, in focal lengths, at which the radial distortion turns back; 20 if it does not before."""
        radius = torch.linspace(0, _MAX_RADIUS, 20_001, dtype=torch.float64)
        bent = replace(self, distortion=self._radial)._bend(torch.stack([radius, 0 * radius], dim=-1))[:, 0]
        turned = bent.diff() <= 0
        return float(radius[int(turned.int().argmax())]) if bool(turned.any()) else _MAX_RADIUS

    @property
    def _radial(self) -> tuple[float, ...]:
        """The distortion without its tangential part."""
        return (
            self.distortion
            if self.model == "fisheye"
            else (*self.distortion[:2], 0.0, 0.0, *self.distortion[4:])
        )

    def camera(self) -> Camera:
        """Return the pinhole camera of the undistorted image, at the origin of the world; it looks along -z."""
        camera = Camera.looking_along_z(self.focal[0], *self.size)
        return replace(camera, focal=torch.tensor(self.focal), center=torch.tensor(self.center))

    def scaled(self, size: tuple[int, int]) -> "Lens":
        """Return the lens for the same image, resized to `size`."""
        x, y = size[0] / self.size[0], size[1] / self.size[1]
        center = ((self.center[0] + 0.5) * x - 0.5, (self.center[1] + 0.5) * y - 0.5)
        return replace(self, size=size, focal=(self.focal[0] * x, self.focal[1] * y), center=center)

    def distort(self, pixels: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Convert undistorted pixels to pixels of the lens; beyond `max_radius` they stay at its edge."""
        focal, center = self._intrinsics(pixels)
        position = (pixels - center) / focal
        radius = position.norm(dim=-1, keepdim=True)
        return self._bend(position * (self.max_radius / radius.clamp_min(self.max_radius))) * focal + center

    def undistort(self, pixels: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Convert pixels of the lens to undistorted ones, by Newton's method: the inverse of `distort`.

        NaN where there is none: beyond the radius at which the polynomial of the distortion turns back."""
        focal, center = self._intrinsics(pixels)
        target = ((pixels - center) / focal).double()
        position = self._first_guess(target)
        for _ in range(_NEWTON_STEPS):
            error = self._bend(position) - target
            if not (error.abs() > _TOLERANCE).any():
                break
            position = position - self._newton_step(position, error)
        reached = (self._bend(position) - target).norm(dim=-1, keepdim=True) < _MAX_ERROR
        valid = reached & (position.norm(dim=-1, keepdim=True) < self.max_radius)
        return torch.where(valid, position.to(pixels) * focal + center, torch.nan)

    def distort_points(self, p_cam: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
        """Move points of the camera frame (metres) to where the pinhole `camera` projects them to the lens' pixels."""
        focal, center = self._intrinsics(p_cam)
        pixels = self.distort(project(p_cam, focal, center))
        return unproject(pixels, p_cam[..., 2].clamp_min(NEAREST_DEPTH), focal, center)

    def _intrinsics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.focal), like.new_tensor(self.center)

    def _first_guess(self, target: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        if self.model == "brown":
            return target
        angle = target.norm(dim=-1, keepdim=True).clamp(1e-9, 1.5)
        return target / angle * angle.tan()

    def _bend(self, position: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Apply the distortion to positions in focal lengths from the principal point."""
        square = position.square().sum(-1, keepdim=True)
        if self.model == "fisheye":
            k = (*self.distortion, 0.0, 0.0, 0.0, 0.0)
            radius = square.clamp_min(1e-18).sqrt()
            angle = radius.atan()
            turn = angle * (1 + sum(k[i] * angle ** (2 * i + 2) for i in range(4)))
            return position * torch.where(square > 1e-18, turn / radius, 1.0)
        k1, k2, p1, p2, k3, k4, k5, k6 = (*self.distortion, *[0.0] * 8)[:8]
        radial = (1 + square * (k1 + square * (k2 + square * k3))) / (
            1 + square * (k4 + square * (k5 + square * k6))
        )
        x, y = position.split(1, dim=-1)
        tangential = torch.cat(
            [2 * p1 * x * y + p2 * (square + 2 * x * x), p1 * (square + 2 * y * y) + 2 * p2 * x * y], dim=-1
        )
        return position * radial + tangential

    def _newton_step(
        self, position: Float[Tensor, "*batch 2"], error: Float[Tensor, "*batch 2"]
    ) -> Float[Tensor, "*batch 2"]:
        """Solve for the step that removes the error, with a Jacobian by central differences."""
        x, y = position.new_tensor([_DIFFERENCE, 0.0]), position.new_tensor([0.0, _DIFFERENCE])
        a, c = ((self._bend(position + x) - self._bend(position - x)) / (2 * _DIFFERENCE)).unbind(-1)
        b, d = ((self._bend(position + y) - self._bend(position - y)) / (2 * _DIFFERENCE)).unbind(-1)
        det = a * d - b * c
        det = torch.where(det.abs() > _TOLERANCE, det, 1.0)
        ex, ey = error.unbind(-1)
        return torch.stack([(d * ex - b * ey) / det, (a * ey - c * ex) / det], dim=-1)
