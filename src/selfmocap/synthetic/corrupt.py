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

    noise: float = 0.02
    """Largest standard deviation of a clip's independent noise; each clip's is drawn uniformly below it."""
    drift: float = 0.014
    """Standard deviation of the slow error of each keypoint, and of a slow error that all keypoints share."""
    gross: float = 0.02
    """Fraction of outliers, with a standard deviation of 0.09 of the size."""
    missed: float = 0.03
    """Fraction of keypoints that are not detected."""
    limb_missed: float = 0.05
    """Fraction of frames in which a whole limb is not detected."""
    swapped: float = 0.02
    """Fraction of frames with left and right swapped: of all keypoints, of the arms, of the legs."""
    clean: float = 0.1
    """Fraction of clips without any of these errors."""
    confidence_noise: float = 0.3
    """Largest random reduction of a confidence that does not depend on the keypoint's error."""
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


_RELATIVE_ERROR = {
    "eye": 0.4,
    "ear": 0.5,
    "nose": 0.4,
    "hip": 1.5,
    "wrist": 1.2,
    "ankle": 1.1,
    "toe": 1.2,
    "heel": 1.1,
}
"""Localisation error of keypoints relative to a shoulder's."""


def _keypoints_named(*parts: str) -> list[int]:
    """Return the indices of the keypoints whose names contain one of the words."""
    return [i for i, name in enumerate(DEFAULT_KEYPOINTS.names) if any(part in name for part in parts)]


_ARMS = _keypoints_named("shoulder", "elbow", "wrist")
_LEGS = _keypoints_named("hip", "knee", "ankle", "toe", "heel")
_TORSO = _keypoints_named("shoulder", "hip")
_LIMBS = [
    [i for i in _keypoints_named(*parts) if i in _keypoints_named(side)]
    for side in ("left", "right")
    for parts in (("elbow", "wrist"), ("knee", "ankle", "toe", "heel"))
]


def _relative_errors() -> np.ndarray:
    return np.array([
        next((size for part, size in _RELATIVE_ERROR.items() if part in name), 1.0) for name in DEFAULT_KEYPOINTS.names
    ])  # fmt: skip


@dataclass(frozen=True, eq=False)
class DetectionErrors:
    """Errors of the keypoints of some clips, drawn independently of visibility."""

    offset: np.ndarray
    """(clips, frames, keypoints, 2), in sizes of the person."""
    hidden_offset: np.ndarray
    """(clips, frames, keypoints, 2): the additional offset of occluded keypoints, in sizes of the person."""
    missed: np.ndarray
    """(clips, frames, keypoints) bool."""
    source: np.ndarray
    """(clips, frames, keypoints) int: the index of the true keypoint that each detected one is taken from."""
    confidence_factor: np.ndarray
    """(clips, frames, keypoints) in [0, 1]: a factor of the confidence that does not depend on the error."""
    binary_confidence: np.ndarray
    """(clips, 1, 1) bool: confidences are 1 for every detected keypoint."""


def sample_errors(
    rng: np.random.Generator, config: KeypointErrors, clips: int, frames: int
) -> DetectionErrors:
    """Draw errors. Slow errors have a time constant of about ten frames."""
    points = len(DEFAULT_KEYPOINTS.names)
    shape, multiple = (clips, frames, points), _relative_errors()[:, None]
    scale = (rng.random((clips, 1, 1)) >= config.clean).astype(float)
    noise = rng.uniform(0, config.noise, (clips, 1, 1, 1)) * rng.normal(size=(*shape, 2)) * multiple
    drift = (
        rng.uniform(0, 1.6, (clips, 1, 1, 1))
        * config.drift
        * _slow_noise(rng, clips, frames, points)
        * multiple
    )
    shared = rng.uniform(0, 1.6, (clips, 1, 1, 1)) * config.drift * _slow_noise(rng, clips, frames, 1)
    gross = (rng.random(shape) < config.gross)[..., None] * rng.normal(0, 0.09, (*shape, 2))
    missed = rng.random(shape) < config.missed
    for limb in _LIMBS:
        missed[..., limb] |= _sample_runs(rng, clips, frames, config.limb_missed / 2)[..., None]
    missed &= scale > 0
    confidence_factor = 1 - config.confidence_noise * rng.random(shape) * rng.random((clips, 1, 1)) * scale
    hidden_offset = rng.normal(0, 0.03, (*shape, 2)) * scale[..., None] * multiple
    return DetectionErrors(
        (noise + drift + shared + gross) * scale[..., None],
        hidden_offset,
        missed,
        _sample_swaps(rng, config, scale, shape),
        confidence_factor,
        rng.random((clips, 1, 1)) < config.binary_confidence,
    )


def _slow_noise(rng: np.random.Generator, clips: int, frames: int, points: int) -> np.ndarray:
    """Draw (clips, frames, points, 2) slow noise of unit variance: random knots every ten frames, smoothly joined."""
    knots = rng.normal(size=(clips, frames // 10 + 2, points, 2))
    position = np.arange(frames) / 10
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
    return sources + errors.offset * size[..., None, None]


def hidden_displacement(errors: DetectionErrors, visible: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Compute the additional displacement (clips, frames, keypoints, 2), px, of occluded keypoints. `visible` is bool
    for each TRUE keypoint, `size` as in `displaced_keypoints`."""
    hidden = ~np.take_along_axis(visible, errors.source, axis=2)
    return errors.hidden_offset * (size[..., None] * hidden)[..., None]


def sample_confidence(
    rng: np.random.Generator, errors: DetectionErrors, visible: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Draw confidences (clips, frames, keypoints) in [0, 1]. `visible` and `inside` (the image) are bool for each TRUE
    keypoint.

    Visible keypoints have 0.75 to 1, occluded ones mostly below 0.5, those outside the image almost 0. Shoulders and
    hips have high confidence even if they are occluded, as BlazePose's do."""
    visible = np.take_along_axis(visible, errors.source, axis=2)
    inside = np.take_along_axis(inside, errors.source, axis=2)
    visible_confidence = 1 - 0.25 * rng.random(visible.shape) ** 2
    hidden = 0.03 + 0.6 * rng.random(visible.shape) ** 1.5
    confidence = np.where(visible, visible_confidence, hidden)
    confidence[..., _TORSO] = np.maximum(
        confidence[..., _TORSO], 0.85 + 0.15 * rng.random((*visible.shape[:2], len(_TORSO)))
    )
    confidence = np.where(inside, confidence, 0.06 * rng.random(visible.shape))
    return np.where(
        errors.missed, 0.0, np.where(errors.binary_confidence, inside, confidence * errors.confidence_factor)
    )


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
