"""The people of a video as evidence: all frames of one a window at a time, or a sample of the frames of all."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from selfmocap.adaptation.objective import Evidence, LossWeights, checked_and_whole
from selfmocap.geometry.camera import Camera
from selfmocap.models.estimator import Estimator, frame_network_of
from selfmocap.models.inference import camera_of, inputs_of
from selfmocap.tracking.observations import Observations, load_rows

BLOCK = 30
"""Frames that follow each other in a sample: a temporal network sees so many at once."""


@dataclass(frozen=True, eq=False)
class Person:
    """One person of the video."""

    number: int
    """From 1."""
    folder: Path
    seen: Observations
    """All frames, without images."""
    camera: Camera

    @classmethod
    def load(cls, number: int, folder: Path, focal: float | None) -> "Person":
        """Of a folder with `observations.npz`; `focal` in px, None assumes a default."""
        seen = Observations.load(folder / "observations.npz", images=())
        return cls(number, folder, seen, camera_of(seen, focal))

    @property
    def observations(self) -> Path:
        """The file of all observations."""
        return self.folder / "observations.npz"

    def clip(self, seen: Observations, network: Estimator) -> tuple[Observations, Any, float]:
        """Some of the person's frames, as `gather_evidence` takes them."""
        eyes = frame_network_of(network)
        seen = seen.in_set(eyes.config.keypoint_set)
        return seen, inputs_of(seen, self.camera, eyes), self.seen.fps


def images_for(network: Estimator, weights: LossWeights) -> tuple[str, ...]:
    """The images that the network, and the objective with those weights, look at."""
    needed = (
        *frame_network_of(network).config.images,
        *(("masks", "mask_certain") if weights.segmentation else ()),
        *(("flow", "flow_confidence") if weights.motion else ()),
    )
    return tuple(dict.fromkeys(needed))


def sample(
    people: Sequence[Person], network: Estimator, most: int, images: Sequence[str], device: torch.device
) -> tuple[Evidence, Evidence]:
    """At most about `most` frames of all people together, in blocks spread evenly over each one's: with keypoints kept
    out for the self-check, and whole. The same for the same people, whatever the images."""
    total = sum(len(person.seen) for person in people)
    clips = []
    for person in people:
        rows = spread_rows(len(person.seen), max(most * len(person.seen) // total, BLOCK))
        clips.append(person.clip(load_rows(person.observations, rows, images), network))
    checked, whole = checked_and_whole(clips)
    return on_device(checked, device), on_device(whole, device)


def spread_rows(count: int, most: int, block: int = BLOCK) -> Int[Tensor, " rows"]:
    """All rows of `count`, or blocks of them at even distances, `most` in all."""
    if count <= most:
        return torch.arange(count)
    starts = torch.linspace(0, count - block, max(most // block, 1)).round().long()
    return (starts[:, None] + torch.arange(block)).flatten().unique()


def on_device(evidence: Evidence, device: torch.device) -> Evidence:
    """The same evidence on another device."""
    return Evidence(**{f.name: getattr(evidence, f.name).to(device) for f in fields(evidence)})


def alone(evidence: Evidence, number: int) -> Evidence:
    """One clip of several."""
    mine = evidence[(evidence.clip == number).nonzero().squeeze(1)]
    return replace(mine, clip=torch.zeros_like(mine.clip))
