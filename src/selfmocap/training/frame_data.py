"""What a frame network is trained and validated on: synthetic people who move like recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.datasets.motions_folder import MotionClip as Recording
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.backgrounds import Backgrounds, load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig, TrainingBatch, sample_batch
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.synthetic.pictured import pictured_scene, retaken
from selfmocap.synthetic.points import PointScene, detected, point_scene
from selfmocap.synthetic.pool import SEEN, Scenes, pooled
from selfmocap.synthetic.poses import widened

WIDENED = 2000
"""Motions of six seconds that are made of the recordings: mirrored, mixed, and beyond them."""
_VALIDATION_SEEDS = 900_000_000_000_000
"""Seeds from here on are never trained on."""
_SCENES = 20_011
"""Parts of people whose keypoints are kept to be seen again with other errors: some 1 GB. A prime, so that no two
epochs' batches are made of the same parts."""
TRAINING_ERRORS = KeypointErrors(clean=0.15, blind=0.25)
"""In training a network also meets exact keypoints, and confidences that say nothing."""


@dataclass(frozen=True, eq=False)
class SyntheticFrames:
    """A `train.Sample`: from a seed to synthetic frames and their truth."""

    motions: Sequence[MotionClip]
    backgrounds: Backgrounds
    body: Body
    config: SyntheticConfig

    def __call__(self, seed: int) -> tuple[FrameInputs, BodyParameters]:
        batch = sample_batch(seed, self.config, self.motions, self.backgrounds, self.body)
        return frame_inputs(batch, self.config.rgb), truth_of(batch)


@dataclass(frozen=True, eq=False)
class KeypointFrames:
    """A `train.Sample` of synthetic frames without images. Posing and drawing people takes ten times as long as erring
    about them: each scene comes back, whatever was asked before, every `scenes` seeds with other errors."""

    motions: Sequence[MotionClip]
    body: Body
    config: SyntheticConfig
    scenes: int = _SCENES
    kept: dict[int, PointScene] = field(default_factory=dict)

    def __call__(self, seed: int) -> tuple[FrameInputs, BodyParameters]:
        number = seed % self.scenes
        if number not in self.kept:
            self.kept[number] = point_scene(number, self.config, self.motions, self.body)
        scene = self.kept[number]
        seen = detected(seed, self.config.corruption.keypoints, scene)
        inputs = _in_one_axis(None, seen.keypoints, seen.confidence, seen.boxes, scene.focal, scene.center)
        return inputs, _in_one_axis_copied(scene.truth)


@dataclass(frozen=True, eq=False)
class PictureFrames:
    """A `train.Pool` of synthetic frames for a network that looks for keypoints: crops and masks at half the size.
    Workers draw people; each is seen several times, with other errors and as if taken by another camera; some frames
    lack their crop, their mask, or both."""

    motions: Sequence[MotionClip]
    backgrounds: Backgrounds
    body: Body
    config: SyntheticConfig

    def batches(
        self, steps: range, batch: int, seed: int, workers: int, device: torch.device
    ) -> Iterator[tuple[FrameInputs, BodyParameters]]:
        """`batch` frames for each of `steps`, on the device."""
        for seen, random in pooled(self.scenes, self.config.clips, steps, batch, seed, workers, device):
            crops, masks = retaken(random, seen.crops[:, None], seen.masks[:, None])
            inputs = FrameInputs(
                crops[:, 0], seen.keypoints[:, 0], seen.confidence[:, 0], seen.boxes, seen.focal, seen.center,
                masks[:, 0],
            )  # fmt: skip
            yield inputs, BodyParameters(seen.betas, seen.R_cam_joint, seen.p_cam_root)

    def scenes(self, seed: int) -> Scenes:
        """`config.clips` people, and what SEEN detectors said of each."""
        scene = pictured_scene(seed, self.config, self.motions, self.backgrounds, self.body)
        points, errors = scene.points, self.config.corruption.keypoints
        looks = [detected(SEEN * seed + look, errors, points, scene.boxes) for look in range(SEEN)]
        return Scenes(
            crops=scene.crops[:, 0],
            masks=scene.masks[:, 0],
            keypoints=torch.cat([look.keypoints for look in looks], dim=1),
            confidence=torch.cat([look.confidence for look in looks], dim=1),
            boxes=scene.boxes[:, 0],
            focal=points.focal,
            center=points.center,
            betas=points.truth.betas[:, 0],
            R_cam_joint=points.truth.R_parent_joint[:, 0],
            p_cam_root=points.truth.p_world_root[:, 0],
        )


