"""Post-process a motion: scale, fill gaps, smooth, level, and lock feet to the ground."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.pipeline.postprocessing.depth import correct_depth
from selfmocap.pipeline.postprocessing.flat_feet import flatten_soles
from selfmocap.pipeline.postprocessing.foot_contact import find_contacts, rest_heights
from selfmocap.pipeline.postprocessing.foot_lock import lock_feet
from selfmocap.pipeline.postprocessing.gaps import fill_gaps
from selfmocap.pipeline.postprocessing.ground import level_motion, place_on_ground
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.pipeline.postprocessing.scale import scale_to_stature
from selfmocap.pipeline.postprocessing.smoothing import smooth
from selfmocap.pipeline.postprocessing.smoothness_metrics import smoothness_metrics


def postprocess(
    motion: Motion,
    body: Body,
    stature: float | None = None,
    joint_confidence: Float[Tensor, "time 24"] | None = None,
    in_world: bool = True,
    R_level_world: Float[Tensor, "3 3"] | None = None,
) -> Motion:
    """Scale the motion to a stature (metres) if one is given, fill short gaps, and smooth. With `in_world`, the camera
    is static or its path is known: also turn the world's y up, move the ground to y = 0, and lock feet to it.

    `joint_confidence` in [0, 1] weights the smoothing; by default each frame's confidence serves for all joints.
    `R_level_world` is the `ground.level_rotation` of all people in the video, by default that of this motion alone.
    `provenance["postprocessing"]` has the smoothness metrics before and after.

    Raises ValueError for a stature out of range, a body that is not the motion's, or a body without COCO-23
    keypoints."""
    _check_body(motion, body)
    before = smoothness_metrics(motion)
    small = keypoint_body(body)
    if stature is not None:
        motion = scale_to_stature(motion, body, stature)
    filled = fill_gaps(motion, small)
    motion = smooth(filled, small, _spread_confidence(joint_confidence, motion, filled))
    if in_world:
        heights = rest_heights(body, motion.parameters.betas)
        motion = flatten_soles(level_motion(motion, body, R_level_world), small, heights)
        motion = place_on_ground(motion, small, heights)
        motion = correct_depth(motion, small, find_contacts(motion), heights)
        motion = lock_feet(motion, small, find_contacts(motion), heights)
    record = {"before": before, "after": smoothness_metrics(motion), "stature": stature}
    return replace(motion, provenance=motion.provenance | {"postprocessing": record})


def _check_body(motion: Motion, body: Body) -> None:
    if motion.body != body.identity:
        raise ValueError(
            f"the motion uses the body {motion.body}, got {body.identity}; load the motion's own body"
        )
    if DEFAULT_KEYPOINTS.name not in body.regressors:
        raise ValueError(
            f"{body.identity.split()[0]} has no {DEFAULT_KEYPOINTS.name} keypoints, which are needed to find feet; "
            "use a body with them"
        )


def _spread_confidence(
    confidence: Float[Tensor, "time 24"] | None, observed: Motion, filled: Motion
) -> Float[Tensor, "frames 24"] | None:
    """Extend the joints' confidence to all frames of the filled motion, 0 in filled frames."""
    if confidence is None:
        return None
    spread = confidence.new_zeros(len(filled), confidence.shape[1])
    spread[torch.isin(filled.frame_index, observed.frame_index)] = confidence
    return spread
