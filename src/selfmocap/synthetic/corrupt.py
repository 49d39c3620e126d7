"""Turns exact evidence into what a detector would have given: errors that drift, swaps, misses, and a confidence that
tells the truth only partly."""

from dataclasses import dataclass

import numpy as np

from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.kernels import njit_cached, parallel_for


@dataclass(frozen=True)
class KeypointErrors:
    """Sizes are shares of the person's size in the image (the larger side of the box around it)."""

    noise: float = 0.02
    """Greatest standard deviation of a clip's independent noise; each clip's is uniform below it."""
    drift: float = 0.014
    """Standard deviation of each keypoint's slow error, and of an error that all keypoints share."""
    gross: float = 0.02
    """Share of keypoints that are far off (0.09 of the size)."""
    missed: float = 0.03
    """Share of keypoints that are not found."""
    limb_missed: float = 0.05
    """Share of frames in which a whole limb is not found."""
    swapped: float = 0.02
    """Share of frames with left and right swapped: in all, of the arms, of the legs."""
    clean: float = 0.1
    """Share of clips without any of these errors."""
    believed: float = 0.3
    """How far a confidence may be off, for reasons that have nothing to do with the keypoint."""
    blind: float = 0.0
    """Share of clips whose confidences say only what was found, as those of keypoints that were set by hand."""


@dataclass(frozen=True)
class MaskErrors:
    """Lengths are shares of the mask's side."""

    edge: float = 0.012
    """Standard deviation of how far the edge is moved, out or in, in waves."""
    hole: float = 0.12
    """Share of masks with a hole, or a piece too much."""


@dataclass(frozen=True)
class CorruptionConfig:
    """How bad the detector is."""

    keypoints: KeypointErrors = KeypointErrors()
    masks: MaskErrors = MaskErrors()


_MULTIPLE = {
    "eye": 0.4,
    "ear": 0.5,
    "nose": 0.4,
    "hip": 1.5,
    "wrist": 1.2,
    "ankle": 1.1,
    "toe": 1.2,
    "heel": 1.1,
}
"""How much worse than a shoulder a keypoint is located."""


def _named(*parts: str) -> list[int]:
    """The keypoints whose names hold one of the words."""
    return [i for i, name in enumerate(DEFAULT_KEYPOINTS.names) if any(part in name for part in parts)]


_ARMS = _named("shoulder", "elbow", "wrist")
_LEGS = _named("hip", "knee", "ankle", "toe", "heel")
_TORSO = _named("shoulder", "hip")
_LIMBS = [
    [i for i in _named(*parts) if i in _named(side)]
    for side in ("left", "right")
    for parts in (("elbow", "wrist"), ("knee", "ankle", "toe", "heel"))
]


def _multiples() -> np.ndarray:
    return np.array([
        next((size for part, size in _MULTIPLE.items() if part in name), 1.0) for name in DEFAULT_KEYPOINTS.names
    ])  # fmt: skip


@dataclass(frozen=True, eq=False)
class DetectionErrors:
    """What goes wrong with the keypoints of some clips, before anything is known of what is visible."""

    shift: np.ndarray
    """(clips, frames, keypoints, 2) in sizes of the person."""
    extra: np.ndarray
    """(clips, frames, keypoints, 2): added where a keypoint cannot be seen."""
    missed: np.ndarray
    """(clips, frames, keypoints) bool."""
    source: np.ndarray
    """(clips, frames, keypoints) int: from which keypoint each one's place is taken."""
    doubt: np.ndarray
    """(clips, frames, keypoints): confidence without reason, a factor in [0, 1]."""
    blind: np.ndarray
    """(clips, 1, 1) bool: confidences are 1 where anything was found."""


def sample_errors(
    rng: np.random.Generator, config: KeypointErrors, clips: int, frames: int
) -> DetectionErrors:
    """Draws what goes wrong; slow errors have a time constant of some ten frames."""
    points = len(DEFAULT_KEYPOINTS.names)
    shape, multiple = (clips, frames, points), _multiples()[:, None]
    able = (rng.random((clips, 1, 1)) >= config.clean).astype(float)
    noise = rng.uniform(0, config.noise, (clips, 1, 1, 1)) * rng.normal(size=(*shape, 2)) * multiple
    drift = (
        rng.uniform(0, 1.6, (clips, 1, 1, 1)) * config.drift * _slow(rng, clips, frames, points) * multiple
    )
    shared = rng.uniform(0, 1.6, (clips, 1, 1, 1)) * config.drift * _slow(rng, clips, frames, 1)
    gross = (rng.random(shape) < config.gross)[..., None] * rng.normal(0, 0.09, (*shape, 2))
    missed = rng.random(shape) < config.missed
    for limb in _LIMBS:
        missed[..., limb] |= _runs(rng, clips, frames, config.limb_missed / 2)[..., None]
    missed &= able > 0
    doubt = 1 - config.believed * rng.random(shape) * rng.random((clips, 1, 1)) * able
    extra = rng.normal(0, 0.03, (*shape, 2)) * able[..., None] * multiple
    return DetectionErrors(
        (noise + drift + shared + gross) * able[..., None],
        extra,
        missed,
        _swaps(rng, config, able, shape),
        doubt,
        rng.random((clips, 1, 1)) < config.blind,
    )


