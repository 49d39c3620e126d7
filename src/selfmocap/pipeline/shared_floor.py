"""Solve the sizes of the people of one shot together: they stand on one floor before one static camera.

From one camera, a person's size and distance are known up to a common factor. If their feet are on the floor, the
height of the camera above the floor fixes it: a person who is estimated too large is estimated too far away, and their
feet too far below the camera. Only two numbers are unknown for all people together, that height and the error of the
camera's pitch, so the posterior is computed on a grid of both.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.pipeline.config import MAX_STATURE, MIN_STATURE
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts, rest_heights
from selfmocap.pipeline.postprocessing.ground import level_motion
from selfmocap.pipeline.postprocessing.rebuild import keypoints_world
from selfmocap.pipeline.postprocessing.scale import stature
from selfmocap.tracking.confidence import VISIBLE
from selfmocap.tracking.observations import Observations

_OWN_NOISE = 0.05
"""Standard deviation of the logarithm of the stature that an adult's proportions give."""
_CHILD_STATURE, _CHILD_SPREAD = 1.2, 0.3
"""Median stature of people whose proportions do not give it, metres, and standard deviation of its logarithm."""
_ADULT_ESTIMATES, _CHILD_ESTIMATES = (1.68, 0.095), (1.5, 0.12)
"""Median, metres, and standard deviation of the logarithm of the statures that proportions give for adults, and for
children, whom the default body makes small adults."""
_CHILD_PRIOR, _RAISED_PRIOR = 0.15, 0.15
"""Prior probabilities that a person's proportions do not give their stature, and that they stand on something."""
_MAX_RAISE = 0.5
"""Greatest height of what they stand on, metres."""
_FLOOR_NOISE, _POINT_NOISE = 0.03, 0.03
"""Standard deviation of the height of the camera above a person's floor, relative, and metres."""
_PITCH_NOISE, _ROLL_NOISE = 0.05, 0.03
"""Standard deviation of the camera's angles by the balance of one person, radians."""
_FLOOR_QUANTILE = 0.35
"""Quantile of the heights of contacts that is the floor: a person may stand on a step for most of the time."""
_MIN_CONTACTS = 4
_MAX_LOG_STD = 0.15
"""Standard deviation of the logarithm of the ratio of two statures above which the floor does not determine it."""
_HEIGHTS, _PITCHES = 161, 41
"""Size of the grid."""


Grid = Float64[np.ndarray, "parts pitches heights"]


@dataclass(frozen=True)
class FloorPerson:
    """What the floor under one person gives, for their own estimate of the stature."""

    stature: float
    """Metres, by the proportions alone."""
    drop: float
    """Height of the camera above the floor under the feet, metres."""
    ahead: float
    """Horizontal distance of the feet in the direction of view, metres."""
    aside: float
    """Horizontal distance of the feet to the side, metres."""
    known_stature: float | None = None
    """Metres, as the user says."""


@dataclass(frozen=True)
class SharedFloor:
    """What the people of one shot have in common, metres."""

    statures: list[float | None]
    """Of each person; None where the floor does not determine it, so that their own estimate stays."""
    camera_height: float | None
    """Height of the camera above the floor; None where fewer than two people are seen on it."""


def solve_shared_floor(
    motions: Sequence[Motion],
    body: Body,
    R_level_world: Float[Tensor, "3 3"],
    observations: Sequence[Observations],
    known: Sequence[float | None],
) -> SharedFloor:
    """Estimate the statures of the people of one shot by their common floor, and the height of the camera above it.

    The world of the motions is turned by `R_level_world` into one whose y is up. `known` are the statures that the user
    gives, metres; they scale the others."""
    people = [
        floor_person(motion, body, R_level_world, _feet_visible(seen, motion), stature_known)
        for motion, seen, stature_known in zip(motions, observations, known, strict=True)
    ]
    on_floor = [person for person in people if person is not None]
    solved = solve_statures(on_floor)
    rest = iter(solved)
    statures = [None if person is None else next(rest) for person in people]
    statures = [given or found for given, found in zip(known, statures, strict=True)]
    return SharedFloor(statures, _common_camera_height(on_floor, solved))


