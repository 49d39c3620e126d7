"""Refined keypoints and depths as a corrector gives them, for people who are not rendered.

A corrector's errors depend on pose, view and occlusion, and those of a person's keypoints depend on one another. None
of this is modelled: some people are rendered and refined, and others receive the errors of the most similar of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import project, translation_to_crop
from selfmocap.geometry.tensors import concat
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.models.frame import FrameInputs, FrameNetwork

_CANDIDATES = 64
"""Examples, drawn at random, of which the most similar one is taken."""
_MAX_OFFSET = 1.5
"""Half crop sides beyond which keypoints count as equally far away."""


@dataclass(frozen=True, eq=False)
class RefinedExamples:
    """Rendered people with refined keypoints and depths, without their images."""

    inputs: FrameInputs
    truth: BodyParameters
    """In the camera frame."""

    def __len__(self) -> int:
        return len(self.inputs.boxes)

    def __getitem__(self, chosen: Any) -> "RefinedExamples":
        """Return some examples."""
        return RefinedExamples(self.inputs[chosen], self.truth[chosen])

    def save(self, path: Path) -> None:
        """Write the examples to an `.npz` file."""
        fields = {**vars(self.inputs), **vars(self.truth)}
        write_npz(path, {name: value.numpy() for name, value in fields.items() if value is not None})

    @classmethod
    def load(cls, path: Path) -> "RefinedExamples":
        """Read what `save` wrote."""
        fields: dict[str, Any] = {name: torch.from_numpy(array) for name, array in read_npz(path).items()}
        truth = BodyParameters(*(fields.pop(name) for name in ("betas", "R_parent_joint", "p_world_root")))
        return cls(FrameInputs(crops=None, **fields), truth)


@torch.no_grad()
def refine_examples(
    network: FrameNetwork, batches: Iterable[tuple[FrameInputs, BodyParameters]]
) -> RefinedExamples:
    """Refine rendered people with the corrector of a network, in float32: many processors emulate bfloat16."""
    return concat(
        [
            RefinedExamples(inputs.with_refined(network.refine_keypoints(inputs)), truth)
            for inputs, truth in batches
        ]
    )


@dataclass(frozen=True, eq=False)
class ErrorTransfer:
    """The errors of examples, ready to be given to others."""

    examples: RefinedExamples
    frames: int
    """Consecutive frames of a clip, which gets the errors of one clip of the examples: they depend on one another."""
    offsets: Float[Tensor, "examples keypoints 3"]
    """Their true keypoints, see `crop_offsets`."""
    features: Float[Tensor, "clips features"]
    gain: Float[Tensor, "keypoints 2"]
    """Depth estimates follow true depths by gain[0] + gain[1] * confidence."""

    @classmethod
    def of(cls, examples: RefinedExamples, body: Body, keypoint_set: str, frames: int = 1) -> "ErrorTransfer":
        """Prepare examples, clips of `frames` frames; `body` may be a `keypoint_proxy`."""
        inputs, truth = examples.inputs, examples.truth
        points = body.keypoints(body.pose(truth).vertices, keypoint_set)
        offsets = crop_offsets(points, truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
        features = _features(offsets, inputs.boxes, inputs.center, frames)
        assert inputs.depths is not None and inputs.depth_confidence is not None
        depths = inputs.depths / inputs.boxes[:, 2:]
        gain = depth_gain(offsets[..., 2], depths, inputs.depth_confidence)
        return cls(examples, frames, offsets, features, gain)

    def __call__(
        self,
        rng: np.random.Generator,
        points: Float[Tensor, "batch keypoints 3"],
        p_cam_root: Float[Tensor, "batch 3"],
        boxes: Float[Tensor, "batch 3"],
        focal: Float[Tensor, "batch 2"],
        center: Float[Tensor, "batch 2"],
    ) -> FrameInputs:
        """Return the inputs of people with the true keypoints `points` (camera frame, metres) and transferred errors.

        The frames of a clip follow one another. Principal points are the centres of the images."""
        offsets = crop_offsets(points, p_cam_root, boxes, focal, center)
        features = _features(offsets, boxes, center, self.frames)
        drawn = torch.from_numpy(rng.integers(len(self.features), size=(len(features), _CANDIDATES)))
        distances = (self.features[drawn] - features[:, None]).square_().sum(-1)
        clips = drawn.gather(1, distances.argmin(1, keepdim=True))
        chosen = (clips * self.frames + torch.arange(self.frames)).flatten()
        difference, like = offsets - self.offsets[chosen], self.examples.inputs[chosen]
        assert like.depths is not None and like.depth_confidence is not None
        coords = (like.keypoints - like.boxes[:, None, :2]) / like.boxes[:, None, 2:] + difference[..., :2]
        gain = self.gain[:, 0] + self.gain[:, 1] * like.depth_confidence
        depths = like.depths / like.boxes[:, 2:] + gain * difference[..., 2]
        return FrameInputs(
            crops=None,
            keypoints=boxes[:, None, :2] + boxes[:, None, 2:] * coords,
            confidence=like.confidence,
            boxes=boxes,
            focal=focal,
            center=center,
            depths=boxes[:, 2:] * depths,
            depth_confidence=like.depth_confidence,
        )


def depth_gain(
    truth: Float[Tensor, "examples keypoints"],
    depths: Float[Tensor, "examples keypoints"],
    confidence: Float[Tensor, "examples keypoints"],
) -> Float[Tensor, "keypoints 2"]:
    """Fit depth = (a + b * confidence) * true depth for each keypoint by least squares; return a and b.

    A corrector draws depths that it does not know towards the mean, so their errors depend on the true depths. Depths
    of confidence 0 do not count."""
    known = truth * (confidence > 0)
    columns = torch.stack([known, known * confidence], dim=-1)
    normal = torch.einsum("nki,nkj->kij", columns, columns) + 1e-6 * torch.eye(2)
    return torch.linalg.solve(normal, torch.einsum("nki,nk->ki", columns, depths))


def crop_offsets(
    points: Float[Tensor, "batch keypoints 3"],
    p_cam_root: Float[Tensor, "batch 3"],
    boxes: Float[Tensor, "batch 3"],
    focal: Float[Tensor, "batch 2"],
    center: Float[Tensor, "batch 2"],
) -> Float[Tensor, "batch keypoints 3"]:
    """Convert keypoints (camera frame, metres) to half crop sides.

    x and y are from the centre of the crop; depths are relative to the root, at the scale of the root."""
    scale = translation_to_crop(p_cam_root, boxes, focal, center)[:, None, 2:].exp()
    pixels = (project(points, focal, center) - boxes[:, None, :2]) / boxes[:, None, 2:]
    return torch.cat([pixels, (points[..., 2:] - p_cam_root[:, None, 2:]) / scale], dim=-1)


def _features(
    offsets: Float[Tensor, "batch keypoints 3"],
    boxes: Float[Tensor, "batch 3"],
    center: Float[Tensor, "batch 2"],
    frames: int,
) -> Float[Tensor, "clips features"]:
    """Return numbers whose distance says how similar clips of people in their crops are: their keypoints, and which of
    them lie in the image."""
    pixels = boxes[:, None, :2] + boxes[:, None, 2:] * offsets[..., :2]
    inside = ((pixels > -0.5) & (pixels < 2 * center[:, None] + 0.5)).all(-1, keepdim=True)
    return torch.cat([offsets.clamp(-_MAX_OFFSET, _MAX_OFFSET), inside.to(offsets)], dim=-1).reshape(
        len(boxes) // frames, -1
    )
