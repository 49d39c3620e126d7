"""The repairs one after the other."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.pipeline.postprocessing.depth import with_depth_of_ground
from selfmocap.pipeline.postprocessing.flat_feet import with_flat_soles
from selfmocap.pipeline.postprocessing.foot_contact import find_contacts, rest_heights
from selfmocap.pipeline.postprocessing.foot_lock import lock_feet
from selfmocap.pipeline.postprocessing.gaps import fill_gaps
from selfmocap.pipeline.postprocessing.ground import on_the_ground, upright
from selfmocap.pipeline.postprocessing.rebuild import light
from selfmocap.pipeline.postprocessing.scale import with_stature
from selfmocap.pipeline.postprocessing.smoothing import smooth
from selfmocap.pipeline.postprocessing.smoothness_metrics import measured


def clean(
    motion: Motion,
    body: Body,
    stature: float | None = None,
    joint_confidence: Float[Tensor, "time 24"] | None = None,
    static_camera: bool = True,
    R_level_world: Float[Tensor, "3 3"] | None = None,
) -> Motion:
    """The motion with its size set from a stature (metres) if one is given, short gaps filled, jitter smoothed, and,
    for a `static_camera`, the world's y up with the ground at 0 and standing feet locked to it. What was measured
    before and after stands in `provenance["cleaning"]`.

    `R_level_world` is the `ground.level` of all people before the camera; by default that of this one alone.
    `joint_confidence` in [0, 1] says how well each joint was seen; by default each frame's confidence serves for all
    joints. Raises ValueError for a stature that no person has, for a body that is not the motion's, or one without
    COCO-23's points."""
    _check(motion, body)
    before = measured(motion)
    small = light(body)
    if stature is not None:
        motion = with_stature(motion, body, stature)
    filled = fill_gaps(motion, small)
    motion = smooth(filled, small, _spread(joint_confidence, motion, filled))
    if static_camera and motion.camera.R_cam_world.ndim == 2:
        heights = rest_heights(body, motion.parameters.betas)
        motion = with_flat_soles(upright(motion, body, R_level_world), small, heights)
        motion = on_the_ground(motion, small, heights)
        motion = with_depth_of_ground(motion, small, find_contacts(motion), heights)
        motion = lock_feet(motion, small, find_contacts(motion), heights)
    cleaning = {"before": before, "after": measured(motion), "stature": stature}
    return replace(motion, provenance=motion.provenance | {"cleaning": cleaning})


def _check(motion: Motion, body: Body) -> None:
    if motion.body != body.identity:
        raise ValueError(
            f"the motion is of the body {motion.body}, the body given is {body.identity}; give the motion's own"
        )
    if DEFAULT_KEYPOINTS.name not in body.regressors:
        raise ValueError(
            f"{body.identity.split()[0]} has no {DEFAULT_KEYPOINTS.name} points; feet cannot be found"
        )


def _spread(
    confidence: Float[Tensor, "time 24"] | None, seen: Motion, filled: Motion
) -> Float[Tensor, "frames 24"] | None:
    """The joints' confidence for all frames of the filled motion, 0 in what was filled in."""
    if confidence is None:
        return None
    spread = confidence.new_zeros(len(filled), confidence.shape[1])
    spread[torch.isin(filled.frame_index, seen.frame_index)] = confidence
    return spread
