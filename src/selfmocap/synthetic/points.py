"""Synthetic people without pictures: what a detector of keypoints would say of them, time and again."""

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
    boxes_around,
    in_image_of,
    inside,
    sizes_of,
)
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.pictures import crop_windows
from selfmocap.synthetic.scene import sample_scene, stage_of
from selfmocap.synthetic.shading import draw
from selfmocap.synthetic.truth import visible_keypoints


@dataclass(frozen=True, eq=False)
class PointScene:
    """Clips of people, known exactly, that a detector has yet to look at."""

    keypoints: np.ndarray
    """(clips, frames, keypoints, 2) px of the image."""
    visible: np.ndarray
    """(clips, frames, keypoints) bool: not hidden."""
    inside: np.ndarray
    """(clips, frames, keypoints) bool: in the image."""
    size: np.ndarray
    """(clips, 1, 1, 2): the image's width and height."""
    focal: Tensor
    """(clips, 2) px."""
    center: Tensor
    """(clips, 2) px."""
    truth: BodyParameters
    """In the camera frame; betas (clips, 1, betas), else (clips, frames, ...)."""


@dataclass(frozen=True, eq=False)
class DetectedPoints:
    """A `PointScene` as a detector sees it once."""

    keypoints: Tensor
    """(clips, frames, keypoints, 2) px of the image."""
    confidence: Tensor
    """(clips, frames, keypoints)."""
    boxes: Tensor
    """(clips, frames, 3) px."""


@torch.no_grad()
def point_scene(seed: int, config: SyntheticConfig, motions: Sequence[MotionClip], body: Body) -> PointScene:
    """People of `config` (its pictures and errors play no part), the same for the same arguments."""
    scene = sample_scene(
        np.random.SeedSequence(seed), config.cameras, config.looks, (config.clips, config.frames), config.fps,
        motions, body, variety=config.variety,
    )  # fmt: skip
    truth = scene.keypoints.double().numpy()
    everything = np.ones(truth.shape[:-1], bool)
    boxes = boxes_around(np.random.default_rng(seed), truth, everything)
    lens = crop_windows(scene, boxes).lens
    depth = draw(scene.vertices, lens, scene.look, stage_of(body).model, CROP_SIZE, 1, False).depth
    camera = scene.views.camera
    return PointScene(
        keypoints=truth,
        visible=visible_keypoints(scene, boxes, depth),
        inside=in_image_of(scene, truth),
        size=scene.views.size.numpy()[:, None, None],
        focal=camera.focal[:, 0],
        center=camera.center[:, 0],
        truth=BodyParameters(
            scene.parameters.betas, scene.R_cam_joint, scene.joints_cam[:, :, 0].contiguous()
        ),
    )


def scene_of(batch: TrainingBatch) -> PointScene:
    """The people of a batch, without its pictures and its detector's errors."""
    truth, size = batch.true_keypoints.double().numpy(), batch.image_size.numpy()[:, None, None]
    return PointScene(
        keypoints=truth,
        visible=batch.visible.numpy(),
        inside=inside(truth, size),
        size=size,
        focal=batch.focal,
        center=batch.center,
        truth=BodyParameters(batch.betas[:, None], batch.R_parent_joint, batch.p_cam_root),
    )


def detected(
    seed: int, config: KeypointErrors, scene: PointScene, boxes: Tensor | None = None
) -> DetectedPoints:
    """What a detector says, with the errors that `seed` draws, in `boxes` if they are known already."""
    rng = np.random.default_rng(seed)
    size = sizes_of(scene.keypoints)
    errors = corrupt.sample_errors(rng, config, *scene.keypoints.shape[:2])
    keypoints = corrupt.displaced(errors, scene.keypoints, size)
    if boxes is None:
        found = ~errors.missed & inside(keypoints, scene.size)
        boxes = torch.from_numpy(boxes_around(rng, keypoints, found)).float()
    confidence = corrupt.confidence_of(rng, errors, scene.visible, scene.inside)
    keypoints = keypoints + corrupt.misplaced(errors, scene.visible, size)
    return DetectedPoints(torch.from_numpy(keypoints).float(), torch.from_numpy(confidence).float(), boxes)
