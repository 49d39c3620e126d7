"""Put a character's feet on the floor and keep them where they stand.

A character's legs have other proportions than the body's, so with equal rotations its feet would sink, float and slide.
In height, each sole follows the body's; planted soles touch the floor. Along the floor, each foot gets an offset over
time that cancels the motion of its planted ends, and returns smoothly towards 0 in between (least squares). The hips
move as little as the legs allow, the knees bend to reach the ankles."""

from collections.abc import Mapping

import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Bool, Float
from numpy import ndarray

from selfmocap.body_model.skeleton import HAND_SIDES, JOINT
from selfmocap.export.characters.alignment import arc, rotation_about
from selfmocap.export.characters.character import Character, rest_soles
from selfmocap.export.characters.pose_transfer import Fit, PosedCharacter, pose_character
from selfmocap.export.characters.source import SourceMotion

_TOLERANCE = 0.004
"""Metres from the floor that a planted sole may keep, so that straight legs stay straight."""
_DEEPEST = 0.009
"""Metres below the floor that no sole exceeds, and above it no planted sole."""
_TOUCH_SECONDS = 0.03
"""Time over which the height of a planted foot is smoothed."""
_END_FRACTION = 0.1
"""Of the length of a sole: its ends."""
_OFFSET_SECONDS = 0.25
"""Time over which an offset returns towards 0."""
_PIVOT_SECONDS = 0.05
"""Time before and after a step over which the motion of the ends is compared."""
_HIP_SECONDS = 0.1
_STRAIGHT_SINE = 0.2
_PLANTED_WEIGHT = 1e4
_MAX_REACH = 0.985
"""A leg is not stretched beyond this fraction of its length, or beyond the body's own stretch."""
_SINK_SECONDS = 0.15
_UP = np.array([0.0, 1.0, 0.0])
_HINGE_WEIGHT = 0.1
"""Of the knee's own axis against that of its bend, which a straight knee lacks."""

_Turned = dict[int, Float[ndarray, "time 3 3"]]


def plant_feet(
    source: SourceMotion,
    character: Character,
    fit: Fit,
    turned: Mapping[int, Float[ndarray, "time 3 3"]],
    root: Float[ndarray, "time 3"],
) -> tuple[_Turned, Float[ndarray, "time 3"]]:
    """Return the rotations in the world and the path of the pelvis with the feet planted.

    `turned` and `root` are those of the transferred pose (`transfer_rotations`, `root_path`)."""
    posed, planted = pose_character(character, turned, root), np.any(source.planted, axis=2)
    root = root + _hip_shift(
        character, posed, _foot_offsets(source, character, fit, posed), planted, source.fps
    )
    posed = pose_character(character, turned, root)
    ankles = np.stack([posed.p_world[character.bones.joints[f"{side}_ankle"]] for side in HAND_SIDES], axis=1)
    ankles += _foot_offsets(source, character, fit, posed)  # Those that the hips have not taken over.
    root = root - _lowering(character, posed, ankles, planted, source.fps)[:, None] * _UP
    posed = pose_character(character, turned, root)
    bent = dict(turned)
    for k, side in enumerate(HAND_SIDES):
        nodes = [character.bones.joints[f"{side}_{part}"] for part in ("hip", "knee", "ankle")]
        hinge = source.R_world_joint[:, JOINT[f"{side}_knee"], :, 0]
        bent[nodes[0]], bent[nodes[1]] = reach(
            [posed.p_world[node] for node in nodes], ankles[:, k], hinge, [turned[node] for node in nodes[:2]]
        )
    return bent, root


def _foot_offsets(
    source: SourceMotion, character: Character, fit: Fit, posed: PosedCharacter
) -> Float[ndarray, "time 2 3"]:
    """Compute the offset of each foot over time that plants it."""
    offsets = []
    for k, side in enumerate(HAND_SIDES):
        sole, planted = _sole(character, posed, side), source.planted[:, k]
        ends = _ends(sole, rest_soles(character, side), fit.forward)
        offset = _slide(ends, _pivots(source.ends[:, k], planted, source.fps), source.fps)
        offset[:, 1] = _rise(sole[..., 1].min(1), np.logical_or.reduce(planted, axis=1), fit.unit, source.fps)
        offsets.append(offset)
    return np.stack(offsets, axis=1)


