"""Clips of synthetic people, on which the temporal network is trained and validated (Kanazawa et al. 2019)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.geometry.tensors import concat
from selfmocap.losses.temporal import Targets
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import CorruptionConfig, KeypointErrors
from selfmocap.synthetic.image_scene import ImageScene, sample_image_scene, scene_images
from selfmocap.synthetic.keypoint_scene import (
    DetectedKeypoints,
    KeypointScene,
    sample_detections,
    sample_keypoint_scene,
)
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.pose_variety import PoseVariety
from selfmocap.tracking.confidence import DETECTED
from selfmocap.tracking.crop_boxes import smoothed_boxes

CLIPS_PER_SCENE = 2
"""Clips of a scene, which are drawn together."""
CLIP_FPS = 30.0
"""Frame rate of all clips."""
_NUM_CACHED_SCENES = 8009
"""Scenes that are cached, to be used again with other detection errors."""
_FRAMES_PER_KNOT = 10
"""Frames between two knots of the random walk of the boxes of a training clip."""
_MAX_BOX_SHIFT, _MAX_BOX_OCTAVES = 20 / 112, 0.3
"""Maximum of the random walk: of the centre in half crop sides, of the size in powers of two."""


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """Clips of the same length: network inputs and targets."""

    inputs: FrameInputs
    """Clips and frames in one axis."""
    targets: Targets
    """(clips, frames, ...)."""

    def to(self, device: torch.device | str) -> "ClipBatch":
        """Move the clips to a device."""
        return ClipBatch(self.inputs.to(device), self.targets.map(lambda value: value.to(device)))


ClipSource = Callable[[int], ClipBatch]
"""From a seed to CLIPS_PER_SCENE clips."""


def concat_clips(batches: Sequence[ClipBatch]) -> ClipBatch:
    """Concatenate clips into copies: a tensor that a worker sends lies in shared memory as long as it lives."""
    inputs = concat([batch.inputs for batch in batches])
    names = vars(batches[0].targets)
    targets = {name: torch.cat([getattr(batch.targets, name) for batch in batches]) for name in names}
    return ClipBatch(inputs, Targets(**targets))


def build_clips(
    keypoints: Tensor, confidence: Tensor, boxes: Tensor, focal: Tensor, center: Tensor, truth: Targets | int,
    depths: tuple[Tensor, Tensor] | None = None,
) -> ClipBatch:  # fmt: skip
    """Build clips from detected keypoints (clips, frames, ...) and the truth.

    Without truth, `truth` is the number of betas, and the detected keypoints are the targets. `depths` are depths and
    their confidences (clips * frames, ...); None is unknown."""
    shape = boxes.shape[:2]
    unknown = torch.zeros_like(confidence).flatten(0, 1)
    focal, center = (x[:, None].expand(*shape, 2) for x in (focal, center))
    if isinstance(truth, int):
        nothing = boxes.new_full((*shape, 24, 3, 3), torch.nan)
        truth = Targets(
            boxes, focal, center, keypoints, torch.where(confidence < DETECTED, 0.0, confidence),
            torch.zeros(shape, dtype=torch.bool),
            nothing, nothing[..., 0, 0, :1].expand(*shape, truth), nothing[..., 0], nothing[..., 0, 0, :],
        )  # fmt: skip
    flat = [x.flatten(0, 1) for x in (keypoints, confidence, boxes, focal, center)]
    depth, depth_confidence = depths or (unknown, unknown)
    inputs = FrameInputs(None, *flat, depths=depth, depth_confidence=depth_confidence)
    return ClipBatch(inputs, replace(truth, boxes=boxes))


def true_targets(
    body: Body, truth: BodyParameters, keypoints: Tensor, focal: Tensor, center: Tensor
) -> Targets:
    """Build the targets of clips with truth; `build_clips` sets their boxes.

    `truth` is in the camera frame, `keypoints` (clips, frames, ...) are the true ones, px; the lens is one a clip."""
    R, shape = truth.R_parent_joint, keypoints.shape[:2]
    betas = truth.betas.expand(*shape, -1)
    _, joints = forward_kinematics(R, body.shape(betas).joints, torch.zeros_like(truth.p_world_root))
    return Targets(
        boxes=joints[..., 0, :],
        focal=focal[:, None].expand(*shape, 2),
        center=center[:, None].expand(*shape, 2),
        keypoints=keypoints,
        keypoint_weight=torch.ones_like(keypoints[..., 0]),
        has_truth=torch.ones(shape, dtype=torch.bool),
        R_cam_joint=R,
        betas=betas,
        joints=joints,
        p_cam_root=truth.p_world_root,
    )


@dataclass(frozen=True, eq=False)
class KeypointRefinement:
    """Refinement of the detected keypoints of synthetic clips from drawn images."""

    network: FrameNetwork
    """A network with a corrector."""
    backgrounds: Backgrounds
    """Backgrounds of the images."""


@dataclass(frozen=True, eq=False)
class SyntheticClips:
    """A ClipSource of synthetic people who move like recordings.

    Seeds that are equal modulo `num_scenes` share a scene and differ in their detection errors."""

    motions: Sequence[MotionClip]
    body: Body
    frames: int
    errors: KeypointErrors
    labelled: bool = True
    """Give the 3D truth; otherwise detected keypoints only."""
    augment: bool = True
    """Jitter the boxes, and apply camera effects to the images, some of which are dropped (for training)."""
    variety: PoseVariety | None = None
    """Variation of poses and shapes beyond the recordings; None: as recorded."""
    refinement: KeypointRefinement | None = None
    """Refinement of the keypoints; None: as detected."""
    num_scenes: int = _NUM_CACHED_SCENES
    cache: dict[int, tuple[KeypointScene, ImageScene | None, Targets]] = field(default_factory=dict)

    def __call__(self, seed: int) -> ClipBatch:
        number = seed % self.num_scenes
        if number not in self.cache:
            self.cache[number] = self._make_scene(number)
        scene, pictured, targets = self.cache[number]
        detections = sample_detections(seed, self.errors, scene, pictured.boxes if pictured else None)
        boxes = clip_boxes(detections.keypoints, detections.confidence)
        keypoints, confidence, depths = detections.keypoints, detections.confidence, None
        if self.refinement is not None and pictured is not None:
            pictures = scene_images(pictured, torch.Generator().manual_seed(seed) if self.augment else None)
            refined = _refine(detections, pictured.keypoint_scene, pictures, self.refinement.network)
            keypoints, confidence = (
                x.unflatten(0, boxes.shape[:2]) for x in (refined.keypoints, refined.confidence)
            )
            if refined.depths is not None and refined.depth_confidence is not None:
                depths = refined.depths, refined.depth_confidence
        if self.augment:
            boxes = jitter_boxes(np.random.default_rng([seed, 1]), boxes)
        truth = targets if self.labelled else self.body.num_betas
        return build_clips(keypoints, confidence, boxes, scene.focal, scene.center, truth, depths)

    def _make_scene(self, number: int) -> tuple[KeypointScene, ImageScene | None, Targets]:
        config = SyntheticConfig(
            clips=CLIPS_PER_SCENE,
            frames=self.frames,
            fps=CLIP_FPS,
            samples=1,
            variety=self.variety,
            corruption=CorruptionConfig(self.errors),
        )
        pictured = None
        if self.refinement is None:
            scene = sample_keypoint_scene(number, config, self.motions, self.body)
        else:
            pictured = sample_image_scene(
                number, config, self.motions, self.refinement.backgrounds, self.body,
                np.random.SeedSequence(number),
            )  # fmt: skip
            scene = pictured.keypoint_scene
        keypoints = torch.from_numpy(scene.keypoints).float()
        targets = true_targets(self.body, scene.truth, keypoints, scene.focal, scene.center)
        return scene, pictured, targets


@torch.no_grad()
def _refine(
    detections: DetectedKeypoints,
    points: KeypointScene,
    pictures: tuple[Tensor, Tensor],
    network: FrameNetwork,
) -> FrameInputs:
    """Refine detections from images; the result has clips and frames in one axis."""
    frames = detections.boxes.shape[1]
    detected_columns = detections.keypoints, detections.confidence, detections.boxes
    flat = (x.flatten(0, 1) for x in detected_columns)
    lens = (x.repeat_interleave(frames, dim=0) for x in (points.focal, points.center))
    crops, masks = pictures
    inputs = FrameInputs(crops, *flat, *lens, masks=masks)
    return inputs.with_refined(network.refine_keypoints(inputs))


def clip_boxes(keypoints: Tensor, confidence: Tensor) -> Tensor:
    """Compute the boxes (clips, frames, 3; px) that tracking would crop around detected keypoints."""
    frames = np.arange(keypoints.shape[1])
    clips = zip(keypoints.numpy(), confidence.numpy(), strict=True)
    return torch.from_numpy(np.stack([smoothed_boxes(points, conf, frames) for points, conf in clips]))


def jitter_boxes(rng: np.random.Generator, boxes: Tensor) -> Tensor:
    """Move and scale boxes by a smooth, bounded random walk: half a cosine from one knot to the next."""
    clips, frames = boxes.shape[:2]
    knots = rng.uniform(-1, 1, (clips, (frames - 1) // _FRAMES_PER_KNOT + 2, 3))
    position = np.arange(frames) / _FRAMES_PER_KNOT
    before = position.astype(int)
    blend = (0.5 - 0.5 * np.cos(np.pi * (position - before)))[:, None]
    walk = torch.from_numpy(knots[:, before] * (1 - blend) + knots[:, before + 1] * blend).float()
    half = boxes[..., 2:] * 2 ** (_MAX_BOX_OCTAVES * walk[..., 2:])
    return torch.cat([boxes[..., :2] + _MAX_BOX_SHIFT * walk[..., :2] * boxes[..., 2:], half], dim=-1)