def _common_camera_height(people: Sequence[FloorPerson], statures: Sequence[float | None]) -> float | None:
    """Average the heights of the camera above the floor under people of these statures; only people whose stature the
    user gives count, if there are any."""
    if len(people) < 2:
        return None
    heights = [
        person.drop * (metres or person.stature) / person.stature
        for person, metres in zip(people, statures, strict=True)
    ]
    certain = [height for height, person in zip(heights, people, strict=True) if person.known_stature]
    return float(np.median(certain or heights))


def _feet_visible(observations: Observations, motion: Motion) -> Bool[Tensor, " time"]:
    """Return, for each frame of the motion, whether an ankle is visible."""
    names = keypoint_set(observations.keypoint_set).names
    ankles = observations.keypoint_confidence[:, [name.endswith("ankle") for name in names]]
    seen = observations.frame_index[(ankles > VISIBLE).any(-1)]
    return torch.isin(motion.frame_index, seen)


def floor_person(
    motion: Motion,
    body: Body,
    R_level_world: Float[Tensor, "3 3"],
    feet_visible: Bool[Tensor, " time"],
    known_stature: float | None = None,
) -> FloorPerson | None:
    """Measure the floor under a person before a static camera; None where their feet are not seen on it, or where the
    camera is not above it."""
    level = level_motion(motion, body, R_level_world)
    up = torch.tensor([0.0, 1.0, 0.0])
    heights = rest_heights(body, motion.parameters.betas)
    points = keypoints_world(level, FOOT_POINTS) - heights[:, None] * up - level.camera.p_world_cam
    points = points[find_contacts(level) & feet_visible[:, None]]
    if len(points) < _MIN_CONTACTS:
        return None
    on_floor = points[points[:, 1] <= points[:, 1].quantile(_FLOOR_QUANTILE)]
    drop = -float(points[:, 1].quantile(_FLOOR_QUANTILE))
    ahead = torch.nn.functional.normalize(level.camera.R_cam_world[2] * torch.tensor([1.0, 0.0, 1.0]), dim=0)
    place = on_floor.median(0).values
    if drop <= _POINT_NOISE:
        return None
    own = float(stature(body, motion.parameters.betas))
    return FloorPerson(
        own, drop, float(place @ ahead), float(place @ torch.linalg.cross(ahead, up)), known_stature
    )


def solve_statures(people: Sequence[FloorPerson]) -> list[float | None]:
    """Estimate the statures of people on one floor, metres; None for those whom the floor does not determine.

    The likelihood of a person has three parts: the stature of an adult is near that of their proportions; that of a
    child is not; or they stand on something, and their own estimate is kept. The result is the posterior mean of the
    logarithm, given the most probable part of each person. It is used where the ratio of statures is sharp: the common
    scale comes from the proportions of all."""
    if len(people) < 2:
        return [None] * len(people)
    mean, ratio_std = _posterior(people)
    if ratio_std.max() > _MAX_LOG_STD:
        worst = int(ratio_std.sum(0).argmax())
        rest = solve_statures([*people[:worst], *people[worst + 1 :]])
        return [*rest[:worst], None, *rest[worst:]]
    statures = np.exp(mean) * [person.stature for person in people]
    return statures.clip(MIN_STATURE, MAX_STATURE).tolist()


def _posterior(
    people: Sequence[FloorPerson],
) -> tuple[Float64[np.ndarray, " people"], Float64[np.ndarray, "people people"]]:
    """Compute the mean of the logarithm of the scale of each person's estimate, given the most probable parts, and the
    standard deviation of its difference between any two, over all parts."""
    pitch_noise = _PITCH_NOISE / np.sqrt(len(people))
    pitch = pitch_noise * np.linspace(-3, 3, _PITCHES)[:, None]
    drops = np.array([person.drop for person in people])
    log_height = np.linspace(np.log(drops.min() / 2), np.log(2 * drops.max()), _HEIGHTS)[None, :]
    log_prior = np.broadcast_to(-0.5 * (pitch / pitch_noise) ** 2, (_PITCHES, _HEIGHTS))
    log_parts, log_scales, spreads = zip(
        *(_parts(person, pitch, log_height) for person in people), strict=True
    )
    evidence = [np.logaddexp.reduce(one, axis=0) for one in log_parts]
    weights = [np.exp(one - total) for one, total in zip(log_parts, evidence, strict=True)]
    means = [(weight * one).sum(0) for weight, one in zip(weights, log_scales, strict=True)]
    variances = [
        (weight * ((one - mean) ** 2 + spread)).sum(0)
        for weight, one, spread, mean in zip(weights, log_scales, spreads, means, strict=True)
    ]
    posterior = _normalised(log_prior + sum(evidence))
    ratio_std = np.zeros((len(people), len(people)))
    for i, j in itertools.permutations(range(len(people)), 2):
        difference = means[i] - means[j]
        deviation = difference - (posterior * difference).sum()
        ratio_std[i, j] = np.sqrt((posterior * (deviation**2 + variances[i] + variances[j])).sum())
    parts = _most_probable_parts(log_prior, log_parts)
    posterior = _normalised(log_prior + sum(one[part] for one, part in zip(log_parts, parts, strict=True)))
    return np.array([(posterior * one[p]).sum() for one, p in zip(log_scales, parts, strict=True)]), ratio_std


