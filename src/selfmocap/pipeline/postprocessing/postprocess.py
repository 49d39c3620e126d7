"""Post-process a motion: scale, fill gaps, smooth, level, and lock feet to the ground.

A stage that could move the person off their keypoints, or make joints pop, is used as strongly as `acceptance` allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.pipeline.config import PostprocessConfig
from selfmocap.pipeline.postprocessing.acceptance import MotionMeasures, first_accepted
from selfmocap.pipeline.postprocessing.flat_feet import flatten_soles
from selfmocap.pipeline.postprocessing.flight import correct_flight_depth
from selfmocap.pipeline.postprocessing.foot_contact import find_contacts, rest_heights, seen_contacts
from selfmocap.pipeline.postprocessing.foot_lock import ACROSS_NOISE, lock_feet
from selfmocap.pipeline.postprocessing.gaps import fill_gaps
from selfmocap.pipeline.postprocessing.ground import level_motion, place_on_ground
from selfmocap.pipeline.postprocessing.joint_angles import pop_metrics
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.pipeline.postprocessing.scale import scale_to_camera_height, scale_to_stature
from selfmocap.pipeline.postprocessing.smoothing import smooth
from selfmocap.pipeline.postprocessing.smoothness_metrics import foot_slide_mm, jitter, smoothness_metrics
from selfmocap.tracking.observations import Observations

POSTPROCESS_VERSION = 4
"""Raised when the same settings give another motion."""
_SMOOTHING_STRENGTHS = (1.0, 0.75, 0.5, 0.25)
_SOLE_STRENGTHS = (1.0, 0.5)
_MAX_CONFIRMED_DISTANCE = 0.02
"""Distance from the keypoints up to which flights that gravity confirms are corrected, as a fraction of half the side
of the person's box. Detectors err more."""
_FEET_STRENGTHS = (1.0, 0.5, 0.25, 0.1, 0.03)


def postprocess(
    motion: Motion,
    body: Body,
    stature: float | None = None,
    joint_confidence: Float[Tensor, "time 24"] | None = None,
    in_world: bool = True,
    R_level_world: Float[Tensor, "3 3"] | None = None,
    observations: Observations | None = None,
    config: PostprocessConfig | None = None,
    camera_height: float | None = None,
) -> Motion:
    """Scale the motion to a stature (metres) if one is given, fill short gaps, and smooth. With `in_world`, the camera
    is static or its path is known: also turn the world's y up, move the ground to y = 0, and lock feet to it.

    `joint_confidence` in [0, 1] weights the smoothing; by default each frame's confidence serves for all joints.
    `R_level_world` is the `ground.level_rotation` of all people in the video, by default that of this motion alone.
    `observations` are what each stage is checked against; without them, by smoothness alone. `camera_height` is the
    height of a static camera above the floor of all people, metres; a motion that nearly gives it is scaled to it.
    `provenance["postprocessing"]` has the measures before and after, and the strength of each stage that was kept.

    Raises ValueError for a stature out of range, a body that is not the motion's, or a body without COCO-23
    keypoints."""
    _check_body(motion, body)
    scaled = motion if stature is None else scale_to_stature(motion, body, stature)
    filled = fill_gaps(scaled, keypoint_body(body))
    confidence = _spread_confidence(joint_confidence, motion, filled)
    processed, strengths = filled, {}
    for stage in postprocess_stages(
        filled,
        body,
        confidence,
        in_world,
        R_level_world,
        observations,
        config or PostprocessConfig(),
        camera_height,
    ):
        processed = stage.motion
        strengths |= {} if stage.strength is None else {stage.name: stage.strength}
    record = {
        "before": smoothness_metrics(motion),
        "after": smoothness_metrics(processed),
        "pops": {"before": pop_metrics(motion), "after": pop_metrics(processed)},
        "stages": strengths,
        "stature": stature,
    }
    return replace(processed, provenance=processed.provenance | {"postprocessing": record})


@dataclass(frozen=True, eq=False)
class Stage:
    """The motion after a stage."""

    name: str
    motion: Motion
    strength: float | None = None
    """Strength that was accepted, 0 if none was; None for a stage that cannot make the motion worse."""


def postprocess_stages(
    filled: Motion,
    body: Body,
    joint_confidence: Float[Tensor, "time 24"] | None,
    in_world: bool,
    R_level_world: Float[Tensor, "3 3"] | None,
    observations: Observations | None,
    config: PostprocessConfig,
    camera_height: float | None = None,
) -> Iterator[Stage]:
    """Yield the motion after each stage that follows the filling of gaps. The arguments are those of `postprocess`."""
    small, reference = keypoint_body(body), MotionMeasures.of(filled, observations)

    def no_worse(one: Motion) -> bool:
        return MotionMeasures.of(one, observations).no_worse_than(reference)

    strengths = [config.smoothing * s for s in _SMOOTHING_STRENGTHS if config.smoothing]
    strength, motion = first_accepted(
        ((s, smooth(filled, small, joint_confidence, s)) for s in strengths),
        lambda one: jitter(one) < jitter(filled) and no_worse(one),
        filled,
    )
    yield Stage("smooth", motion, strength)
    if not in_world or config.ground == "off":
        return
    heights = rest_heights(body, motion.parameters.betas)
    level = level_motion(motion, body, R_level_world)
    yield Stage("level", level)
    soles = ((s, flatten_soles(level, small, heights, s)) for s in _SOLE_STRENGTHS)
    strength, motion = first_accepted(soles, no_worse, level)
    yield Stage("soles", motion, strength)
    motion = place_on_ground(motion, small, heights)
    if camera_height is not None:
        motion = scale_to_camera_height(motion, body, camera_height)
        heights = rest_heights(body, motion.parameters.betas)
    yield Stage("ground", motion)
    in_flight = correct_flight_depth(motion, small, find_contacts(motion), heights)
    strength, corrected = first_accepted([(1.0, in_flight)], no_worse, motion)
    if not strength and observations is not None:
        confirmed = correct_flight_depth(motion, small, find_contacts(motion), heights, confirmed=True)
        near_px = _MAX_CONFIRMED_DISTANCE * float(observations.boxes[:, 2].median())
        near = replace(reference, distance_px=max(reference.distance_px, near_px))
        if confirmed is not motion and MotionMeasures.of(confirmed, observations).no_worse_than(near):
            strength, corrected, reference = 1.0, confirmed, near
    motion = corrected
    yield Stage("flight", motion, strength)
    if config.feet == "off":
        return
    contacts, unlocked = find_contacts(motion), motion
    if joint_confidence is not None:
        contacts = seen_contacts(contacts, joint_confidence)
    locked = ((s, lock_feet(unlocked, small, contacts, heights, s * ACROSS_NOISE)) for s in _FEET_STRENGTHS)
    slide = foot_slide_mm(unlocked, contacts)
    strength, motion = first_accepted(
        locked, lambda one: foot_slide_mm(one, contacts) < slide and no_worse(one), unlocked
    )
    yield Stage("feet", motion, strength)


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
