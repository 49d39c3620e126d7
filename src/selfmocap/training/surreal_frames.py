"""Training and validation frames of the frame network from SURREAL (Tung et al. 2017, section 4)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.datasets.labelled.clip import LabelledClip
from selfmocap.datasets.labelled.surreal import surreal_clip, surreal_files
from selfmocap.datasets.surreal import read_surreal
from selfmocap.geometry.tensors import concat
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.batches import person_sizes, relative_distances
from selfmocap.synthetic.corrupt import (
    KeypointErrors,
    displaced_keypoints,
    sample_confidence,
    sample_errors,
)
from selfmocap.training.train_frame import MICRO_BATCH_FRAMES, FrameBatch

_MIN_VISIBLE_FRACTION = 0.5
"""Least fraction of the keypoints in the image: some people of SURREAL are outside of theirs."""


@dataclass(frozen=True, eq=False)
class SurrealTable:
    """Frames in memory, with exact keypoints."""

    inputs: FrameInputs
    truth: BodyParameters
    """The default body in the camera frame, one row a frame."""

    def __len__(self) -> int:
        return len(self.inputs.boxes)

    def batches(self) -> list[FrameBatch]:
        """Return all frames in batches."""
        rows = torch.arange(len(self)).split(MICRO_BATCH_FRAMES)
        return [(self.inputs[r], self.truth[r]) for r in rows]


@dataclass(frozen=True, eq=False)
class SurrealFrames:
    """A FrameSource of frames of a table."""

    table: SurrealTable
    errors: KeypointErrors | None
    """Detection errors, drawn anew for each seed; None keeps exact keypoints."""

    def __call__(self, seed: int) -> FrameBatch:
        rng = np.random.default_rng(seed)
        rows = torch.from_numpy(rng.integers(len(self.table), size=MICRO_BATCH_FRAMES))
        inputs, truth = self.table.inputs[rows], self.table.truth[rows]
        return (inputs if self.errors is None else _with_errors(rng, inputs, self.errors)), truth


def _with_errors(rng: np.random.Generator, inputs: FrameInputs, config: KeypointErrors) -> FrameInputs:
    keypoints, inside = inputs.keypoints[:, None].double().numpy(), inputs.confidence[:, None].numpy() > 0
    size, errors = person_sizes(keypoints), sample_errors(rng, config, len(keypoints), 1)
    displaced = displaced_keypoints(errors, keypoints, size)
    distance = relative_distances(displaced, keypoints, size)
    confidence = sample_confidence(rng, errors, distance, inside)
    return replace(
        inputs,
        keypoints=torch.from_numpy(displaced[:, 0]).float(),
        confidence=torch.from_numpy(confidence[:, 0]).float(),
    )


def load_surreal_frames(
    folder: Path, split: str, count: int, network: NetworkConfig, body: Body, progress: ProgressCallback
) -> SurrealTable:
    """Read about `count` frames of a split, spread over its clips, with the inputs of a kind of network.

    Frames with less than half of the keypoints in the image are left out. Raises FileNotFoundError or ValueError that
    names the file or folder."""
    files = surreal_files(folder, split)
    shares = np.bincount(np.arange(count) * len(files) // count, minlength=len(files))
    parts = []
    for number, (file, share) in enumerate(zip(files, shares, strict=True)):
        progress("read SURREAL", number, len(files))
        if share:
            frames = len(read_surreal(file))
            drawn = np.random.default_rng(number).choice(frames, min(share, frames), replace=False)
            clip = surreal_clip(file, body, torch.from_numpy(np.sort(drawn)))
            parts.append(_table(clip, network))
    progress("read SURREAL", len(files), len(files))
    table = concat(parts)
    if not len(table):
        raise ValueError(
            f"{folder}: no person is in the image in the frames that were read; read more frames"
        )
    return table


def _table(clip: LabelledClip, network: NetworkConfig) -> SurrealTable:
    assert clip.bodies is not None
    observed = clip.observations.in_set(network.keypoint_set)
    seen = observed.keypoint_confidence.mean(1) >= _MIN_VISIBLE_FRACTION
    observed, images = observed[seen], network.images
    return SurrealTable(
        FrameInputs(
            crops=observed.crops if "crops" in images else None,
            keypoints=observed.keypoints,
            confidence=observed.keypoint_confidence,
            boxes=observed.boxes,
            focal=clip.camera.focal.expand(len(observed), 2),
            center=clip.camera.center.expand(len(observed), 2),
            masks=observed.masks if "masks" in images else None,
        ),
        clip.bodies[seen],
    )
