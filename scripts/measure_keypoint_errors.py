"""Measure the errors of detected keypoints in synthetic clips, beside those that training draws (`KeypointErrors`).

    python scripts/measure_keypoint_errors.py [--clips 12] [--frames 24] [--motions MOTIONS --held-out SUBJECT ...]
        [--backgrounds IMAGES]

Prints a JSON object for each detector, and for the errors drawn for the same clips. Lengths are fractions of the
person's size in the image. `white` and `slow` are the standard deviations, per coordinate, of the parts of the errors
that differ from frame to frame and that stay; `slow_after_10` is the correlation of the latter over ten frames. Errors
above a tenth, and left taken for right, are counted apart. `bias` is the mean error, x to the person's left in the
image and y down the torso; `shared` is the standard deviation of the mean error of a person's keypoints. Confidences
are given by their quantiles 5, 25, 50, 75 and 95 %, in `confidence_by_error` for errors from 0, 0.01, 0.02, 0.03, 0.04,
0.05, 0.07, 0.1 and 0.2 on. Unknown numbers are null.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.synthetic import corrupt
from selfmocap.synthetic.backgrounds import Backgrounds, load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.batches import relative_distances
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import SyntheticClip, sample_clip, true_keypoints
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.synthetic.scene import figure_assets
from selfmocap.synthetic.shading import render_figures
from selfmocap.tracking.confidence import CONFIDENT_DISTANCE, DETECTED
from selfmocap.tracking.detectors.detection import window_around
from selfmocap.tracking.detectors.ensemble import PoseEnsemble
from selfmocap.tracking.detectors.keypoint_calibration import BLAZEPOSE, kind_of

SIDE, FPS = 512, 30.0
CAMERAS = CameraConfig(size=(SIDE, SIDE), distance=(2.4, 5.0), focal=(0.65, 1.2))
GROSS = 0.1
ERROR_EDGES = (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.2, np.inf)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
COLUMNS = [n for n, index in enumerate(DEFAULT_KEYPOINTS.indices_in(BLAZEPOSE)) if index is not None]
"""Keypoints of the networks that the detectors detect."""
SOURCES = [index for index in DEFAULT_KEYPOINTS.indices_in(BLAZEPOSE) if index is not None]
NAMES = [DEFAULT_KEYPOINTS.names[n] for n in COLUMNS]
MIRROR = [COLUMNS.index(DEFAULT_KEYPOINTS.mirror[n]) for n in COLUMNS]


class Detected(NamedTuple):
    """A clip's keypoints; NaN in frames in which the person is not found."""

    keypoints: Float[np.ndarray, "frames keypoints 2"]
    confidence: Float[np.ndarray, "frames keypoints"]


class Truth(NamedTuple):
    """A clip's true keypoints of the default set."""

    keypoints: Float[np.ndarray, "frames keypoints 2"]
    unoccluded: Bool[np.ndarray, "frames keypoints"]
    inside: Bool[np.ndarray, "frames keypoints"]

    @property
    def size(self) -> Float[np.ndarray, " frames"]:
        """The person's size in each frame, px."""
        return np.ptp(self.keypoints, axis=1).max(-1)


def truth_of(clip: SyntheticClip, body: Body) -> Truth:
    """Compute the true keypoints of a clip."""
    depth = render_figures(
        clip.scene.vertices, clip.windows.intrinsics, clip.scene.appearance, figure_assets(body).model, SIDE, 1, False
    ).depth  # fmt: skip
    name = DEFAULT_KEYPOINTS.name
    found = true_keypoints(clip, body, depth)
    inside = ((found[name] >= -0.5) & (found[name] <= SIDE - 0.5)).all(-1)
    return Truth(found[name].astype(float), found[f"{name} visible"] | ~inside, inside)


