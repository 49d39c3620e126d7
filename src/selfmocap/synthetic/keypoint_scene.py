"""Synthetic people without images: true keypoints, and any number of detections of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.synthetic import corrupt
from selfmocap.synthetic.batches import (
    SyntheticConfig,
    TrainingBatch,
    inside_image,
    inside_scene_image,
    person_sizes,
    relative_distances,
    sample_boxes,
)
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.rendering import crop_windows
from selfmocap.synthetic.scene import figure_assets, sample_scene
from selfmocap.synthetic.shading import render_figures
from selfmocap.synthetic.truth import visible_keypoints


@dataclass(frozen=True, eq=False)
class KeypointScene:
    """Clips of synthetic people: the truth, before detection errors."""

    keypoints: np.ndarray
    """(clips, frames, keypoints, 2) px of the image."""
    visible: np.ndarray
    """(clips, frames, keypoints) bool: unoccluded."""
    in_image: np.ndarray
    """(clips, frames, keypoints) bool."""
    image_size: np.ndarray
    """(clips, 1, 1, 2): width and height, px."""
    focal: Tensor
    """(clips, 2) px."""
    center: Tensor
    """(clips, 2) px."""
    truth: BodyParameters
    """In the camera frame; betas (clips, 1, betas), else (clips, frames, ...)."""


@dataclass(frozen=True, eq=False)
class DetectedKeypoints:
    """The keypoints of a `KeypointScene` with one draw of detection errors."""

    keypoints: Tensor
    """(clips, frames, keypoints, 2) px of the image."""
    confidence: Tensor
    """(clips, frames, keypoints)."""
    boxes: Tensor
    """(clips, frames, 3) px."""


@torch.no_grad()
def sample_keypoint_scene(
    seed: int, config: SyntheticConfig, motions: Sequence[MotionClip], body: Body
) -> KeypointScene:
    """Draw the people of `config`; its images and errors are not used. The result depends on the arguments only."""
    scene = sample_scene(
        np.random.SeedSequence(seed), config.cameras, config.appearance, (config.clips, config.frames), config.fps,
        motions, body, variety=config.variety,
    )  # fmt: skip
    truth = scene.keypoints.double().numpy()
    everything = np.ones(truth.shape[:-1], bool)
    boxes = sample_boxes(np.random.default_rng(seed), truth, everything)
    lens = crop_windows(scene, boxes).intrinsics
    depth = render_figures(
        scene.vertices, lens, scene.appearance, figure_assets(body).model, CROP_SIZE, 1, False
    ).depth
    camera = scene.views.camera
    return KeypointScene(
        keypoints=truth,
        visible=visible_keypoints(scene, boxes, depth),
        in_image=inside_scene_image(scene, truth),
        image_size=scene.views.size.numpy()[:, None, None],
        focal=camera.focal[:, 0],
        center=camera.center[:, 0],
        truth=BodyParameters(
            scene.parameters.betas, scene.R_cam_joint, scene.joints_cam[:, :, 0].contiguous()
        ),
    )


def keypoint_scene_of(batch: TrainingBatch) -> KeypointScene:
    """Return the people of a batch, without its images and detection errors."""
    truth, size = batch.true_keypoints.double().numpy(), batch.image_size.numpy()[:, None, None]
    return KeypointScene(
        keypoints=truth,
        visible=batch.visible.numpy(),
        in_image=inside_image(truth, size),
        image_size=size,
        focal=batch.focal,
        center=batch.center,
        truth=BodyParameters(batch.betas[:, None], batch.R_parent_joint, batch.p_cam_root),
    )


def sample_detections(
    seed: int, config: KeypointErrors, scene: KeypointScene, boxes: Tensor | None = None
) -> DetectedKeypoints:
    """Draw detection errors from `seed`; `boxes` replaces the boxes around the detected keypoints."""
    rng = np.random.default_rng(seed)
    size = person_sizes(scene.keypoints)
    errors = corrupt.sample_errors(rng, config, *scene.keypoints.shape[:2])
    keypoints = corrupt.displaced_keypoints(errors, scene.keypoints, size)
    if boxes is None:
        detected = ~errors.missed & inside_image(keypoints, scene.image_size)
        boxes = torch.from_numpy(sample_boxes(rng, keypoints, detected)).float()
    keypoints = keypoints + corrupt.hidden_displacement(errors, scene.visible, size)
    distance = relative_distances(keypoints, scene.keypoints, size)
    confidence = corrupt.sample_confidence(rng, errors, distance, scene.in_image)
    return DetectedKeypoints(torch.from_numpy(keypoints).float(), torch.from_numpy(confidence).float(), boxes)
