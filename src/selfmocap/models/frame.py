"""The frame network: predict the posed body from one crop and its keypoints (Tung et al. 2017)."""

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
from selfmocap.models.backbones import LEAKY_SLOPE, PlainTrunk, ResidualTrunk
from selfmocap.models.config import NetworkConfig
from selfmocap.models.corrector import KeypointCorrector, RefinedKeypoints
from selfmocap.models.heatmaps import coordinate_features, depth_features, heatmaps, view_angles

R_CAM_UPRIGHT = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
"""Root rotation (camera frame) of a person who stands upright and faces the camera."""
_JOINTS = len(JOINT_NAMES) - 1
_COORDINATE_FEATURES = 512


@dataclass(frozen=True, eq=False)
class FrameInputs:
    """Inputs of a frame network, one frame a row; px of the image unless said otherwise."""

    crops: UInt8[Tensor, "batch side side 3"] | None
    """RGB; None for a network without images. Sides other than 128 px are for a corrector only."""
    keypoints: Float[Tensor, "batch keypoints 2"]
    confidence: Float[Tensor, "batch keypoints"]
    boxes: Float[Tensor, "batch 3"]
    focal: Float[Tensor, "batch 2"]
    center: Float[Tensor, "batch 2"]
    masks: Bool[Tensor, "batch side side"] | None = None
    """Mask of the person in the crop, for a network with a corrector; optional."""
    depths: Float[Tensor, "batch keypoints"] | None = None
    """Keypoint depths relative to the root, at the scale of the root, px; from a corrector."""
    depth_confidence: Float[Tensor, "batch keypoints"] | None = None
    """Confidence of `depths`, in [0, 1]; 0 is unknown."""

    def __getitem__(self, frames: Any) -> "FrameInputs":
        """Return the inputs of some frames."""
        selected: dict[str, Any] = {name: None if v is None else v[frames] for name, v in vars(self).items()}
        return FrameInputs(**selected)

    def with_refined(self, refined: RefinedKeypoints | None) -> "FrameInputs":
        """Return the inputs with refined keypoints and depths, and without images; unchanged for None."""
        if refined is None:
            return self
        keypoints, confidence = refined.apply(self.keypoints, self.confidence, self.boxes)
        depths, depth_confidence = refined.depths_px(self.boxes)
        return FrameInputs(
            None, keypoints, confidence, self.boxes, self.focal, self.center, None, depths, depth_confidence
        )

    def to(self, device: torch.device | str) -> "FrameInputs":
        """Move the inputs to a device."""
        moved: dict[str, Any] = {name: None if v is None else v.to(device) for name, v in vars(self).items()}
        return FrameInputs(**moved)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Output of a network: pose, shape and crop camera."""

    R_parent_joint: Float[Tensor, "*batch 24 3 3"]
    """Joint 0 is the root in the CAMERA frame."""
    betas: Float[Tensor, "*batch betas"]
    crop_camera: Float[Tensor, "*batch 3"]
    """(u, v, log m) of `camera.translation_from_crop`."""

    def parameters(self, inputs: FrameInputs) -> BodyParameters:
        """Return the body parameters in the camera frame, metres."""
        p_cam_root = translation_from_crop(self.crop_camera, inputs.boxes, inputs.focal, inputs.center)
        return BodyParameters(self.betas, self.R_parent_joint, p_cam_root)


class _Heads(nn.Module):
    """The fully connected layers of the paper: a body half (pose, shape) and a camera half (rotation, depth, offset).

    The camera half also gets the `view_angles` of the crop."""

    def __init__(self, features: int, pose: int, root: int, betas: int) -> None:
        super().__init__()
        self.stem = nn.Linear(features, 1024)
        self.body, self.camera = nn.Linear(512, 512), nn.Linear(512 + 3, 512)
        self.pose = nn.Linear(256, pose)
        self.betas = nn.Sequential(nn.Linear(256, 128), nn.LeakyReLU(LEAKY_SLOPE), nn.Linear(128, betas))
        self.root = nn.Linear(256, root)
        self.depth = nn.Sequential(nn.Linear(128, 128), nn.LeakyReLU(LEAKY_SLOPE), nn.Linear(128, 1))
        self.offset = nn.Linear(128, 2)

    def forward(self, features: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        activate = nn.functional.leaky_relu
        body, camera = activate(self.stem(features), LEAKY_SLOPE).chunk(2, dim=1)
        pose, betas = activate(self.body(body), LEAKY_SLOPE).chunk(2, dim=1)
        root, depth, offset = activate(self.camera(torch.cat([camera, angles], 1)), LEAKY_SLOPE).split(
            [256, 128, 128], dim=1
        )
        return (
            self.pose(pose),
            self.root(root),
            self.betas(betas),
            torch.cat([self.offset(offset), self.depth(depth)], 1),
        )

    def outputs(self) -> list[nn.Linear]:
        """Return the output layers."""
        layers = [self.pose, self.betas[-1], self.root, self.depth[-1], self.offset]
        return [layer for layer in layers if isinstance(layer, nn.Linear)]


def _coordinate_layers(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 1024),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.Linear(1024, 1024),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.Linear(1024, _COORDINATE_FEATURES),
        nn.LeakyReLU(LEAKY_SLOPE),
    )


class FrameNetwork(nn.Module):
    """Predict pose, shape and crop camera. An untrained network predicts a person near a standing pose."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        keypoints = len(keypoint_set(config.keypoint_set).names)
        trunks = {"plain": PlainTrunk, "residual": ResidualTrunk}
        self.corrector = KeypointCorrector(keypoints) if config.corrector else None
        self.trunk = (
            None if config.trunk == "none" else trunks[config.trunk](keypoints, config.rgb, config.width)
        )
        inputs = (5 if config.corrector else 3) * keypoints
        self.coordinates = _coordinate_layers(inputs) if config.coordinates else None
        per_joint = 6 if config.rotations == "6d" else 4
        features = (self.trunk.features if self.trunk else 0) + _COORDINATE_FEATURES * config.coordinates
        self.heads = _Heads(features, _JOINTS * per_joint, 6, config.num_betas)
        self.start: Tensor
        self.register_buffer("start", matrix_to_6d(named_pose("arms-down"))[1:], persistent=False)
        for layer in self.heads.outputs():
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def refine_keypoints(self, inputs: FrameInputs) -> RefinedKeypoints | None:
        """Run the corrector; None without a corrector or without images."""
        if self.corrector is None or (inputs.crops is None and inputs.masks is None):
            return None
        return self.corrector(inputs.crops, inputs.masks, inputs.keypoints, inputs.confidence, inputs.boxes)

    def features(self, inputs: FrameInputs) -> Float[Tensor, "batch features"]:
        """Compute the features of trunk and coordinates; refine the keypoints first if the inputs have images."""
        inputs = inputs.with_refined(self.refine_keypoints(inputs))
        features = []
        if self.trunk is not None:
            maps = heatmaps(inputs.keypoints, inputs.confidence, inputs.boxes, self.trunk.heatmap_size)
            features.append(self.trunk(self._rgb(inputs), maps))
        if self.coordinates is not None:
            features.append(self.coordinates(self._keypoint_features(inputs)))
        return torch.cat(features, dim=1)

    def _keypoint_features(self, inputs: FrameInputs) -> Float[Tensor, "batch coordinates"]:
        coords = coordinate_features(inputs.keypoints, inputs.confidence, inputs.boxes)
        if self.corrector is None:
            return coords
        if inputs.depths is None or inputs.depth_confidence is None:
            unknown = torch.zeros_like(inputs.confidence)
            return torch.cat([coords, depth_features(unknown, unknown, inputs.boxes)], dim=1)
        depths = depth_features(inputs.depths, inputs.depth_confidence, inputs.boxes)
        return torch.cat([coords, depths], dim=1)

    def _rgb(self, inputs: FrameInputs) -> Float[Tensor, "batch 3 128 128"] | None:
        if not self.config.rgb:
            return None
        if inputs.crops is None:
            raise ValueError(
                "this network needs RGB crops and the observations hold none: observe the video again"
            )
        return (inputs.crops.permute(0, 3, 1, 2) / 255 - 0.5).contiguous(memory_format=torch.channels_last)

    def forward(self, inputs: FrameInputs) -> Prediction:
        return self.predict_from(self.features(inputs), inputs)

    def predict_from(self, features: Float[Tensor, "batch features"], inputs: FrameInputs) -> Prediction:
        """Apply the heads to the `features` of these inputs."""
        angles = view_angles(inputs.boxes, inputs.focal, inputs.center)
        pose, root, betas, crop_camera = (out.float() for out in self.heads(features, angles))
        joints = pose.unflatten(-1, (_JOINTS, -1))
        if self.config.rotations == "6d":
            R_cam_root = matrix_from_6d(root + matrix_to_6d(R_CAM_UPRIGHT).to(root))
            R_joints = matrix_from_6d(joints + self.start)
        else:
            sin, cos = root.chunk(2, dim=-1)
            R_cam_root = matrix_from_euler(sin, cos + 1) @ R_CAM_UPRIGHT.to(root)
            R_joints = matrix_from_axis_times_angle(joints + torch.tensor([0.0, 1.0, 0.0, 0.0]).to(joints))
        return Prediction(torch.cat([R_cam_root.unsqueeze(-3), R_joints], dim=-3), betas, crop_camera)