def detect(detector: PoseEnsemble, clip: SyntheticClip, truth: Truth) -> Detected:
    """Follow the person from the true window on; after a miss, from the true window again."""
    keypoints, confidence, window = [], [], None
    for image, true in zip(clip.images, truth.keypoints, strict=True):
        found = detector.detect_in_roi(image, window or window_around(true, np.ones(len(true))))
        window = found and found.window
        keypoints.append(found.keypoints[SOURCES] if found else np.full((len(SOURCES), 2), np.nan))
        confidence.append(found.confidence[SOURCES] if found else np.zeros(len(SOURCES)))
    return Detected(np.array(keypoints, float), np.array(confidence))


def drawn_errors(truth: Truth, seed: int) -> Detected:
    """Draw the errors that training would give to a clip that is not exact."""
    rng, size = np.random.default_rng(seed), truth.size[None]
    keypoints, unoccluded, inside = (array[None] for array in truth)
    errors = corrupt.sample_errors(rng, KeypointErrors(clean=0.0), 1, len(truth.keypoints))
    positions = corrupt.displaced_keypoints(errors, keypoints, size)
    positions = positions + corrupt.hidden_displacement(errors, unoccluded, size)
    distance = relative_distances(positions, keypoints, size)
    confidence = corrupt.sample_confidence(rng, errors, distance, inside)
    return Detected(positions[0][:, COLUMNS], confidence[0][:, COLUMNS])


def oriented(
    errors: Float[np.ndarray, "frames keypoints 2"], truth: Truth
) -> Float[np.ndarray, "frames keypoints 2"]:
    """Turn errors so that y points down the torso and x to the person's left."""
    index = DEFAULT_KEYPOINTS.index
    left, right = (
        (truth.keypoints[:, index(f"{side}_shoulder")] + truth.keypoints[:, index(f"{side}_hip")]) / 2
        for side in ("left", "right")
    )
    hips, shoulders = (
        (truth.keypoints[:, index(f"left_{joint}")] + truth.keypoints[:, index(f"right_{joint}")]) / 2
        for joint in ("hip", "shoulder")
    )
    down = (hips - shoulders) / np.maximum(np.linalg.norm(hips - shoulders, axis=-1, keepdims=True), 1e-6)
    across = np.stack([down[:, 1], -down[:, 0]], axis=-1)
    across *= np.where(((left - right) * across).sum(-1) >= 0, 1.0, -1.0)[:, None]
    return np.stack([np.einsum("fkd,fd->fk", errors, axis) for axis in (across, down)], axis=-1)


def measure(clips: list[tuple[Truth, Detected]]) -> dict[str, Any]:
    """Compute the statistics of all clips together."""
    truth = np.stack([true.keypoints[:, COLUMNS] for true, _ in clips])
    size = np.stack([true.size for true, _ in clips])[..., None]
    inside = np.stack([true.inside[:, COLUMNS] for true, _ in clips])
    found, confidence = (np.stack([getattr(d, field) for _, d in clips]) for field in Detected._fields)
    error = np.stack([oriented(d.keypoints - t.keypoints[:, COLUMNS], t) for t, d in clips]) / size[..., None]
    distance = np.linalg.norm(error, axis=-1)
    seen = np.stack([true.unoccluded[:, COLUMNS] for true, _ in clips])
    detected = (confidence >= DETECTED) & inside & np.isfinite(distance)
    opposite = np.linalg.norm(found - truth[:, :, MIRROR], axis=-1) / size
    swapped = detected & (distance > CONFIDENT_DISTANCE) & (opposite < 0.5 * distance)
    gross, fine = detected & (distance >= GROSS) & ~swapped, detected & (distance < GROSS) & ~swapped
    right = distance < CONFIDENT_DISTANCE
    kinds = {
        kind: [n for n, name in enumerate(NAMES) if kind_of(name) == kind] for kind in map(kind_of, NAMES)
    }
    return {
        "missed": fraction(~detected, inside),
        "swapped": fraction(swapped, detected),
        "gross": fraction(gross, detected),
        "all": spread(error, fine),
        "shared": rounded(error.mean(axis=2, where=fine[..., None])[fine.any(axis=2)].std()),
        "unoccluded": {"gross": fraction(gross, detected & seen), **spread(error, fine & seen)},
        "occluded": {"gross": fraction(gross, detected & ~seen), **spread(error, fine & ~seen)},
        "kinds": {
            kind: {**spread(error[:, :, n], fine[:, :, n]), "bias": bias(error[:, :, n], fine[:, :, n])}
            for kind, n in kinds.items()
        },
        "confidence_if_right": quantiles(confidence[detected & right]),
        "confidence_if_wrong": quantiles(confidence[detected & ~right]),
        "confidence_by_error": {
            name: [
                quantiles(
                    confidence[inside & np.isfinite(distance) & group & (distance >= low) & (distance < high)]
                )
                for low, high in itertools.pairwise(ERROR_EDGES)
            ]
            for name, group in (("unoccluded", seen), ("occluded", ~seen))
        },
    }


