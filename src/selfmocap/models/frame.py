"""The frame network: one crop with its keypoints in, one posed body out."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from selfmocap.body_model.body import BodyParameters
from selfmocap.body_model.named_poses import named_pose
from selfmocap.body_model.skeleton import JOINT_NAMES, keypoint_set
from selfmocap.geometry.camera import translation_from_crop
from selfmocap.geometry.rotations import (
    matrix_from_6d,
    matrix_from_axis_times_angle,
    matrix_from_euler,
    matrix_to_6d,
)
from selfmocap.models.backbones import LEAK, PlainTrunk, ResidualTrunk
from selfmocap.models.config import NetworkConfig
from selfmocap.models.corrector import KeypointCorrector, Located
from selfmocap.models.heatmaps import coordinates, depth_coordinates, heatmaps, view_angles

UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"""`R_cam_body` of a person who stands upright and faces the camera."""
_JOINTS = len(JOINT_NAMES) - 1
_COORDINATE_FEATURES = 512


@dataclass(frozen=True, eq=False)
class FrameInputs:
    """What a frame network sees; px of the image unless said otherwise."""

    crops: UInt8[Tensor, "batch side side 3"] | None
    """RGB; None for a network that sees keypoints only. Only a corrector takes others than 128 x 128 px."""
    keypoints: Float[Tensor, "batch keypoints 2"]
    confidence: Float[Tensor, "batch keypoints"]
    boxes: Float[Tensor, "batch 3"]
    focal: Float[Tensor, "batch 2"]
    center: Float[Tensor, "batch 2"]
    masks: Bool[Tensor, "batch side side"] | None = None
    """Where the person is in the crop, for a network that looks for keypoints; may be lacking."""
    depths: Float[Tensor, "batch keypoints"] | None = None
    """How much further away than the root keypoints are, at the root's scale, px; where a picture told."""
    depth_confidence: Float[Tensor, "batch keypoints"] | None = None
    """In [0, 1]; 0 is unknown."""

    def __getitem__(self, frames: Any) -> "FrameInputs":
        """The inputs of some frames."""
        parts: dict[str, Any] = {name: None if v is None else v[frames] for name, v in vars(self).items()}
        return FrameInputs(**parts)

    def corrected(self, located: Located | None) -> "FrameInputs":
        """The inputs with their keypoints where they were `located`, and as deep, if they were. The pictures have been
        looked at then: they are left out."""
        if located is None:
            return self
        keypoints, confidence = located.corrected(self.keypoints, self.confidence, self.boxes)
        depths, sure = located.measured_depths(self.boxes)
        return FrameInputs(
            None, keypoints, confidence, self.boxes, self.focal, self.center, None, depths, sure
        )

    def to(self, device: torch.device | str) -> "FrameInputs":
        """The same inputs on another device."""
        moved: dict[str, Any] = {name: None if v is None else v.to(device) for name, v in vars(self).items()}
        return FrameInputs(**moved)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a frame network says."""

    R_parent_joint: Float[Tensor, "*batch 24 3 3"]
    """Joint 0 is the root in the CAMERA frame."""
    betas: Float[Tensor, "*batch betas"]
    crop_camera: Float[Tensor, "*batch 3"]
    """(u, v, log m) of `camera.translation_from_crop`."""

    def parameters(self, inputs: FrameInputs) -> BodyParameters:
        """The body in the camera frame, metres."""
        place = translation_from_crop(self.crop_camera, inputs.boxes, inputs.focal, inputs.center)
        return BodyParameters(self.betas, self.R_parent_joint, place)


class _Heads(nn.Module):
    """The fully connected layers of the paper: a body half (pose, shape) and a camera half (rotation, depth, offset),
    the latter with the crop's place in the field of view."""

    def __init__(self, features: int, pose: int, root: int, betas: int) -> None:
        super().__init__()
        self.stem = nn.Linear(features, 1024)
        self.body, self.camera = nn.Linear(512, 512), nn.Linear(512 + 3, 512)
        self.pose = nn.Linear(256, pose)
        self.betas = nn.Sequential(nn.Linear(256, 128), nn.LeakyReLU(LEAK), nn.Linear(128, betas))
        self.root = nn.Linear(256, root)
        self.depth = nn.Sequential(nn.Linear(128, 128), nn.LeakyReLU(LEAK), nn.Linear(128, 1))
        self.offset = nn.Linear(128, 2)

    def forward(self, features: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        activate = nn.functional.leaky_relu
        body, camera = activate(self.stem(features), LEAK).chunk(2, dim=1)
        pose, betas = activate(self.body(body), LEAK).chunk(2, dim=1)
        root, depth, offset = activate(self.camera(torch.cat([camera, angles], 1)), LEAK).split(
            [256, 128, 128], dim=1
        )
        return (
            self.pose(pose),
            self.root(root),
            self.betas(betas),
            torch.cat([self.offset(offset), self.depth(depth)], 1),
        )

    def outputs(self) -> list[nn.Linear]:
        """The last layers."""
        layers = [self.pose, self.betas[-1], self.root, self.depth[-1], self.offset]
        return [layer for layer in layers if isinstance(layer, nn.Linear)]


def _coordinate_layers(numbers: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(numbers, 1024),
        nn.LeakyReLU(LEAK),
        nn.Linear(1024, 1024),
        nn.LeakyReLU(LEAK),
        nn.Linear(1024, _COORDINATE_FEATURES),
        nn.LeakyReLU(LEAK),
    )


class FrameNetwork(nn.Module):
    """Pose, shape and crop camera from an RGB crop and keypoint heatmaps. It starts near a standing person."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        keypoints = len(keypoint_set(config.keypoint_set).names)
        trunks = {"plain": PlainTrunk, "residual": ResidualTrunk}
        self.corrector = KeypointCorrector(keypoints) if config.corrector else None
        self.trunk = (
            None if config.trunk == "none" else trunks[config.trunk](keypoints, config.rgb, config.width)
        )
        numbers = (5 if config.corrector else 3) * keypoints
        self.coordinates = _coordinate_layers(numbers) if config.coordinates else None
        per_joint = 6 if config.rotations == "6d" else 4
        features = (self.trunk.features if self.trunk else 0) + _COORDINATE_FEATURES * config.coordinates
        self.heads = _Heads(features, _JOINTS * per_joint, 6, config.num_betas)
        self.start: Tensor
        self.register_buffer("start", matrix_to_6d(named_pose("arms-down"))[1:], persistent=False)
        for layer in self.heads.outputs():
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def located(self, inputs: FrameInputs) -> Located | None:
        """Where the corrector finds the keypoints; None without one, and without pictures to look at."""
        if self.corrector is None or (inputs.crops is None and inputs.masks is None):
            return None
        return self.corrector(inputs.crops, inputs.masks, inputs.keypoints, inputs.confidence, inputs.boxes)

    def features(self, inputs: FrameInputs) -> Float[Tensor, "batch features"]:
        """What trunk and coordinates make of each frame, its keypoints corrected if that is still to be done."""
        inputs = inputs.corrected(self.located(inputs))
        features = []
        if self.trunk is not None:
            maps = heatmaps(inputs.keypoints, inputs.confidence, inputs.boxes, self.trunk.heatmap_size)
            features.append(self.trunk(self._rgb(inputs), maps))
        if self.coordinates is not None:
            features.append(self.coordinates(self._numbers(inputs)))
        return torch.cat(features, dim=1)

    def _numbers(self, inputs: FrameInputs) -> Float[Tensor, "batch numbers"]:
        numbers = coordinates(inputs.keypoints, inputs.confidence, inputs.boxes)
        if self.corrector is None:
            return numbers
        if inputs.depths is None or inputs.depth_confidence is None:
            unknown = torch.zeros_like(inputs.confidence)
            return torch.cat([numbers, depth_coordinates(unknown, unknown, inputs.boxes)], dim=1)
        depths = depth_coordinates(inputs.depths, inputs.depth_confidence, inputs.boxes)
        return torch.cat([numbers, depths], dim=1)

    def _rgb(self, inputs: FrameInputs) -> Float[Tensor, "batch 3 128 128"] | None:
        if not self.config.rgb:
            return None
        if inputs.crops is None:
            raise ValueError(
                "this network sees images, and the observations hold none: observe the video again"
            )
        return (inputs.crops.permute(0, 3, 1, 2) / 255 - 0.5).contiguous(memory_format=torch.channels_last)

    def forward(self, inputs: FrameInputs) -> Prediction:
        return self.answer(self.features(inputs), inputs)

    def answer(self, features: Float[Tensor, "batch features"], inputs: FrameInputs) -> Prediction:
        """What the heads make of the `features` of these inputs."""
        angles = view_angles(inputs.boxes, inputs.focal, inputs.center)
        pose, root, betas, crop_camera = (out.float() for out in self.heads(features, angles))
        joints = pose.unflatten(-1, (_JOINTS, -1))
        if self.config.rotations == "6d":
            R_cam_root = matrix_from_6d(root + matrix_to_6d(UPRIGHT).to(root))
            R_joints = matrix_from_6d(joints + self.start)
        else:
            sin, cos = root.chunk(2, dim=-1)
            R_cam_root = matrix_from_euler(sin, cos + 1) @ UPRIGHT.to(root)
            R_joints = matrix_from_axis_times_angle(joints + torch.tensor([0.0, 1.0, 0.0, 0.0]).to(joints))
        return Prediction(torch.cat([R_cam_root.unsqueeze(-3), R_joints], dim=-3), betas, crop_camera)