def _slow(rng: np.random.Generator, clips: int, frames: int, points: int) -> np.ndarray:
    """(clips, frames, points, 2) of unit variance that wanders: random knots every ten frames, joined smoothly."""
    knots = rng.normal(size=(clips, frames // 10 + 2, points, 2))
    position = np.arange(frames) / 10
    before = position.astype(int)
    share = (position - before)[:, None, None] * (np.pi / 2)
    return knots[:, before] * np.cos(share) + knots[:, before + 1] * np.sin(share)


def _runs(rng: np.random.Generator, clips: int, frames: int, share: float, length: float = 4.0) -> np.ndarray:
    """(clips, frames) bool: true in about that share of frames, in runs of about that length."""
    state = rng.random(clips) < share
    runs = np.empty((clips, frames), bool)
    for frame in range(frames):
        runs[:, frame] = state
        state = np.where(rng.random(clips) < 1 / length, rng.random(clips) < share, state)
    return runs


def _swaps(
    rng: np.random.Generator, config: KeypointErrors, able: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    source = np.broadcast_to(np.arange(shape[2]), shape).copy()
    mirror = np.array(DEFAULT_KEYPOINTS.mirror)
    for swapped in (list(range(shape[2])), _ARMS, _LEGS):
        chosen = _runs(rng, shape[0], shape[1], config.swapped) & (able[..., 0] > 0)
        own = source[..., swapped]
        source[..., swapped] = np.where(chosen[..., None], mirror[own], own)
    return source


def displaced(errors: DetectionErrors, keypoints: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(clips, frames, keypoints, 2) px: the places that a detector gives for true ones if all can be seen. `size`
    (clips, frames) is the person's size in px."""
    places = np.take_along_axis(keypoints, errors.source[..., None], axis=2)
    return places + errors.shift * size[..., None, None]


def misplaced(errors: DetectionErrors, visible: np.ndarray, size: np.ndarray) -> np.ndarray:
    """(clips, frames, keypoints, 2) px: by how much more a detector errs on what it cannot see. `visible` is bool for
    each TRUE keypoint, `size` as in `displaced`."""
    hidden = ~np.take_along_axis(visible, errors.source, axis=2)
    return errors.extra * (size[..., None] * hidden)[..., None]


def confidence_of(
    rng: np.random.Generator, errors: DetectionErrors, visible: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """(clips, frames, keypoints) in [0, 1]. `visible` and `inside` (the image) are bool for each TRUE keypoint.

    Seen points get 0.75 to 1, hidden ones mostly below 0.5, those outside the image next to nothing; shoulders and
    hips are believed even where they are hidden, as MediaPipe does."""
    visible = np.take_along_axis(visible, errors.source, axis=2)
    inside = np.take_along_axis(inside, errors.source, axis=2)
    seen = 1 - 0.25 * rng.random(visible.shape) ** 2
    hidden = 0.03 + 0.6 * rng.random(visible.shape) ** 1.5
    confidence = np.where(visible, seen, hidden)
    confidence[..., _TORSO] = np.maximum(
        confidence[..., _TORSO], 0.85 + 0.15 * rng.random((*visible.shape[:2], len(_TORSO)))
    )
    confidence = np.where(inside, confidence, 0.06 * rng.random(visible.shape))
    return np.where(errors.missed, 0.0, np.where(errors.blind, inside, confidence * errors.doubt))


# ---- masks ----------------------------------------------------------------------------------------------------


def corrupt_masks(
    rng: np.random.Generator, config: MaskErrors, person: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """(pictures, side, side) bool: masks whose edge is moved in waves, with holes, and with what is held.

    person: (pictures, side, side) float32, the share of each pixel that the person covers. held: the same of things
    that a detector may count as the person's."""
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
    taken = (rng.random(count) < 0.7)[:, None, None]
    out = np.zeros(person.shape, np.bool_)
    given = np.maximum(person, held * taken).astype(np.float32)
    parallel_for(_corrupt_masks, count, given, shift, spot, out)
    return out


_WAVES = 6


@njit_cached
def _corrupt_masks(first, last, given, shift, spot, out):
    side = given.shape[1]
    radius = 2
    for n in range(first, last):
        sums = _integral(given[n])
        centre_y, centre_x, reach = spot[n, 0] * side, spot[n, 1] * side, spot[n, 2] * side
        for row in range(side):
            top, bottom = max(row - radius, 0), min(row + radius + 1, side)
            for column in range(side):
                left, right = max(column - radius, 0), min(column + radius + 1, side)
                total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
                share = total / ((bottom - top) * (right - left))
                moved = _at(shift[n], row / side, column / side)
                # Across an edge the mean of a window of 2 radius + 1 grows by 1 / (2 radius + 1) a pixel.
                out[n, row, column] = share + moved / (2 * radius + 1) > 0.5 and total > 0.0
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
def _at(table, v, u):
    """A coarse table, bilinearly, at fractions of its extent."""
    last = len(table) - 1
    y, x = v * last, u * last
    i, j = int(y), int(x)
    y, x = y - i, x - j
    i1, j1 = min(i + 1, last), min(j + 1, last)
    above = table[i, j] * (1 - x) + table[i, j1] * x
    below = table[i1, j] * (1 - x) + table[i1, j1] * x
    return above * (1 - y) + below * y