def fraction(chosen: Bool[np.ndarray, "..."], among: Bool[np.ndarray, "..."]) -> float:
    """Compute the fraction of `among` that is chosen."""
    return round(float((chosen & among).sum() / max(among.sum(), 1)), 4)


def spread(
    error: Float[np.ndarray, "clips frames n 2"], fine: Bool[np.ndarray, "clips frames n"]
) -> dict[str, float | None]:
    """Compute the white and the slow part of errors, per coordinate, from their covariance over time."""

    def covariance(lag: int) -> float:
        last = error.shape[1] - lag
        both = fine[:, :last] & fine[:, lag:]
        products = (error[:, :last] * error[:, lag:]).sum(-1) / 2
        return float(products[both].mean()) if both.any() else float("nan")

    total, near, far = covariance(0), covariance(1), covariance(min(10, error.shape[1] - 1))
    return {
        "white": rounded(np.sqrt(np.maximum(total - near, 0))),
        "slow": rounded(np.sqrt(np.maximum(near, 0))),
        "slow_after_10": rounded(far / near if near > 0 else np.nan),
    }


def rounded(number: float) -> float | None:
    """Round a number; None if it is unknown."""
    return None if np.isnan(number) else round(float(number), 4)


def bias(
    error: Float[np.ndarray, "clips frames n 2"], fine: Bool[np.ndarray, "clips frames n"]
) -> list[float]:
    """Compute the mean error."""
    return np.round(error[fine].mean(axis=0), 4).tolist() if fine.any() else []


def quantiles(values: Float[np.ndarray, " n"]) -> list[float]:
    """Return the quantiles QUANTILES."""
    return np.quantile(values, QUANTILES).round(3).tolist() if len(values) else []


def whole_clips(
    count: int, frames: int, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body
) -> Iterator[SyntheticClip]:
    """Render clips."""
    for number in range(count):
        yield sample_clip(np.random.SeedSequence(number), CAMERAS, frames, FPS, motions, backgrounds, body)


def main() -> None:
    """Render, detect, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--motions", type=Path, help="folder of recordings; procedural motion without it")
    parser.add_argument("--held-out", nargs="*", help="only these subjects of the recordings")
    parser.add_argument("--backgrounds", type=Path)
    options = parser.parse_args()
    body, motions = Body.load(), procedural_motions(Body.load())
    if options.motions:
        recordings = load_motions(options.motions, body)
        chosen = [r for r in recordings if not options.held_out or r.subject in options.held_out]
        motions = [from_recording(recording, body) for recording in chosen]
    backgrounds = load_backgrounds(options.backgrounds) if options.backgrounds else procedural_backgrounds()
    detectors = {quality: PoseEnsemble(quality) for quality in ("fast", "balanced")}
    clips: dict[str, list[tuple[Truth, Detected]]] = {name: [] for name in (*detectors, "drawn")}
    for number, clip in enumerate(whole_clips(options.clips, options.frames, motions, backgrounds, body)):
        truth = truth_of(clip, body)
        for name, detector in detectors.items():
            clips[name].append((truth, detect(detector, clip, truth)))
        clips["drawn"].append((truth, drawn_errors(truth, number)))
    print(json.dumps({name: measure(rows) for name, rows in clips.items()}, indent=1))


if __name__ == "__main__":
    main()