def frame_inputs(batch: TrainingBatch, rgb: bool) -> FrameInputs:
    """What a network sees of a batch, its clips and frames in one axis."""
    crops, masks = (batch.rgb, batch.masks.flatten(0, 1)) if rgb else (None, None)
    seen = _in_one_axis(crops, batch.keypoints, batch.confidence, batch.boxes, batch.focal, batch.center)
    return replace(seen, masks=masks)


def truth_of(batch: TrainingBatch) -> BodyParameters:
    """The truth of a batch in the camera frame, its clips and frames in one axis."""
    return _bodies_in_one_axis(batch.betas, batch.R_parent_joint, batch.p_cam_root)


def _in_one_axis(
    crops: Tensor | None, keypoints: Tensor, confidence: Tensor, boxes: Tensor, focal: Tensor, center: Tensor
) -> FrameInputs:
    """From (clips, frames, ...), and (clips, 2) of the cameras."""
    frames = boxes.shape[1]
    return FrameInputs(
        crops=None if crops is None else crops.flatten(0, 1),
        keypoints=keypoints.flatten(0, 1),
        confidence=confidence.flatten(0, 1),
        boxes=boxes.flatten(0, 1),
        focal=focal.repeat_interleave(frames, dim=0),
        center=center.repeat_interleave(frames, dim=0),
    )


def _bodies_in_one_axis(betas: Tensor, R_parent_joint: Tensor, p_cam_root: Tensor) -> BodyParameters:
    """From (clips, frames, ...), and betas (clips, betas)."""
    return BodyParameters(
        betas=betas.repeat_interleave(R_parent_joint.shape[1], dim=0),
        R_parent_joint=R_parent_joint.flatten(0, 1),
        p_world_root=p_cam_root.flatten(0, 1),
    )


def _in_one_axis_copied(truth: BodyParameters) -> BodyParameters:
    """What is known of a scene that is kept. Copies: what a worker sends lies in shared memory, with an open file each
    for as long as it is kept."""
    return _bodies_in_one_axis(truth.betas[:, 0], truth.R_parent_joint.clone(), truth.p_world_root.clone())


@dataclass(frozen=True, eq=False)
class Material:
    """What synthetic people are made from."""

    training: Sequence[MotionClip]
    validation: Sequence[MotionClip]
    """Of subjects that training never sees."""
    backgrounds: Backgrounds


def gather(
    body: Body,
    motions: Path | None,
    backgrounds: Path | None,
    held_out: Sequence[str],
    widen: int = 0,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> Material:
    """Reads a folder of recordings (or makes procedural motions) and one of pictures (or makes procedural ones), and
    keeps the recordings of the subjects `held_out` for validation; `widen` motions are made of the others. A ValueError
    where a subject is not there, or nothing is left to train on."""
    pictures = load_backgrounds(backgrounds) if backgrounds else procedural_backgrounds()
    if motions is None:
        return Material(procedural_motions(body), procedural_motions(body, count=16, seed=1), pictures)
    known, held = recordings(body, motions, held_out, cache, progress)
    training = [*known, *widened(known, body, widen, seed=0)]
    return Material(
        [from_recording(c, body) for c in training], [from_recording(c, body) for c in held], pictures
    )


def recordings(
    body: Body,
    motions: Path,
    held_out: Sequence[str],
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> tuple[list[Recording], list[Recording]]:
    """The recordings of a folder to train on, and those of the subjects `held_out`. Errors as in `gather`."""
    clips = load_motions(motions, body, cache=cache, progress=progress)
    subjects = {clip.subject for clip in clips}
    if unknown := sorted(set(held_out) - subjects):
        raise ValueError(
            f"{motions}: no recordings of {', '.join(unknown)}; there are {', '.join(sorted(subjects))}"
        )
    known = [clip for clip in clips if clip.subject not in held_out]
    if not known:
        raise ValueError(f"{motions}: every recording is held out for validation; hold out fewer subjects")
    return known, [clip for clip in clips if clip.subject in held_out]


def validation_batches(sample: SyntheticFrames, frames: int) -> list[tuple[FrameInputs, BodyParameters]]:
    """At least `frames` frames, the same for every run."""
    count = -(-frames // (sample.config.clips * sample.config.frames))
    return [sample(_VALIDATION_SEEDS + number) for number in range(count)]
