"""Training frames for the part of the frame network behind the corrector, without rendering."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.tensors import concat
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.batches import SyntheticConfig, sample_boxes
from selfmocap.synthetic.motions import PoseSequences
from selfmocap.synthetic.scene_pool import SEEDS_PER_RUN, map_in_workers
from selfmocap.training.posed_people import sample_posed_people
from selfmocap.training.refined_examples import ErrorTransfer, RefinedExamples

_REPEATED_FRACTION = 0.25
"""Fraction of examples themselves in a batch: transferred errors fit together less well than real ones, and a network
sees through some of them."""


@dataclass(frozen=True, eq=False)
class LiftingFrames:
    """A FrameStream of refined keypoints and depths: drawn poses, bodies and cameras, and the errors of examples."""

    poses: PoseSequences
    """Each of one frame."""
    examples: RefinedExamples
    body: Body
    config: SyntheticConfig

    def batches(
        self, steps: range, batch: int, seed: int, workers: int, device: torch.device
    ) -> Iterator[tuple[FrameInputs, BodyParameters]]:
        """Yield `batch` frames for each of `steps`, on the device."""
        proxy = self.body.keypoint_proxy(DEFAULT_KEYPOINTS.name)
        sample = partial(
            self._sample, batch, ErrorTransfer.of(self.examples, proxy, DEFAULT_KEYPOINTS.name), proxy
        )
        numbers = [seed * SEEDS_PER_RUN + step for step in steps]
        for inputs, truth in map_in_workers(sample, numbers, workers):
            yield inputs.to(device), truth.to(device)

    @torch.no_grad()
    def _sample(
        self, count: int, transfer: ErrorTransfer, proxy: Body, seed: int
    ) -> tuple[FrameInputs, BodyParameters]:
        rng = np.random.default_rng(seed)
        repeated = round(_REPEATED_FRACTION * count)
        examples = self.examples[torch.from_numpy(rng.integers(len(self.examples), size=repeated))]
        inputs, truth = self._unrendered(rng, count - repeated, transfer, proxy)
        return concat([inputs, examples.inputs]), concat([truth, examples.truth])

    def _unrendered(
        self, rng: np.random.Generator, count: int, transfer: ErrorTransfer, proxy: Body
    ) -> tuple[FrameInputs, BodyParameters]:
        people = sample_posed_people(rng, self.poses, count, self.body, proxy, self.config.cameras)
        boxes = sample_boxes(rng, people.pixels.double().numpy(), people.inside.numpy())[:, 0]
        lens = people.focal, people.center
        root = people.truth.p_world_root
        return transfer(rng, people.points, root, torch.from_numpy(boxes).float(), *lens), people.truth