def _normalised(log_posterior: np.ndarray) -> np.ndarray:
    posterior = np.exp(log_posterior - log_posterior.max())
    return posterior / posterior.sum()


def _most_probable_parts(log_prior: np.ndarray, log_parts: Sequence[Grid]) -> list[int]:
    """Find the part of each person's likelihood that together are the most probable, by changing one at a time. The
    mean over all parts would lie between a child and an adult on a step, and be neither."""
    total = log_prior + sum(np.logaddexp.reduce(one, axis=0) for one in log_parts)
    mode = np.unravel_index(total.argmax(), total.shape)
    parts = [int(one[(slice(None), *mode)].argmax()) for one in log_parts]
    changed = True
    while changed:
        changed = False
        for person, one in enumerate(log_parts):
            others = log_prior + sum(log_parts[i][p] for i, p in enumerate(parts) if i != person)
            best = int(np.logaddexp.reduce(others + one, axis=(1, 2)).argmax())
            changed |= best != parts[person]
            parts[person] = best
    return parts


def _parts(person: FloorPerson, pitch: np.ndarray, log_height: np.ndarray) -> tuple[Grid, Grid, Grid]:
    """Return, for the three parts of a person's likelihood, its logarithm, and mean and variance of the logarithm of
    the scale of their estimate."""
    drop = (person.drop - pitch * person.ahead).clip(1e-3)
    log_ratio = log_height - np.log(drop)
    noise = _FLOOR_NOISE**2 + (_POINT_NOISE**2 + (_ROLL_NOISE * person.aside) ** 2) / drop**2
    own, spread = 0.0, _OWN_NOISE
    log_adult, log_child = (
        _log_normal(np.log(person.stature / median), width**2)
        for median, width in (_ADULT_ESTIMATES, _CHILD_ESTIMATES)
    )
    child, child_spread = np.log(_CHILD_STATURE / person.stature), _CHILD_SPREAD
    if person.known_stature is not None:
        own = child = np.log(person.known_stature / person.stature)
        spread = child_spread = 1e-3
    parts = []
    for log_prior, centre, prior_spread in (
        (np.log(1 - _CHILD_PRIOR - _RAISED_PRIOR) + log_adult, own, spread),
        (np.log(_CHILD_PRIOR) + log_child, child, child_spread),
    ):
        total = noise + prior_spread**2
        log_part = log_prior + _log_normal(log_ratio - centre, total)
        gain = prior_spread**2 / total
        parts.append((log_part, centre + gain * (log_ratio - centre), gain * noise))
    height = np.exp(log_height) - drop * np.exp(own)
    raised = np.where(
        (height > 0) & (height < _MAX_RAISE), np.log(_RAISED_PRIOR * drop / _MAX_RAISE) + log_adult, -np.inf
    )
    shape = np.broadcast_shapes(log_ratio.shape, noise.shape)
    parts.append((raised, np.full(shape, own), np.full(shape, spread**2)))
    stacked = [np.stack([np.broadcast_to(part[i], shape) for part in parts]) for i in range(3)]
    return stacked[0], stacked[1], stacked[2]


def _log_normal(difference: np.ndarray | float, variance: np.ndarray | float) -> np.ndarray | float:
    """Compute the logarithm of the normal density."""
    return -0.5 * difference**2 / variance - 0.5 * np.log(2 * np.pi * variance)
