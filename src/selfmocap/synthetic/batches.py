"""Batches of synthetic people for training, generated in memory: observations with detection errors, and the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.synthetic import corrupt
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.pose_variety import PoseVariety
from selfmocap.synthetic.rendering import (
    crop_windows,
    pixels_in_image,
    render_images,
    sample_scene_background,
)
from selfmocap.synthetic.scene import Scene, figure_assets, sample_scene
from selfmocap.synthetic.shading import render_figures
from selfmocap.synthetic.truth import visible_keypoints


@dataclass(frozen=True)
class SyntheticConfig:
    """Configure a batch."""

    clips: int = 32
    frames: int = 1
    """Consecutive frames of each clip: 1 for single images, 2 for pairs."""
    fps: float = 30.0
    rgb: bool = True
    """Whether images are rendered. Without them crops are black, and a batch takes a fraction of the time."""
    samples: int = 2
    """Supersampling: `samples` x `samples` samples per pixel."""
    variety: PoseVariety | None = None
    """Random changes of the recorded poses; None keeps them."""
    cameras: CameraConfig = field(default_factory=CameraConfig)
    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    corruption: CorruptionConfig = field(default_factory=CorruptionConfig)


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Clips of synthetic people: observations as from a detector, and the truth. Keypoints are COCO-23."""

    rgb: UInt8[Tensor, "clips frames side side 3"]
    """Crops cut by `boxes`; black without images."""
    masks: Bool[Tensor, "clips frames side side"]
    """Of the crops, with detection errors."""
    keypoints: Float[Tensor, "clips frames keypoints 2"]
    """px of the image, with detection errors."""
    confidence: Float[Tensor, "clips frames keypoints"]
    """In [0, 1], as from a detector; 0 for keypoints that are not detected."""
    true_keypoints: Float[Tensor, "clips frames keypoints 2"]
    """px of the image."""
    visible: Bool[Tensor, "clips frames keypoints"]
    """Whether the true keypoints are unoccluded."""
    image_size: Int[Tensor, "clips 2"]
    """Width and height of the image, px."""
    boxes: Float[Tensor, "clips frames 3"]
    """Centre x, centre y, half side, px, around the detected keypoints."""
    focal: Float[Tensor, "clips 2"]
    """px of the image."""
    center: Float[Tensor, "clips 2"]
    """Principal point, px of the image."""
    betas: Float[Tensor, "clips betas"]
    R_parent_joint: Float[Tensor, "clips frames 24 3 3"]
    """The root's rotation is in the camera frame."""
    p_cam_root: Float[Tensor, "clips frames 3"]
    """Metres."""
    joints_cam: Float[Tensor, "clips frames 24 3"]
    """Metres, camera frame."""
    keypoints_cam: Float[Tensor, "clips frames keypoints 3"]
    """Metres, camera frame."""

    def __len__(self) -> int:
        return len(self.rgb)


@torch.no_grad()
def sample_batch(
    seed: int, config: SyntheticConfig, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body,
    scene_seeds: np.random.SeedSequence | None = None,
) -> TrainingBatch:  # fmt: skip
    """Generate a batch from a seed.

    It depends on the arguments only, and is bit-identical in every process in which torch has the same number of
    threads: with more threads than the one of a data loader's workers, posing differs in the last bits. `scene_seeds`
    replaces the seeds of the scene that follow from `seed`.

    `motions` and `backgrounds` must not be empty; see `procedural_motions` and `procedural_backgrounds`."""
    own_seeds, *rest = np.random.SeedSequence(seed).spawn(3)
    error_rng, picture_rng = (np.random.default_rng(s) for s in rest)
    shape = (config.clips, config.frames)
    scene = sample_scene(scene_seeds or own_seeds, config.cameras, config.appearance, shape, config.fps, motions, body,
                         variety=config.variety)  # fmt: skip
    truth = scene.keypoints.double().numpy()
    size = person_sizes(truth)
    errors = corrupt.sample_errors(error_rng, config.corruption.keypoints, *shape)
    keypoints = corrupt.displaced_keypoints(errors, truth, size)
    boxes = sample_boxes(error_rng, keypoints, ~errors.missed & inside_scene_image(scene, keypoints))
    windows = crop_windows(scene, boxes)
    samples = config.samples if config.rgb else 1
    rendered = render_figures(
        scene.vertices,
        windows.intrinsics,
        scene.appearance,
        figure_assets(body).model,
        CROP_SIZE,
        samples,
        config.rgb,
    )
    visible = visible_keypoints(scene, boxes, rendered.depth)
    keypoints = keypoints + corrupt.hidden_displacement(errors, visible, size)
    distance = relative_distances(keypoints, truth, size)
    inside = inside_scene_image(scene, truth)
    confidence = corrupt.sample_confidence(error_rng, errors, distance, inside)
    masks = corrupt.corrupt_masks(error_rng, config.corruption.masks, rendered.person, rendered.held)
    masks &= pixels_in_image(windows)
    rgb = np.zeros((*rendered.person.shape, 3), np.uint8)
    if config.rgb:
        background = sample_scene_background(picture_rng, scene, windows, backgrounds)
        rgb = render_images(rendered, windows, background, backgrounds)
    return _batch(scene, rgb.reshape(*shape, *rgb.shape[1:]), masks.reshape(*shape, *masks.shape[1:]),
                  keypoints, confidence, boxes, visible)  # fmt: skip


