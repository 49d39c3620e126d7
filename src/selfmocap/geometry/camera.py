"""The full-perspective camera, square crops of its image, and metric translation from a crop.

Frames: world is y up; camera is OpenCV (x right, y down, z forward); metres. Pixels: the centre of the top left
pixel is (0, 0), so an image of width w reaches from -0.5 to w - 0.5.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

NEAREST_DEPTH = 0.05
"""Metres. A nearer point, or one behind the camera, is projected at this depth: its pixel is finite, with a gradient
for x and y and none for depth."""

CROP_SIZE = 128
"""Side of the crop that is the network's input, px (Tung et al. 2017)."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera, or one per frame (leading batch axes broadcast)."""

    focal: Float[Tensor, "*#batch 2"]
    """Focal lengths along x and y, px."""
    center: Float[Tensor, "*#batch 2"]
    """Principal point, px."""
    R_cam_world: Float[Tensor, "*#batch 3 3"]
    """Rotation from world to camera."""
    t_cam_world: Float[Tensor, "*#batch 3"]
    """Origin of the world in the camera frame, metres."""

    @classmethod
    def looking_along_z(cls, focal: float, width: int, height: int) -> "Camera":
        """Create an upright camera at the origin of the world that looks along the world's -z.

        In the image +x points right and +y up; the principal point is the middle of the image."""
        return cls(
            focal=torch.tensor([focal, focal]),
            center=torch.tensor([(width - 1) / 2, (height - 1) / 2]),
            R_cam_world=torch.diag(torch.tensor([1.0, -1.0, -1.0])),
            t_cam_world=torch.zeros(3),
        )

    def to(self, *args: Any) -> "Camera":
        """Return the camera on another device or in another floating type."""
        return Camera(*(getattr(self, name).to(*args) for name in self.__dataclass_fields__))

    @property
    def p_world_cam(self) -> Float[Tensor, "*batch 3"]:
        """Position of the camera in the world, metres."""
        return -(self.R_cam_world.mT @ self.t_cam_world[..., None]).squeeze(-1)

    def to_camera(self, p_world: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
        """Transform world points to the camera frame, metres."""
        return p_world @ self.R_cam_world.mT + self.t_cam_world.unsqueeze(-2)

    def to_world(self, p_cam: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
        """Transform camera points to the world frame, metres."""
        return (p_cam - self.t_cam_world.unsqueeze(-2)) @ self.R_cam_world

    def project(self, p_world: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 2"]:
        """Project world points to pixels (Tung et al. 2017, Eq. 3, as full perspective)."""
        return project(self.to_camera(p_world), self.focal, self.center)

    def crop(self, box: Float[Tensor, "*#batch 3"], size: int = CROP_SIZE) -> "Camera":
        """Return the camera whose image is a square window resized to `size` pixels a side.

        `box` is the window: centre x, centre y, half side; px."""
        scale = size / (2 * box[..., 2:])
        return replace(
            self, focal=self.focal * scale, center=to_crop(self.center.unsqueeze(-2), box, size).squeeze(-2)
        )


def project(
    p_cam: Float[Tensor, "*batch n 3"], focal: Float[Tensor, "*#batch 2"], center: Float[Tensor, "*#batch 2"]
) -> Float[Tensor, "*batch n 2"]:
    """Project camera points to pixels; finite everywhere (see NEAREST_DEPTH)."""
    depth = p_cam[..., 2:]
    in_front = depth > NEAREST_DEPTH
    return focal.unsqueeze(-2) * p_cam[..., :2] / torch.where(
        in_front, depth, NEAREST_DEPTH
    ) + center.unsqueeze(-2)


def unproject(
    pixels: Float[Tensor, "*batch n 2"],
    depth: Float[Tensor, "*batch n"],
    focal: Float[Tensor, "*#batch 2"],
    center: Float[Tensor, "*#batch 2"],
) -> Float[Tensor, "*batch n 3"]:
    """Compute camera points from pixels and depths in metres: the inverse of `project` in front of the camera."""
    depth = depth.unsqueeze(-1)
    return torch.cat([(pixels - center.unsqueeze(-2)) / focal.unsqueeze(-2) * depth, depth], dim=-1)


def to_crop(
    pixels: Float[Tensor, "*#batch n 2"], box: Float[Tensor, "*#batch 3"], size: int = CROP_SIZE
) -> Float[Tensor, "*batch n 2"]:
    """Convert image pixels to pixels of the crop `box` (centre x, centre y, half side; px), resized to `size`."""
    scale = size / (2 * box[..., None, 2:])
    return (pixels - box[..., None, :2]) * scale + (size - 1) / 2


def from_crop(
    pixels: Float[Tensor, "*#batch n 2"], box: Float[Tensor, "*#batch 3"], size: int = CROP_SIZE
) -> Float[Tensor, "*batch n 2"]:
    """Convert crop pixels to image pixels: the inverse of `to_crop`."""
    scale = size / (2 * box[..., None, 2:])
    return (pixels - (size - 1) / 2) / scale + box[..., None, :2]


def translation_from_crop(
    crop_camera: Float[Tensor, "*batch 3"],
    box: Float[Tensor, "*#batch 3"],
    focal: Float[Tensor, "*#batch 2"],
    center: Float[Tensor, "*#batch 2"],
) -> Float[Tensor, "*batch 3"]:
    """Compute the position of the pelvis in the camera frame, metres, from the crop camera.

    `crop_camera` is (u, v, log m): the offset of the pelvis from the crop's centre in half crop sides, and the natural
    logarithm of the half crop's length in metres at the depth of the pelvis. It replaces the paper's scale and (Tx, Ty)
    and, unlike them, is independent of the focal length."""
    half = box[..., 2:]
    depth = crop_camera[..., 2:].exp() * focal.mean(-1, keepdim=True) / half
    pixels = crop_camera[..., :2] * half + box[..., :2]
    return torch.cat([(pixels - center) / focal * depth, depth], dim=-1)


def translation_to_crop(
    p_cam: Float[Tensor, "*batch 3"],
    box: Float[Tensor, "*#batch 3"],
    focal: Float[Tensor, "*#batch 2"],
    center: Float[Tensor, "*#batch 2"],
) -> Float[Tensor, "*batch 3"]:
    """Compute the crop camera of a pelvis in front of the camera: the inverse of `translation_from_crop`."""
    half = box[..., 2:]
    pixels = project(p_cam.unsqueeze(-2), focal, center).squeeze(-2)
    depth = p_cam[..., 2:].clamp_min(NEAREST_DEPTH)
    return torch.cat(
        [(pixels - box[..., :2]) / half, (depth * half / focal.mean(-1, keepdim=True)).log()], dim=-1
    )
