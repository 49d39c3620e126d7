"""Acceptance of a stage of post-processing: it may improve its own measure only if no other gets clearly worse.

A stage offers candidates, from the strongest to the weakest. The first one that is accepted is used, else the motion
stays as it was. The reference is the motion before post-processing, as it was fitted to the keypoints.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import project
from selfmocap.pipeline.postprocessing.joint_angles import flexion_change_deg, pop_metrics
from selfmocap.tracking.confidence import VISIBLE
from selfmocap.tracking.observations import Observations

_MAX_DISTANCE_RATIO = 1.1
"""Greatest ratio of the median distances from the keypoints, after to before post-processing."""
_MAX_ADDED_DEG = 3.0
"""Greatest increase of the largest change, and of the largest acceleration, of a knee's or elbow's flexion."""


@dataclass(frozen=True)
class MotionMeasures:
    """The measures that no stage may make clearly worse."""

    distance_px: float
    """Median distance from the visible keypoints, px; NaN without any."""
    change_deg: float
    """Largest change of a flexion between frames, degrees."""
    pop_deg: float
    """Largest acceleration of a flexion, see `joint_angles.flexion_acceleration_deg`."""
    pop_fraction: float
    """Fraction of frames with a pop."""

    @classmethod
    def of(cls, motion: Motion, observations: Observations | None) -> "MotionMeasures":
        """Measure a motion, against the observations if there are any."""
        change, pops = flexion_change_deg(motion).abs(), pop_metrics(motion)
        return cls(
            float("nan") if observations is None else keypoint_distance_px(motion, observations),
            float(change.max()) if len(change) else 0.0,
            pops["largest_deg"],
            pops["fraction"],
        )

    def no_worse_than(self, reference: "MotionMeasures") -> bool:
        """Return whether no measure is clearly worse than the reference's."""
        return (
            not self.distance_px > _MAX_DISTANCE_RATIO * reference.distance_px
            and self.change_deg <= reference.change_deg + _MAX_ADDED_DEG
            and self.pop_deg <= reference.pop_deg + _MAX_ADDED_DEG
            and self.pop_fraction <= reference.pop_fraction
        )


def keypoint_distance_px(motion: Motion, observations: Observations) -> float:
    """Compute the median distance of the projected body from the visible COCO-23 keypoints, px of the image; NaN
    without any."""
    return float(keypoint_offsets_px(motion, observations).norm(dim=-1).nanmedian())


def keypoint_offsets_px(motion: Motion, observations: Observations) -> Float[Tensor, "time 23 2"]:
    """Compute the vector from each observed keypoint to the projected body's, px of the image; NaN where it is not
    visible."""
    observations = observations.in_set(DEFAULT_KEYPOINTS.name)
    rows = torch.searchsorted(observations.frame_index, motion.frame_index).clamp(max=len(observations) - 1)
    observed = observations.frame_index[rows] == motion.frame_index
    visible = observed[:, None] & (observations.keypoint_confidence[rows] >= VISIBLE)
    pixels = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    return torch.where(visible[..., None], pixels - observations.keypoints[rows], torch.nan)


def first_accepted(
    candidates: Iterable[tuple[float, Motion]], accept: Callable[[Motion], bool], otherwise: Motion
) -> tuple[float, Motion]:
    """Return the first candidate that is accepted, with its strength, else strength 0 and the other motion."""
    return next(((strength, one) for strength, one in candidates if accept(one)), (0.0, otherwise))
