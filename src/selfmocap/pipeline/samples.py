"""The people of a video as data for fitting: all frames of one person, or a sample of the frames of all people."""

import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from selfmocap.adaptation.objective import FittingData, LossWeights, split_and_full
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.lens import Lens
from selfmocap.geometry.tensors import concat
from selfmocap.models.estimator import Estimator, frame_network_of
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.models.inference import network_inputs
from selfmocap.tracking.observations import (
    IMAGE_FIELDS,
    Observations,
    iterate_windows,
    load_rows,
    spread_rows,
)
from selfmocap.tracking.undistortion import undistort_observations

SAMPLE_BLOCK = 30
"""Consecutive frames in a sample; a temporal network takes as many at once."""
_FRAMES_PER_READ = 256


@dataclass(frozen=True, eq=False)
class CapturedPerson:
    """One person of the video."""

    number: int
    """From 1."""
    folder: Path
    """The folder of their files."""
    observations: Observations
    """All frames, without images."""
    lens: Lens
    camera: Camera
    """The camera of the undistorted observations; of one that moves, and whose path is known, in every frame."""

    @classmethod
    def load(cls, number: int, folder: Path, lens: Lens) -> "CapturedPerson":
        """Read a folder with `observations.npz`, and undistort what it holds."""
        observations = Observations.load(folder / "observations.npz", images=())
        return cls(number, folder, undistort_observations(observations, lens), lens, lens.camera())

    @property
    def observations_file(self) -> Path:
        """The file of all observations as they were measured, images included."""
        return self.folder / "observations.npz"

    def rows(self, rows: Int[Tensor, " rows"], images: Collection[str] = IMAGE_FIELDS) -> Observations:
        """Read some frames with images, undistorted; see `observations.load_rows`."""
        return undistort_observations(load_rows(self.observations_file, rows, images), self.lens)

    def windows(
        self, length: int, overlap: int, images: Collection[str]
    ) -> Iterator[tuple[int, Observations]]:
        """Read windows of frames with images, undistorted; see `observations.iterate_windows`."""
        for begin, window in iterate_windows(self.observations_file, length, overlap, images):
            yield begin, undistort_observations(window, self.lens)

    def clip(self, observations: Observations, network: Estimator) -> tuple[Observations, Any, float]:
        """Return some of the person's observations, the network's inputs and the frame rate, as
        `gather_fitting_data` takes them. A network with a corrector needs no images here."""
        frame_network = frame_network_of(network)
        if frame_network.corrector is None:
            inputs = network_inputs(observations, self.camera, frame_network)
        else:
            rows = torch.searchsorted(self.observations.frame_index, observations.frame_index)
            inputs = _corrected_inputs(self, frame_network)[rows]
        return observations.in_set(frame_network.config.keypoint_set), inputs, observations.fps


@functools.lru_cache(maxsize=64)
def _corrected_inputs(person: CapturedPerson, network: FrameNetwork) -> FrameInputs:
    """Compute the inputs of all frames for a network with a corrector, once for all stages that use them: the corrector
    reads every image, and what it returns is small."""
    windows = person.windows(_FRAMES_PER_READ, 0, network.config.images)
    return concat([network_inputs(window, person.camera, network) for _, window in windows])


def load_people(folders: Sequence[Path], lens: Lens) -> list[CapturedPerson]:
    """Read the folders of all people, as seen through the lens."""
    return [CapturedPerson.load(number, folder, lens) for number, folder in enumerate(folders, start=1)]


def needed_images(network: Estimator, weights: LossWeights) -> tuple[str, ...]:
    """Name the images of the observations that the network and the objective with these weights use, beside those that
    a corrector has read."""
    frame_network = frame_network_of(network)
    needed = (
        *(frame_network.config.images if frame_network.corrector is None else ()),
        *(("masks", "mask_certain") if weights.segmentation else ()),
        *(("flow", "flow_confidence") if weights.motion else ()),
    )
    return tuple(dict.fromkeys(needed))


def sample_frames(
    people: Sequence[CapturedPerson],
    network: Estimator,
    max_frames: int,
    images: Sequence[str],
    device: torch.device,
) -> tuple[FittingData, FittingData]:
    """Sample about `max_frames` frames of all people together, in blocks spread evenly over each person's frames.

    Return them with keypoints held out, and in full. The choice of frames does not depend on `images`."""
    total = sum(len(person.observations) for person in people)
    clips = []
    for person in people:
        frames = len(person.observations)
        rows = spread_rows(frames, max(max_frames * frames // total, SAMPLE_BLOCK), SAMPLE_BLOCK)
        clips.append(person.clip(person.rows(rows, images), network))
    split, full = split_and_full(clips)
    return split.to(device), full.to(device)
