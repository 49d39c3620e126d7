"""The full-perspective camera, the square crop of it that a network sees, and metric translation from a crop.

Frames: world is y up; camera is OpenCV (x right, y down, z forward); metres. Pixels: the centre of the top left
pixel is (0, 0), so an image of width w reaches from -0.5 to w - 0.5.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

NEAREST_DEPTH = 0.05
"""Metres. A point nearer than this, or behind the camera, is projected as if it were this far away: its pixel is
finite, and pulls on x and y but not on depth."""

CROP_SIZE = 128
"""Pixels a side of the crop that the network sees (Tung et al. 2017)."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera, or one a frame (leading batch axes broadcast)."""

    focal: Float[Tensor, "*#batch 2"]
    """Focal lengths along x and y, px."""
    center: Float[Tensor, "*#batch 2"]
    """Principal point, px."""
    R_cam_world: Float[Tensor, "*#batch 3 3"]
    """Rotation from world to camera."""
    t_cam_world: Float[Tensor, "*#batch 3"]
    """The world's origin in the camera frame, metres."""

    @classmethod
    def looking_along_z(cls, focal: float, width: int, height: int) -> "Camera":
        """An upright camera at the world's origin that looks along the world's -z (so that +x is to the right and
        +y is up in the image), with its principal point in the middle of the image."""
        return cls(
            focal=torch.tensor([focal, focal]),
            center=torch.tensor([(width - 1) / 2, (height - 1) / 2]),
            R_cam_world=torch.diag(torch.tensor([1.0, -1.0, -1.0])),
            t_cam_world=torch.zeros(3),
        )

    def to(self, *args: Any) -> "Camera":
        """The same camera on another device or in another floating type."""
        return Camera(*(getattr(self, name).to(*args) for name in self.__dataclass_fields__))

    @property
    def p_world_cam(self) -> Float[Tensor, "*batch 3"]:
        """Where it is in the world, metres."""
        return -(self.R_cam_world.mT @ self.t_cam_world[..., None]).squeeze(-1)

    def to_camera(self, p_world: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
        """World points in the camera frame, metres."""
        return p_world @ self.R_cam_world.mT + self.t_cam_world.unsqueeze(-2)

    def to_world(self, p_cam: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 3"]:
        """Camera points in the world frame, metres."""
        return (p_cam - self.t_cam_world.unsqueeze(-2)) @ self.R_cam_world

    def project(self, p_world: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 2"]:
        """Pixels of world points (Tung et al. 2017, Eq. 3, as full perspective)."""
        return project(self.to_camera(p_world), self.focal, self.center)

    def crop(self, box: Float[Tensor, "*#batch 3"], size: int = CROP_SIZE) -> "Camera":
        """The camera whose image is the square window `box` (centre x, centre y, half side; px) resized to `size`
        pixels a side."""
        scale = size / (2 * box[..., 2:])
        return replace(
            self, focal=self.focal * scale, center=to_crop(self.center.unsqueeze(-2), box, size).squeeze(-2)
        )


def project(
    p_cam: Float[Tensor, "*batch n 3"], focal: Float[Tensor, "*#batch 2"], center: Float[Tensor, "*#batch 2"]
) -> Float[Tensor, "*batch n 2"]:
    """Pixels of camera points; finite everywhere (see NEAREST_DEPTH)."""
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
    """Camera points from pixels and depth in metres: the inverse of `project` in front of the camera."""
    depth = depth.unsqueeze(-1)
    return torch.cat([(pixels - center.unsqueeze(-2)) / focal.unsqueeze(-2) * depth, depth], dim=-1)


def to_crop(
    pixels: Float[Tensor, "*#batch n 2"], box: Float[Tensor, "*#batch 3"], size: int = CROP_SIZE
) -> Float[Tensor, "*batch n 2"]:
    """Image pixels as pixels of the crop that `box` (centre x, centre y, half side) cuts, resized to `size`."""
    scale = size / (2 * box[..., None, 2:])
    return (pixels - box[..., None, :2]) * scale + (size - 1) / 2


def from_crop(
    pixels: Float[Tensor, "*#batch n 2"], box: Float[Tensor, "*#batch 3"], size: int = CROP_SIZE
) -> Float[Tensor, "*batch n 2"]:
    """Crop pixels as image pixels: the inverse of `to_crop`."""
    scale = size / (2 * box[..., None, 2:])
    return (pixels - (size - 1) / 2) / scale + box[..., None, :2]


def translation_from_crop(
    crop_camera: Float[Tensor, "*batch 3"],
    box: Float[Tensor, "*#batch 3"],
    focal: Float[Tensor, "*#batch 2"],
    center: Float[Tensor, "*#batch 2"],
) -> Float[Tensor, "*batch 3"]:
    """Where the pelvis is in the camera frame, metres, from what a crop can tell.

    `crop_camera` is (u, v, log m): the pelvis' offset from the crop's centre in half crop sides, and the natural
    logarithm of the half crop's length in metres at the pelvis' depth. It stands for the paper's scale and (Tx, Ty)
    and, unlike them, does not change with the focal length."""
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
    """The inverse of `translation_from_crop` for a pelvis in front of the camera."""
    half = box[..., 2:]
    pixels = project(p_cam.unsqueeze(-2), focal, center).squeeze(-2)
    depth = p_cam[..., 2:].clamp_min(NEAREST_DEPTH)
    return torch.cat(
        [(pixels - box[..., :2]) / half, (depth * half / focal.mean(-1, keepdim=True)).log()], dim=-1
    )
