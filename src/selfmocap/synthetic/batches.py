"""Batches of synthetic people for training, made in memory: what a front end would have measured, and the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.cores import cap_workers
from selfmocap.synthetic import corrupt
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.looks import LookConfig
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.pictures import crop_windows, in_image, photographs, sample_setting
from selfmocap.synthetic.scene import Scene, sample_scene, stage_of
from selfmocap.synthetic.shading import draw
from selfmocap.synthetic.truth import visible_keypoints
from selfmocap.synthetic.variety import Variety


@dataclass(frozen=True)
class SyntheticConfig:
    """What a batch is made of."""

    clips: int = 32
    frames: int = 1
    """Consecutive frames of each clip: 1 for plain training, 2 for pairs."""
    fps: float = 30.0
    rgb: bool = True
    """Without it the crops stay black, which is several times faster."""
    samples: int = 2
    """Supersampling: samples x samples a pixel."""
    variety: Variety | None = None
    """How far people leave the recordings; None: they move as those."""
    cameras: CameraConfig = field(default_factory=CameraConfig)
    looks: LookConfig = field(default_factory=LookConfig)
    corruption: CorruptionConfig = field(default_factory=CorruptionConfig)


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Clips of synthetic people as a detector would report them, and the truth. Keypoints are COCO-23."""

    rgb: UInt8[Tensor, "clips frames side side 3"]
    """Crops cut by `boxes`; black where not wanted."""
    masks: Bool[Tensor, "clips frames side side"]
    """Of the crops, as a detector's."""
    keypoints: Float[Tensor, "clips frames keypoints 2"]
    """px of the image, as a detector's."""
    confidence: Float[Tensor, "clips frames keypoints"]
    """In [0, 1], as a detector's; 0 is not found."""
    true_keypoints: Float[Tensor, "clips frames keypoints 2"]
    """px of the image."""
    visible: Bool[Tensor, "clips frames keypoints"]
    """Whether nothing hides the true keypoints."""
    image_size: Int[Tensor, "clips 2"]
    """Width and height of the image, px."""
    boxes: Float[Tensor, "clips frames 3"]
    """Centre x, centre y, half side, px: from the detector's keypoints, as a front end would."""
    focal: Float[Tensor, "clips 2"]
    """px of the image."""
    center: Float[Tensor, "clips 2"]
    """Principal point, px of the image."""
    betas: Float[Tensor, "clips betas"]
    R_parent_joint: Float[Tensor, "clips frames 24 3 3"]
    """The root's is in the CAMERA frame."""
    p_cam_root: Float[Tensor, "clips frames 3"]
    """Metres."""
    joints_cam: Float[Tensor, "clips frames 24 3"]
    """Metres, camera frame."""
    keypoints_cam: Float[Tensor, "clips frames keypoints 3"]
    """Metres, camera frame."""

    def __len__(self) -> int:
        return len(self.rgb)

    def to(self, *args: Any, **options: Any) -> "TrainingBatch":
        """The same batch on another device."""
        return TrainingBatch(*(getattr(self, f.name).to(*args, **options) for f in fields(self)))


@torch.no_grad()
def sample_batch(
    seed: int, config: SyntheticConfig, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body,
    people: np.random.SeedSequence | None = None,
) -> TrainingBatch:  # fmt: skip
    """A batch that depends on nothing but its arguments: bit-identical in every process in which torch has the same
    number of threads (a data loader's workers have one; with more, posing differs in the last bits). `people` are the
    seeds of the scene, if not those that come of `seed`.

    `motions` must not be empty (`procedural_motions` makes some), nor `backgrounds` (`procedural_backgrounds`)."""
    scene_seeds, *rest = np.random.SeedSequence(seed).spawn(3)
    error_rng, picture_rng = (np.random.default_rng(s) for s in rest)
    shape = (config.clips, config.frames)
    scene = sample_scene(people or scene_seeds, config.cameras, config.looks, shape, config.fps, motions, body,
                         variety=config.variety)  # fmt: skip
    truth = scene.keypoints.double().numpy()
    size = sizes_of(truth)
    errors = corrupt.sample_errors(error_rng, config.corruption.keypoints, *shape)
    keypoints = corrupt.displaced(errors, truth, size)
    boxes = boxes_around(error_rng, keypoints, ~errors.missed & in_image_of(scene, keypoints))
    windows = crop_windows(scene, boxes)
    samples = config.samples if config.rgb else 1
    drawn = draw(
        scene.vertices, windows.lens, scene.look, stage_of(body).model, CROP_SIZE, samples, config.rgb
    )
    visible = visible_keypoints(scene, boxes, drawn.depth)
    confidence = corrupt.confidence_of(error_rng, errors, visible, in_image_of(scene, truth))
    keypoints = keypoints + corrupt.misplaced(errors, visible, size)
    masks = corrupt.corrupt_masks(error_rng, config.corruption.masks, drawn.person, drawn.held)
    masks &= in_image(windows)
    rgb = np.zeros((*drawn.person.shape, 3), np.uint8)
    if config.rgb:
        setting = sample_setting(picture_rng, scene, windows, backgrounds)
        rgb = photographs(drawn, windows, setting, backgrounds)
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


def training_batches(
    seeds: Sequence[int], config: SyntheticConfig, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body,
    workers: int = 0,
) -> Iterator[TrainingBatch]:  # fmt: skip
    """`sample_batch` of each seed in turn, made ahead by `workers` processes (none: in this one). The batches and
    their order do not depend on how many workers there are."""
    dataset = _Batches(seeds, config, motions, backgrounds, body)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=cap_workers(workers), shuffle=False,
        prefetch_factor=2 if workers else None,
    )  # fmt: skip
    yield from loader


@dataclass(frozen=True, eq=False)
class _Batches(torch.utils.data.Dataset):
    seeds: Sequence[int]
    config: SyntheticConfig
    motions: Sequence[MotionClip]
    backgrounds: Backgrounds
    body: Body

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> TrainingBatch:
        return sample_batch(self.seeds[index], self.config, self.motions, self.backgrounds, self.body)


# ---- windows --------------------------------------------------------------------------------------------------


def boxes_around(rng: np.random.Generator, keypoints: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(clips, frames, 3): square windows 1.2 times (Tung et al. 2017) as large as the box around the `found` keypoints,
    give or take some per cent that stay the same over a clip."""
    clips = len(keypoints)
    found = found | ~found.any(-1, keepdims=True)
    low = np.where(found[..., None], keypoints, np.inf).min(2)
    high = np.where(found[..., None], keypoints, -np.inf).max(2)
    half = np.maximum((high - low).max(-1) / 2, 4.0) * rng.uniform(1.1, 1.35, (clips, 1))
    centre = (low + high) / 2 + half[..., None] * rng.normal(0, 0.03, (clips, 1, 2))
    return np.concatenate([centre, half[..., None]], axis=-1)


def sizes_of(keypoints: np.ndarray) -> np.ndarray:
    """(clips, frames) px: how large people with all these keypoints (clips, frames, keypoints, 2) are."""
    return np.maximum((keypoints.max(2) - keypoints.min(2)).max(-1), 1.0)


def in_image_of(scene: Scene, pixels: np.ndarray) -> np.ndarray:
    """Whether image px (clips, frames, points, 2) lie in the image."""
    size = scene.views.size.numpy()[:, None, None]
    return inside(pixels, size)


def inside(pixels: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Whether px (..., 2) lie in images of some size (width, height)."""
    return ((pixels > -0.5) & (pixels < size - 0.5)).all(-1)
