"""Training and validation data of the frame network: synthetic people who move like recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.datasets.motions_folder import Recording, load_motions
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.backgrounds import Backgrounds, load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig, TrainingBatch, sample_batch
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.image_scene import augment_images, sample_image_scene
from selfmocap.synthetic.keypoint_scene import KeypointScene, sample_detections, sample_keypoint_scene
from selfmocap.synthetic.motion_augmentation import augment_motions
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.synthetic.scene_pool import SEEDS_PER_RUN, USES_PER_SCENE, PooledScenes, pooled_batches

NUM_AUGMENTED_MOTIONS = 2000
"""Motions of six seconds that are made from the recordings: mirrored, mixed, extrapolated."""
_FIRST_VALIDATION_SEED = 900_000_000_000_000
"""Seeds from here on are used for validation only."""
_NUM_CACHED_SCENES = 20_011
"""Micro-batches of scenes whose keypoints are cached, to be used again with other detection errors: about 1 GB.

A prime, so that batches of two epochs do not consist of the same scenes."""
TRAINING_ERRORS = KeypointErrors(clean=0.15, binary_confidence=0.25)
"""Detection errors in training; some frames have exact keypoints, some uninformative confidences."""


@dataclass(frozen=True, eq=False)
class SyntheticFrames:
    """A FrameSource of synthetic frames with images."""

    motions: Sequence[MotionClip]
    backgrounds: Backgrounds
    body: Body
    config: SyntheticConfig

    def __call__(self, seed: int) -> tuple[FrameInputs, BodyParameters]:
        batch = sample_batch(seed, self.config, self.motions, self.backgrounds, self.body)
        return batch_inputs(batch, self.config.rgb), batch_truth(batch)


@dataclass(frozen=True, eq=False)
class KeypointFrames:
    """A FrameSource of synthetic frames without images.

    Making a scene takes ten times as long as drawing detection errors, so seeds that are equal modulo `num_scenes`
    share a scene and differ in their errors. The result of a seed does not depend on the cache."""

    motions: Sequence[MotionClip]
    body: Body
    config: SyntheticConfig
    num_scenes: int = _NUM_CACHED_SCENES
    cache: dict[int, KeypointScene] = field(default_factory=dict)

    def __call__(self, seed: int) -> tuple[FrameInputs, BodyParameters]:
        number = seed % self.num_scenes
        if number not in self.cache:
            self.cache[number] = sample_keypoint_scene(number, self.config, self.motions, self.body)
        scene = self.cache[number]
        detections = sample_detections(seed, self.config.corruption.keypoints, scene)
        inputs = _flat_inputs(
            None, detections.keypoints, detections.confidence, detections.boxes, scene.focal, scene.center
        )
        return inputs, _flat_bodies_copied(scene.truth)


@dataclass(frozen=True, eq=False)
class PooledFrames:
    """A FrameStream of synthetic frames for a network with a corrector: crops and masks of 64 x 64 px.

    Workers draw scenes into a pool on the training device. Each scene is used several times, with other detection
    errors and camera effects; some frames lack their crop, their mask, or both."""

    motions: Sequence[MotionClip]
    backgrounds: Backgrounds
    body: Body
    config: SyntheticConfig

    def batches(
        self, steps: range, batch: int, seed: int, workers: int, device: torch.device
    ) -> Iterator[tuple[FrameInputs, BodyParameters]]:
        """Yield `batch` frames for each of `steps`, on the device."""
        for drawn, generator in pooled_batches(
            self.scenes, self.config.clips, steps, batch, seed, workers, device
        ):
            yield _augmented_frames(drawn, generator)

    def distinct(self, parts: int, seed: int) -> Iterator[tuple[FrameInputs, BodyParameters]]:
        """Yield `parts` times `config.clips` frames, each of another person."""
        for number in range(parts):
            drawn = self.scenes(seed * SEEDS_PER_RUN + number)
            yield _augmented_frames(drawn, torch.Generator().manual_seed(number))

    def scenes(self, seed: int) -> PooledScenes:
        """Draw `config.clips` scenes, each with USES_PER_SCENE sets of detected keypoints."""
        scene = sample_image_scene(seed, self.config, self.motions, self.backgrounds, self.body)
        points, errors = scene.keypoint_scene, self.config.corruption.keypoints
        views = [
            sample_detections(USES_PER_SCENE * seed + view, errors, points, scene.boxes)
            for view in range(USES_PER_SCENE)
        ]
        return PooledScenes(
            crops=scene.crops[:, 0],
            masks=scene.masks[:, 0],
            keypoints=torch.cat([view.keypoints for view in views], dim=1),
            confidence=torch.cat([view.confidence for view in views], dim=1),
            boxes=scene.boxes[:, 0],
            focal=points.focal,
            center=points.center,
            betas=points.truth.betas[:, 0],
            R_cam_joint=points.truth.R_parent_joint[:, 0],
            p_cam_root=points.truth.p_world_root[:, 0],
        )


def _augmented_frames(drawn: PooledScenes, generator: torch.Generator) -> tuple[FrameInputs, BodyParameters]:
    """Return scenes with their first detections, other camera effects, and some without crops or masks."""
    crops, masks = augment_images(generator, drawn.crops[:, None], drawn.masks[:, None])
    inputs = FrameInputs(
        crops[:, 0],
        drawn.keypoints[:, 0],
        drawn.confidence[:, 0],
        drawn.boxes,
        drawn.focal,
        drawn.center,
        masks[:, 0],
    )
    return inputs, BodyParameters(drawn.betas, drawn.R_cam_joint, drawn.p_cam_root)


def batch_inputs(batch: TrainingBatch, rgb: bool) -> FrameInputs:
    """Convert a batch to network inputs, with clips and frames in one axis."""
    crops, masks = (batch.rgb, batch.masks.flatten(0, 1)) if rgb else (None, None)
    inputs = _flat_inputs(crops, batch.keypoints, batch.confidence, batch.boxes, batch.focal, batch.center)
    return replace(inputs, masks=masks)


def batch_truth(batch: TrainingBatch) -> BodyParameters:
    """Return the true bodies of a batch in the camera frame, with clips and frames in one axis."""
    return _flat_bodies(batch.betas, batch.R_parent_joint, batch.p_cam_root)


def _flat_inputs(
    crops: Tensor | None, keypoints: Tensor, confidence: Tensor, boxes: Tensor, focal: Tensor, center: Tensor
) -> FrameInputs:
    """Flatten (clips, frames, ...), and repeat (clips, 2) of the cameras."""
    frames = boxes.shape[1]
    return FrameInputs(
        crops=None if crops is None else crops.flatten(0, 1),
        keypoints=keypoints.flatten(0, 1),
        confidence=confidence.flatten(0, 1),
        boxes=boxes.flatten(0, 1),
        focal=focal.repeat_interleave(frames, dim=0),
        center=center.repeat_interleave(frames, dim=0),
    )


def _flat_bodies(betas: Tensor, R_parent_joint: Tensor, p_cam_root: Tensor) -> BodyParameters:
    """Flatten (clips, frames, ...), and repeat betas (clips, betas)."""
    return BodyParameters(
        betas=betas.repeat_interleave(R_parent_joint.shape[1], dim=0),
        R_parent_joint=R_parent_joint.flatten(0, 1),
        p_world_root=p_cam_root.flatten(0, 1),
    )


def _flat_bodies_copied(truth: BodyParameters) -> BodyParameters:
    """Flatten the truth of a cached scene into copies.

    A tensor that a worker sends lies in shared memory, with a file that is open as long as the tensor lives."""
    return _flat_bodies(truth.betas[:, 0], truth.R_parent_joint.clone(), truth.p_world_root.clone())


@dataclass(frozen=True, eq=False)
class FrameTrainingData:
    """Motions and backgrounds of synthetic people."""

    training: Sequence[MotionClip]
    validation: Sequence[MotionClip]
    """Motions of held-out subjects."""
    backgrounds: Backgrounds


def load_training_data(
    body: Body,
    motions: Path | None,
    backgrounds: Path | None,
    held_out: Sequence[str],
    augmented: int = 0,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> FrameTrainingData:
    """Read recordings and background images; without a folder, make procedural ones.

    Recordings of the subjects `held_out` are for validation; `augmented` motions are made from the others. `cache` is a
    file that keeps the recordings. Raises ValueError if a subject does not exist, or if motions are to be made and no
    recording is left for training."""
    images = load_backgrounds(backgrounds) if backgrounds else procedural_backgrounds()
    if motions is None:
        return FrameTrainingData(procedural_motions(body), procedural_motions(body, count=16, seed=1), images)
    known, held = split_recordings(body, motions, held_out, augmented > 0, cache, progress)
    training = [*known, *augment_motions(known, body, augmented, seed=0)]
    return FrameTrainingData(
        [from_recording(c, body) for c in training], [from_recording(c, body) for c in held], images
    )


def split_recordings(
    body: Body,
    motions: Path,
    held_out: Sequence[str],
    for_training: bool,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> tuple[list[Recording], list[Recording]]:
    """Read a folder of recordings; return those for training, and those of the subjects `held_out`.

    Errors as in `load_training_data`."""
    clips = load_motions(motions, body, cache=cache, progress=progress)
    subjects = {clip.subject for clip in clips}
    if unknown := sorted(set(held_out) - subjects):
        raise ValueError(
            f"{motions}: no recordings of {', '.join(unknown)}; its subjects are {', '.join(sorted(subjects))}"
        )
    known = [clip for clip in clips if clip.subject not in held_out]
    if for_training and not known:
        raise ValueError(f"{motions}: every recording is held out for validation; hold out fewer subjects")
    return known, [clip for clip in clips if clip.subject in held_out]


def validation_batches(sample: SyntheticFrames, frames: int) -> list[tuple[FrameInputs, BodyParameters]]:
    """Draw at least `frames` frames, the same for every run."""
    count = -(-frames // (sample.config.clips * sample.config.frames))
    return [sample(_FIRST_VALIDATION_SEED + number) for number in range(count)]
