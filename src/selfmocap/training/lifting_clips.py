"""Training clips for the temporal network over a network with a corrector, without rendering."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import project
from selfmocap.geometry.tensors import concat
from selfmocap.io.progress import ProgressCallback
from selfmocap.losses.temporal import Targets
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.motions import PoseSequences
from selfmocap.training.posed_people import sample_posed_people
from selfmocap.training.refined_examples import ErrorTransfer, RefinedExamples
from selfmocap.training.temporal_data import (
    CLIPS_PER_SCENE,
    ClipBatch,
    SyntheticClips,
    build_clips,
    clip_boxes,
    jitter_boxes,
    true_targets,
)

_REPEATED_FRACTION = 0.25
"""Fraction of clips that are examples themselves, see `lifting_data`."""


@dataclass(frozen=True, eq=False)
class LiftingClips:
    """A ClipSource of refined keypoints and depths: drawn motions, bodies and cameras, and the errors of examples."""

    poses: PoseSequences
    """As long as a clip."""
    examples: RefinedExamples
    """Of clips that are as long."""
    body: Body
    labelled: bool = True
    """Give the 3D truth; otherwise refined keypoints only."""

    @cached_property
    def _proxy(self) -> Body:
        return self.body.keypoint_proxy(DEFAULT_KEYPOINTS.name)

    @cached_property
    def _transfer(self) -> ErrorTransfer:
        return ErrorTransfer.of(self.examples, self._proxy, DEFAULT_KEYPOINTS.name, self.frames)

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return self.poses.p_world_root.shape[1]

    @torch.no_grad()
    def __call__(self, seed: int) -> ClipBatch:
        rng = np.random.default_rng(seed)
        if rng.random() < _REPEATED_FRACTION:
            clips = rng.choice(len(self.examples) // self.frames, (CLIPS_PER_SCENE, 1), replace=False)
            example = self.examples[torch.from_numpy(clips * self.frames + np.arange(self.frames)).flatten()]
            points = self._proxy.keypoints(self._proxy.pose(example.truth).vertices, DEFAULT_KEYPOINTS.name)
            pixels = project(points, example.inputs.focal, example.inputs.center)
            return self._batch(rng, example.inputs, example.truth, pixels)
        people = sample_posed_people(rng, self.poses, CLIPS_PER_SCENE, self.body, self._proxy, CameraConfig())
        boxes = clip_boxes(people.pixels, people.inside.float()).flatten(0, 1).float()
        lens = (x.repeat_interleave(self.frames, 0) for x in (people.focal, people.center))
        inputs = self._transfer(rng, people.points, people.truth.p_world_root, boxes, *lens)
        return self._batch(rng, inputs, people.truth, people.pixels.flatten(0, 1))

    def _batch(
        self, rng: np.random.Generator, inputs: FrameInputs, truth: BodyParameters, true_pixels: torch.Tensor
    ) -> ClipBatch:
        shape = CLIPS_PER_SCENE, self.frames
        keypoints, confidence = (x.unflatten(0, shape) for x in (inputs.keypoints, inputs.confidence))
        focal, center = (x.unflatten(0, shape)[:, 0] for x in (inputs.focal, inputs.center))
        boxes = jitter_boxes(rng, clip_boxes(keypoints, confidence))
        assert inputs.depths is not None and inputs.depth_confidence is not None
        depths = inputs.depths, inputs.depth_confidence
        targets: Targets | int = self.body.num_betas
        if self.labelled:
            clips = BodyParameters(*(x.unflatten(0, shape) for x in vars(truth).values()))
            targets = true_targets(self.body, clips, true_pixels.unflatten(0, shape), focal, center)
        return build_clips(keypoints, confidence, boxes, focal, center, targets, depths)


def refine_rendered_clips(clips: SyntheticClips, scenes: int, progress: ProgressCallback) -> RefinedExamples:
    """Render and refine the clips of some scenes, which must be labelled, as examples."""
    parts = []
    for number in range(scenes):
        progress("refine clips", number, scenes)
        batch = replace(clips, cache={})(number)
        truth = (
            x.flatten(0, 1)
            for x in (batch.targets.betas, batch.targets.R_cam_joint, batch.targets.p_cam_root)
        )
        parts.append(RefinedExamples(batch.inputs, BodyParameters(*truth)))
    return concat(parts)
