"""Corrupt exact keypoints and masks like a detector: drifting errors, swaps, misses, and a confidence that is only
partly informative."""

from dataclasses import dataclass

import numpy as np

from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.kernels import njit_cached, parallel_for


@dataclass(frozen=True)
class KeypointErrors:
    """Configure errors of keypoints. Lengths are fractions of the person's size in the image, the larger side of their
    bounding box."""

    noise: float = 0.009
    """Largest standard deviation of the independent noise of shoulders; each clip's is drawn uniformly below it."""
    drift: float = 0.013
    """Standard deviation of the slow error of each keypoint. A slow error that all share is smaller, an additional one
    of occluded keypoints larger, in fixed proportions."""
    bias: float = 1.0
    """Mean factor of the constant errors; each clip's is drawn uniformly below twice it."""
    gross: float = 0.025
    """Fraction of outliers, in runs of some frames; more of the occluded keypoints are outliers."""
    missed: float = 0.006
    """Fraction of keypoints that are not detected."""
    limb_missed: float = 0.01
    """Fraction of frames in which a whole limb is not detected."""
    swapped: float = 0.016
    """Fraction of frames with left and right swapped: of all keypoints, of the arms, of the legs."""
    clean: float = 0.1
    """Fraction of clips without any of these errors."""
    binary_confidence: float = 0.0
    """Fraction of clips whose confidences are 1 for every detected keypoint, as for keypoints labelled by hand."""


@dataclass(frozen=True)
class MaskErrors:
    """Configure errors of masks. Lengths are fractions of the mask's side."""

    edge: float = 0.012
    """Standard deviation of the wavy displacement of the edge."""
    hole: float = 0.12
    """Fraction of masks with a hole or an extra spot."""


@dataclass(frozen=True)
class CorruptionConfig:
    """Configure all detection errors."""

    keypoints: KeypointErrors = KeypointErrors()
    masks: MaskErrors = MaskErrors()


_RELATIVE_NOISE = {"eye": 0.8, "ear": 0.8, "nose": 0.85, "shoulder": 1.0, "elbow": 1.8, "wrist": 2.1, "hip": 1.0,
                   "knee": 1.4, "ankle": 1.5, "toe": 1.8, "heel": 1.7}  # fmt: skip
"""Independent noise of keypoints relative to a shoulder's."""
_BIAS = {"eye": -0.009, "ear": -0.001, "nose": -0.008, "shoulder": -0.01, "elbow": -0.005, "wrist": -0.003,
         "hip": -0.004, "knee": -0.0075, "ankle": -0.0045, "toe": -0.005, "heel": -0.0025}  # fmt: skip
"""Mean error down the torso, in sizes of the person: detectors and the body's landmarks differ in what they call a
shoulder or a nose."""
_SHARED_DRIFT, _HIDDEN_DRIFT, _HIDDEN_GROSS = 0.55, 1.3, 3.2
"""Shared and additional slow errors, and additional outliers of occluded keypoints, by `drift` and `gross`."""
_GROSS = 0.12
"""Standard deviation of outliers, in sizes of the person."""
_KNOT_FRAMES = 22
"""Frames from one knot of a slow error to the next."""
_CONFIDENCE_DISTANCES = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.2])
_CONFIDENCE_RANKS = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])
_CONFIDENCES = np.array([
    [0.45, 0.65, 0.93, 0.97, 0.988, 0.997, 1.0],
    [0.38, 0.58, 0.90, 0.958, 0.983, 0.995, 1.0],
    [0.30, 0.45, 0.86, 0.94, 0.977, 0.995, 1.0],
    [0.25, 0.40, 0.75, 0.87, 0.95, 0.988, 1.0],
    [0.20, 0.35, 0.65, 0.82, 0.94, 0.985, 1.0],
    [0.15, 0.25, 0.48, 0.70, 0.87, 0.98, 1.0],
    [0.12, 0.20, 0.40, 0.57, 0.75, 0.93, 0.98],
    [0.05, 0.10, 0.25, 0.37, 0.52, 0.75, 0.85],
    [0.0, 0.03, 0.14, 0.25, 0.37, 0.55, 0.65],
])  # fmt: skip
"""Quantiles (_CONFIDENCE_RANKS) of the confidences of keypoints whose errors lie between two _CONFIDENCE_DISTANCES;
those of occluded keypoints are the same."""


