"""Refined keypoints and depths as a corrector gives them, for people who are not rendered.

A corrector's errors depend on pose, view and occlusion, and those of a person's keypoints depend on one another. None
of this is modelled: some people are rendered and refined, and others receive the errors of the most similar of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import project, translation_to_crop
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.synthetic.batches import inside_image

_CANDIDATES = 64
"""Examples, drawn at random, of which the most similar one is taken."""
_MAX_OFFSET = 1.5
"""Half crop sides beyond which keypoints count as equally far away."""


@dataclass(frozen=True, eq=False)
class CropKeypoints:
    """True keypoints in half crop sides."""

    offsets: Float[Tensor, "batch keypoints 3"]
    """x and y from the centre of the crop; depth relative to the root, at the scale of the root."""
    in_image: Bool[Tensor, "batch keypoints"]

    @classmethod
    def of(
        cls,
        keypoints: Float[Tensor, "batch keypoints 3"],
        p_cam_root: Float[Tensor, "batch 3"],
        boxes: Float[Tensor, "batch 3"],
        focal: Float[Tensor, "batch 2"],
        center: Float[Tensor, "batch 2"],
    ) -> "CropKeypoints":
        """Convert keypoints (camera frame, metres) in images whose principal point is their centre."""
        pixels = project(keypoints, focal, center)
        inside = inside_image(pixels.numpy(), (2 * center + 1)[:, None].numpy())
        scale = translation_to_crop(p_cam_root, boxes, focal, center)[:, None, 2:].exp()
        return cls(
            torch.cat(
                [
                    (pixels - boxes[:, None, :2]) / boxes[:, None, 2:],
                    (keypoints[..., 2:] - p_cam_root[:, None, 2:]) / scale,
                ],
                dim=-1,
            ),
            torch.from_numpy(inside),
        )

    def features(self) -> Float[Tensor, "batch features"]:
        """Return the numbers whose distance says how similar two people in their crops are."""
        offsets = self.offsets.clamp(-_MAX_OFFSET, _MAX_OFFSET)
        return torch.cat([offsets, self.in_image[..., None].to(offsets)], dim=-1).flatten(1)


@dataclass(frozen=True, eq=False)
class RefinedExamples:
    """Rendered people: the truth, and what a corrector gives. Lengths are in half crop sides."""

    offsets: Float[Tensor, "examples keypoints 3"]
    in_image: Bool[Tensor, "examples keypoints"]
    coords: Float[Tensor, "examples keypoints 2"]
    confidence: Float[Tensor, "examples keypoints"]
    depths: Float[Tensor, "examples keypoints"]
    depth_confidence: Float[Tensor, "examples keypoints"]
    """0 without an image."""

    def __len__(self) -> int:
        return len(self.offsets)

    def save(self, path: Path) -> None:
        """Write the examples to an `.npz` file."""
        write_npz(path, {field.name: getattr(self, field.name).numpy() for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "RefinedExamples":
        """Read what `save` wrote."""
        arrays = read_npz(path)
        return cls(**{field.name: torch.from_numpy(arrays[field.name]) for field in fields(cls)})

    def depth_gain(self) -> Float[Tensor, "keypoints 2"]:
        """Fit depth = (a + b * confidence) * true depth for each keypoint by least squares; return a and b.

        A corrector draws depths that it does not know towards the mean, so their errors depend on the true depths."""
        true = self.offsets[..., 2] * (self.depth_confidence > 0)
        columns = torch.stack([true, true * self.depth_confidence], dim=-1)
        normal = torch.einsum("nki,nkj->kij", columns, columns) + 1e-6 * torch.eye(2)
        return torch.linalg.solve(normal, torch.einsum("nki,nk->ki", columns, self.depths))


@dataclass(frozen=True, eq=False)
class ErrorTransfer:
    """Errors of examples, given to other people."""

    examples: RefinedExamples
    features: Float[Tensor, "examples features"]
    gain: Float[Tensor, "keypoints 2"]

    @classmethod
    def of(cls, examples: RefinedExamples) -> "ErrorTransfer":
        """Prepare the examples."""
        truth = CropKeypoints(examples.offsets, examples.in_image)
        return cls(examples, truth.features(), examples.depth_gain())

    def __call__(self, rng: np.random.Generator, truth: CropKeypoints) -> RefinedExamples:
        """Return what the corrector might give for people who are not rendered."""
        features, known = truth.features(), self.examples
        drawn = torch.from_numpy(rng.integers(len(known), size=(len(features), _CANDIDATES)))
        distances = (self.features[drawn] - features[:, None]).square_().sum(-1)
        chosen = drawn.gather(1, distances.argmin(1, keepdim=True)).squeeze(1)
        difference, depth_confidence = truth.offsets - known.offsets[chosen], known.depth_confidence[chosen]
        return RefinedExamples(
            truth.offsets,
            truth.in_image,
            known.coords[chosen] + difference[..., :2],
            known.confidence[chosen],
            known.depths[chosen]
            + (self.gain[:, 0] + self.gain[:, 1] * depth_confidence) * difference[..., 2],
            depth_confidence,
        )


@torch.no_grad()
def refine_examples(
    network: FrameNetwork, body: Body, batches: Iterable[tuple[FrameInputs, BodyParameters]]
) -> RefinedExamples:
    """Refine rendered people with the corrector of a network."""
    name = network.config.keypoint_set
    proxy, parts = body.keypoint_proxy(name), []
    for inputs, truth in batches:
        with torch.autocast(inputs.boxes.device.type, torch.bfloat16):
            refined = inputs.with_refined(network.refine_keypoints(inputs))
        assert refined.depths is not None and refined.depth_confidence is not None
        keypoints = proxy.keypoints(proxy.pose(truth).vertices, name)
        true = CropKeypoints.of(keypoints, truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
        center, half = inputs.boxes[:, None, :2], inputs.boxes[:, None, 2:]
        parts.append(
            RefinedExamples(
                true.offsets,
                true.in_image,
                (refined.keypoints - center) / half,
                refined.confidence.float(),
                refined.depths.float() / half.squeeze(-1),
                refined.depth_confidence.float(),
            )
        )
    return RefinedExamples(
        **{
            field.name: torch.cat([getattr(part, field.name) for part in parts])
            for field in fields(RefinedExamples)
        }
    )