def _batch(
    scene: Scene,
    rgb: np.ndarray,
    masks: np.ndarray,
    keypoints: np.ndarray,
    confidence: np.ndarray,
    boxes: np.ndarray,
    visible: np.ndarray,
) -> TrainingBatch:
    camera = scene.views.camera
    return TrainingBatch(
        rgb=torch.from_numpy(rgb),
        masks=torch.from_numpy(masks),
        keypoints=torch.from_numpy(keypoints).float(),
        confidence=torch.from_numpy(confidence).float(),
        true_keypoints=scene.keypoints,
        visible=torch.from_numpy(visible),
        image_size=scene.views.size,
        boxes=torch.from_numpy(boxes).float(),
        focal=camera.focal[:, 0],
        center=camera.center[:, 0],
        betas=scene.parameters.betas[:, 0],
        R_parent_joint=scene.R_cam_joint,
        p_cam_root=scene.joints_cam[:, :, 0].contiguous(),
        joints_cam=scene.joints_cam,
        keypoints_cam=scene.keypoints_cam,
    )


# ---- windows --------------------------------------------------------------------------------------------------


def sample_boxes(rng: np.random.Generator, keypoints: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Draw square boxes (clips, frames, 3) about 1.2 times (Tung et al. 2017) as large as the extent of the `found`
    keypoints. Size and position vary by some per cent from clip to clip."""
    clips = len(keypoints)
    found = found | ~found.any(-1, keepdims=True)
    low = np.where(found[..., None], keypoints, np.inf).min(2)
    high = np.where(found[..., None], keypoints, -np.inf).max(2)
    half = np.maximum((high - low).max(-1) / 2, 4.0) * rng.uniform(1.1, 1.35, (clips, 1))
    centre = (low + high) / 2 + half[..., None] * rng.normal(0, 0.03, (clips, 1, 2))
    return np.concatenate([centre, half[..., None]], axis=-1)


def person_sizes(keypoints: np.ndarray) -> np.ndarray:
    """Compute the larger side (clips, frames), px, of the extent of keypoints (clips, frames, keypoints, 2)."""
    return np.maximum((keypoints.max(2) - keypoints.min(2)).max(-1), 1.0)


def relative_distances(keypoints: np.ndarray, truth: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Compute the distances (clips, frames, keypoints) of keypoints from the true ones, in sizes (clips, frames)."""
    return np.asarray(np.linalg.norm(keypoints - truth, axis=-1) / size[..., None])


def inside_scene_image(scene: Scene, pixels: np.ndarray) -> np.ndarray:
    """Test whether px (clips, frames, points, 2) lie in the images of a scene."""
    size = scene.views.size.numpy()[:, None, None]
    return inside_image(pixels, size)


def inside_image(pixels: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Test whether px (..., 2) lie in images of some size (width, height)."""
    return np.asarray(((pixels > -0.5) & (pixels < size - 0.5)).all(-1))