def _keypoints_named(*parts: str) -> list[int]:
    """Return the indices of the keypoints whose names contain one of the words."""
    return [i for i, name in enumerate(DEFAULT_KEYPOINTS.names) if any(part in name for part in parts)]


_ARMS = _keypoints_named("shoulder", "elbow", "wrist")
_LEGS = _keypoints_named("hip", "knee", "ankle", "toe", "heel")
_LIMBS = [
    [i for i in _keypoints_named(*parts) if i in _keypoints_named(side)]
    for side in ("left", "right")
    for parts in (("elbow", "wrist"), ("knee", "ankle", "toe", "heel"))
]


def _by_keypoint(values: dict[str, float]) -> np.ndarray:
    """Return the value of each keypoint whose name contains a key."""
    return np.array(
        [next(v for part, v in values.items() if part in name) for name in DEFAULT_KEYPOINTS.names]
    )


@dataclass(frozen=True, eq=False)
class DetectionErrors:
    """Errors of the keypoints of some clips, drawn independently of visibility."""

    offset: np.ndarray
    """(clips, frames, keypoints, 2), in sizes of the person."""
    bias: np.ndarray
    """(clips, 1, keypoints): the constant part down the torso, in sizes of the person."""
    hidden_offset: np.ndarray
    """(clips, frames, keypoints, 2): the additional offset of occluded keypoints, in sizes of the person."""
    missed: np.ndarray
    """(clips, frames, keypoints) bool."""
    source: np.ndarray
    """(clips, frames, keypoints) int: the index of the true keypoint that each detected one is taken from."""
    confidence_rank: np.ndarray
    """(clips, frames, keypoints) in [0, 1]: the rank of a confidence among those of equal errors."""
    binary_confidence: np.ndarray
    """(clips, 1, 1) bool: confidences are 1 for every detected keypoint."""


def sample_errors(
    rng: np.random.Generator, config: KeypointErrors, clips: int, frames: int
) -> DetectionErrors:
    """Draw errors. Slow errors change within some 20 frames."""
    points = len(DEFAULT_KEYPOINTS.names)
    shape = clips, frames, points
    scale = (rng.random((clips, 1, 1)) >= config.clean).astype(float)
    noise = rng.uniform(0, config.noise, (clips, 1, 1, 1)) * rng.normal(size=(*shape, 2))
    noise *= _by_keypoint(_RELATIVE_NOISE)[:, None]
    drift, shared = (
        deviation * rng.uniform(0, 1.6, (clips, 1, 1, 1)) * _slow_noise(rng, clips, frames, count)
        for deviation, count in ((config.drift, points), (_SHARED_DRIFT * config.drift, 1))
    )
    hidden = _HIDDEN_DRIFT * config.drift * _slow_noise(rng, clips, frames, points)
    gross, hidden_gross = (
        _GROSS * _slow_noise(rng, clips, frames, points) * _sample_point_runs(rng, shape, fraction)[..., None]
        for fraction in (config.gross, _HIDDEN_GROSS * config.gross)
    )
    missed = rng.random(shape) < config.missed
    for limb in _LIMBS:
        missed[..., limb] |= _sample_runs(rng, clips, frames, config.limb_missed / 2)[..., None]
    missed &= scale > 0
    return DetectionErrors(
        (noise + drift + shared + gross) * scale[..., None],
        config.bias * rng.uniform(0, 2, (clips, 1, 1)) * _by_keypoint(_BIAS) * scale,
        (hidden + hidden_gross) * scale[..., None],
        missed,
        _sample_swaps(rng, config, scale, shape),
        rng.random(shape),
        rng.random((clips, 1, 1)) < config.binary_confidence,
    )