def reach(
    leg: list[Float[ndarray, "time 3"]],
    ankle: Float[ndarray, "time 3"],
    hinge: Float[ndarray, "time 3"],
    turned: list[Float[ndarray, "time 3 3"]],
) -> list[Float[ndarray, "time 3 3"]]:
    """Bend a leg so that its ankle reaches a position, and return the rotations of thigh and shin in the world.

    `leg` are hip, knee and ankle, `turned` the rotations before, `hinge` the axis about which the knee bends. The knee
    bends in its own plane; the leg then turns by the smallest rotation. A leg is not stretched beyond _MAX_REACH of its
    length, unless it was before: there a knee would pop."""
    hip, knee, foot = leg
    thigh, shin = knee - hip, foot - knee
    lengths = np.linalg.norm(thigh, axis=1), np.linalg.norm(shin, axis=1)
    axis = np.cross(thigh, shin) / (lengths[0] * lengths[1])[:, None] + _HINGE_WEIGHT * hinge
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    wanted = ankle - hip
    longest = np.maximum(np.linalg.norm(foot - hip, axis=1), _MAX_REACH * (lengths[0] + lengths[1]))
    wanted = wanted * np.minimum(1, longest / np.maximum(np.linalg.norm(wanted, axis=1), 1e-9))[:, None]
    bend = np.zeros(len(hip))
    for _ in range(3):  # The first step is exact where the axis is that of the bend.
        now = np.linalg.norm(thigh + _turn(axis, bend, shin), axis=1)
        bend = bend + _flexion(np.linalg.norm(wanted, axis=1), *lengths) - _flexion(now, *lengths)
    aim = arc(thigh + _turn(axis, bend, shin), wanted)
    return [aim @ turned[0], aim @ rotation_about(axis, bend) @ turned[1]]


def _turn(axis: ndarray, angle: ndarray, vector: ndarray) -> Float[ndarray, "time 3"]:
    return np.einsum("tab,tb->ta", rotation_about(axis, angle), vector)


def _flexion(distance: ndarray, a: ndarray, b: ndarray) -> Float[ndarray, " time"]:
    """Compute the angle between two bones of lengths a and b whose ends are a distance apart; 0 if straight."""
    return np.arccos(np.clip((distance**2 - a**2 - b**2) / (2 * a * b), -1, 1))


def _sole(character: Character, posed: PosedCharacter, side: str) -> Float[ndarray, "time points 3"]:
    parts = []
    for node, points in character.soles[side]:
        parts.append(posed.p_world[node][:, None] + np.einsum("tab,pb->tpa", posed.R_world[node], points))
    return np.concatenate(parts, axis=1)


def _ends(
    sole: Float[ndarray, "time points 3"], rest: Float[ndarray, "points 3"], forward: ndarray
) -> Float[ndarray, "time 2 3"]:
    """Compute the middle of the hind and of the front end of a sole; `rest` are its points in the rest pose."""
    along = rest @ forward
    margin = _END_FRACTION * np.ptp(along)
    ends = along <= along.min() + margin, along >= along.max() - margin
    return np.stack([sole[:, end].mean(1) for end in ends], axis=1)


def _lowering(
    character: Character,
    posed: PosedCharacter,
    ankles: Float[ndarray, "time 2 3"],
    planted: ndarray,
    fps: float,
) -> Float[ndarray, " time"]:
    """Compute how far the hips have to sink for both planted feet to be in reach, as a smooth curve."""
    needed = np.zeros(len(ankles))
    for k, side in enumerate(HAND_SIDES):
        hip, knee, ankle = (
            posed.p_world[character.bones.joints[f"{side}_{p}"]] for p in ("hip", "knee", "ankle")
        )
        length = np.linalg.norm(knee - hip, axis=1) + np.linalg.norm(ankle - knee, axis=1)
        allowed = np.maximum(np.linalg.norm(ankle - hip, axis=1), _MAX_REACH * length)
        drop = hip - ankles[:, k]
        depth = np.sqrt(np.maximum(allowed**2 - drop[:, 0] ** 2 - drop[:, 2] ** 2, 0))
        needed = np.maximum(needed, (drop[:, 1] - depth) * planted[:, k])
    width = 2 * max(1, round(_SINK_SECONDS * fps)) + 1
    widest = scipy.ndimage.maximum_filter1d(needed, width, mode="nearest")
    return scipy.ndimage.uniform_filter1d(widest, width, mode="nearest")


def _rise(
    lowest: Float[ndarray, " time"], planted: Bool[ndarray, " time"], unit: float, fps: float
) -> Float[ndarray, " time"]:
    """Compute a smooth rise of a foot from the height of the lowest point of its sole: onto the floor where it is
    planted, out of the floor where it sinks, and back to 0 in the air."""
    tolerance, deepest = _TOLERANCE * unit, -_DEEPEST * unit
    known = planted | (lowest < -tolerance)
    wanted = np.clip(lowest, -tolerance, tolerance) - lowest
    steps = np.zeros(len(lowest) - 1)
    smooth = _solve(
        known * (_TOUCH_SECONDS * fps) ** -4.0, wanted, steps, steps, (_OFFSET_SECONDS * fps) ** -4.0
    )
    rise = np.maximum(smooth, deepest - lowest)
    return np.where(planted, np.minimum(rise, -deepest - lowest), rise)