def _slow_noise(rng: np.random.Generator, clips: int, frames: int, points: int) -> np.ndarray:
    """Draw (clips, frames, points, 2) slow noise of unit variance: random knots, smoothly joined."""
    knots = rng.normal(size=(clips, frames // _KNOT_FRAMES + 2, points, 2))
    position = np.arange(frames) / _KNOT_FRAMES
    before = position.astype(int)
    fraction = (position - before)[:, None, None] * (np.pi / 2)
    return knots[:, before] * np.cos(fraction) + knots[:, before + 1] * np.sin(fraction)


def _sample_runs(
    rng: np.random.Generator, clips: int, frames: int, fraction: float, length: float = 4.0
) -> np.ndarray:
    """Draw (clips, frames) bool that is true in about this fraction of frames, in runs of this mean length."""
    state = rng.random(clips) < fraction
    runs = np.empty((clips, frames), bool)
    for frame in range(frames):
        runs[:, frame] = state
        state = np.where(rng.random(clips) < 1 / length, rng.random(clips) < fraction, state)
    return runs


def _sample_point_runs(rng: np.random.Generator, shape: tuple[int, int, int], fraction: float) -> np.ndarray:
    """Draw `_sample_runs` for each keypoint of (clips, frames, keypoints)."""
    clips, frames, points = shape
    return _sample_runs(rng, clips * points, frames, fraction).reshape(clips, points, frames).swapaxes(1, 2)


def _sample_swaps(
    rng: np.random.Generator, config: KeypointErrors, scale: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    source = np.broadcast_to(np.arange(shape[2]), shape).copy()
    mirror = np.array(DEFAULT_KEYPOINTS.mirror)
    for swapped in (list(range(shape[2])), _ARMS, _LEGS):
        chosen = _sample_runs(rng, shape[0], shape[1], config.swapped) & (scale[..., 0] > 0)
        own = source[..., swapped]
        source[..., swapped] = np.where(chosen[..., None], mirror[own], own)
    return source


def displaced_keypoints(errors: DetectionErrors, keypoints: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Compute the positions (clips, frames, keypoints, 2), px, that a detector reports for true keypoints if all are
    visible. `size` (clips, frames) is the person's size, px."""
    sources = np.take_along_axis(keypoints, errors.source[..., None], axis=2)
    bias = errors.bias[..., None] * _down_the_torso(keypoints)[:, :, None]
    return sources + (errors.offset + bias) * size[..., None, None]


def _down_the_torso(keypoints: np.ndarray) -> np.ndarray:
    """Compute the direction (clips, frames, 2) from shoulders to hips; 0 if they coincide."""
    shoulders, hips = (keypoints[:, :, _keypoints_named(part)].mean(2) for part in ("shoulder", "hip"))
    return (hips - shoulders) / np.maximum(np.linalg.norm(hips - shoulders, axis=-1, keepdims=True), 1e-6)


def hidden_displacement(errors: DetectionErrors, visible: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Compute the additional displacement (clips, frames, keypoints, 2), px, of occluded keypoints. `visible` is bool
    for each TRUE keypoint, `size` as in `displaced_keypoints`."""
    hidden = ~np.take_along_axis(visible, errors.source, axis=2)
    return errors.hidden_offset * (size[..., None] * hidden)[..., None]


def sample_confidence(
    rng: np.random.Generator,
    errors: DetectionErrors,
    distance: np.ndarray,
    inside: np.ndarray,
) -> np.ndarray:
    """Draw confidences (clips, frames, keypoints) in [0, 1], which fall as the `distance` of a detected keypoint from
    the true one rises (sizes of the person). `inside` (the image) is bool for each TRUE keypoint; outside it
    confidences are almost 0."""
    inside = np.take_along_axis(inside, errors.source, axis=2)
    row = np.searchsorted(_CONFIDENCE_DISTANCES, distance, side="right")
    column = np.searchsorted(_CONFIDENCE_RANKS, errors.confidence_rank, side="right") - 1
    column = np.minimum(column, len(_CONFIDENCE_RANKS) - 2)
    low, high = _CONFIDENCE_RANKS[column], _CONFIDENCE_RANKS[column + 1]
    fraction = (errors.confidence_rank - low) / (high - low)
    confidence = (1 - fraction) * _CONFIDENCES[row, column] + fraction * _CONFIDENCES[row, column + 1]
    confidence = np.where(inside, confidence, 0.06 * rng.random(inside.shape))
    return np.where(errors.missed, 0.0, np.where(errors.binary_confidence, inside, confidence))


# ---- masks ----------------------------------------------------------------------------------------------------


def corrupt_masks(
    rng: np.random.Generator, config: MaskErrors, person: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Compute masks (images, side, side) bool with a wavy edge, holes, and held objects.

    person: (images, side, side) float32, the fraction of each pixel that the person covers. held: the same of objects
    that a detector may include in the person."""
    count, side = person.shape[:2]
    amount = rng.normal(0, config.edge, count) * side
    wave = (
        rng.normal(0, 1, (count, _WAVES, _WAVES)) * np.abs(rng.normal(0, config.edge, (count, 1, 1))) * side
    )
    shift = (amount[:, None, None] + wave).astype(np.float32)
    spot = np.stack(
        [
            rng.random(count),
            rng.random(count),
            rng.uniform(0.02, 0.12, count),
            rng.random(count) - config.hole / 2,
        ],
        -1,
    )
    spot[:, 3] = np.where(rng.random(count) < config.hole, np.where(rng.random(count) < 0.7, -1, 1), 0)
    includes_held = (rng.random(count) < 0.7)[:, None, None]
    out = np.zeros(person.shape, np.bool_)
    covered = np.maximum(person, held * includes_held).astype(np.float32)
    parallel_for(_corrupt_masks, count, covered, shift, spot, out)
    return out


_WAVES = 6


@njit_cached
def _corrupt_masks(first, last, covered, shift, spot, out):
    side = covered.shape[1]
    radius = 2
    for n in range(first, last):
        sums = _integral(covered[n])
        centre_y, centre_x, reach = spot[n, 0] * side, spot[n, 1] * side, spot[n, 2] * side
        for row in range(side):
            top, bottom = max(row - radius, 0), min(row + radius + 1, side)
            for column in range(side):
                left, right = max(column - radius, 0), min(column + radius + 1, side)
                total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
                fraction = total / ((bottom - top) * (right - left))
                moved = _bilinear(shift[n], row / side, column / side)
                # Across an edge the mean of a window of 2 radius + 1 grows by 1 / (2 radius + 1) a pixel.
                out[n, row, column] = fraction + moved / (2 * radius + 1) > 0.5 and total > 0.0
                if spot[n, 3] != 0.0 and (row - centre_y) ** 2 + (column - centre_x) ** 2 < reach * reach:
                    out[n, row, column] = spot[n, 3] > 0.0


@njit_cached
def _integral(image):
    height, width = image.shape
    sums = np.zeros((height + 1, width + 1), np.float64)
    for row in range(height):
        line = 0.0
        for column in range(width):
            line += image[row, column]
            sums[row + 1, column + 1] = sums[row, column + 1] + line
    return sums


@njit_cached
def _bilinear(table, v, u):
    """Sample a coarse table bilinearly at fractions of its extent."""
    last = len(table) - 1
    y, x = v * last, u * last
    i, j = int(y), int(x)
    y, x = y - i, x - j
    i1, j1 = min(i + 1, last), min(j + 1, last)
    above = table[i, j] * (1 - x) + table[i, j1] * x
    below = table[i1, j] * (1 - x) + table[i1, j1] * x
    return above * (1 - y) + below * y