def _hip_shift(
    character: Character,
    posed: PosedCharacter,
    offsets: Float[ndarray, "time 2 3"],
    planted: Bool[ndarray, "time 2"],
    fps: float,
) -> Float[ndarray, "time 3"]:
    """Compute a smooth motion of the hips along with the offsets of planted feet (Whittaker 1923), so that the legs
    keep their pose.

    The straighter leg counts more: the angle of a knee changes with 1 / sin(flexion) per change of its distance."""
    weights = np.zeros(planted.shape)
    for k, side in enumerate(HAND_SIDES):
        hip, knee, ankle = (
            posed.p_world[character.bones.joints[f"{side}_{p}"]] for p in ("hip", "knee", "ankle")
        )
        sine = np.linalg.norm(np.cross(knee - hip, ankle - knee), axis=1)
        sine /= np.linalg.norm(knee - hip, axis=1) * np.linalg.norm(ankle - knee, axis=1)
        weights[:, k] = planted[:, k] / (sine**2 + _STRAIGHT_SINE**2)
    total = weights.sum(1)
    values = (offsets * weights[..., None]).sum(1) / np.where(total > 0, total, 1)[:, None]
    weight, steps = (_HIP_SECONDS * fps) ** -4, np.zeros(len(values) - 1)
    return np.stack(
        [_solve(weight * (total > 0), values[:, k], steps, steps, 1e-3 * weight) for k in range(3)], 1
    )


def _pivots(
    ends: Float[ndarray, "time 2 3"], planted: Bool[ndarray, "time 2"], fps: float
) -> Bool[ndarray, "steps 2"]:
    """Find the end of the body's sole that stands in each step: of two planted ends the one that moves less around it.
    A foot that turns on its heel or its toes stands there; between both neither would stand."""
    stands = planted[1:] & planted[:-1]
    width = 2 * round(_PIVOT_SECONDS * fps) + 1

    def around(values: ndarray) -> ndarray:
        return scipy.ndimage.uniform_filter1d(values, width, axis=0, mode="constant")

    moved = (np.diff(ends[..., [0, 2]], axis=0) ** 2).sum(-1)
    moved = around(moved * stands) / np.maximum(around(stands.astype(float)), 1e-9)
    heel = stands[:, 0] & ~(stands[:, 1] & (moved[:, 1] < moved[:, 0]))
    return np.stack([heel, stands[:, 1] & ~heel], axis=1)


def _slide(
    ends: Float[ndarray, "time 2 3"], pivots: Bool[ndarray, "steps 2"], fps: float
) -> Float[ndarray, "time 3"]:
    """Compute the offset of a foot along the floor that holds the end that stands."""
    steps = -(np.diff(ends, axis=0) * pivots[..., None]).sum(1)
    none, ridge = np.zeros(len(ends)), (_OFFSET_SECONDS * fps) ** -4
    weights = np.where(pivots.any(1), _PLANTED_WEIGHT, 0.0)
    return np.stack([_solve(none, none, weights, steps[:, k], ridge) for k in range(3)], 1)


def _solve(
    weights: Float[ndarray, " time"],
    values: Float[ndarray, " time"],
    step_weights: Float[ndarray, " steps"],
    steps: Float[ndarray, " steps"],
    ridge: float,
) -> Float[ndarray, " time"]:
    """Minimise sum w (x - values)^2 + sum k (dx - steps)^2 + sum (ddx)^2 + ridge sum x^2 over the curve x."""
    D = _differences(len(weights))
    DD = _differences(len(steps)) @ D
    K, W = scipy.sparse.diags_array(step_weights), scipy.sparse.diags_array(weights + ridge)
    A = W + D.T @ K @ D + DD.T @ DD
    return np.asarray(scipy.sparse.linalg.spsolve(A.tocsc(), weights * values + D.T @ (step_weights * steps)))


def _differences(count: int) -> scipy.sparse.csr_array:
    """Return the matrix of the differences between neighbours of `count` values."""
    rows, ones = np.arange(max(count - 1, 0)), np.ones(max(count - 1, 0))
    entries = np.concatenate([-ones, ones]), (np.tile(rows, 2), np.concatenate([rows, rows + 1]))
    return scipy.sparse.csr_array(entries, shape=(len(rows), count))
