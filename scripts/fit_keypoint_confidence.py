"""Fit the probability that a detected keypoint is right to synthetic people, for BlazePose alone and for the ensemble.

    python scripts/fit_keypoint_confidence.py MOTIONS --held-out cmu60/61 --backgrounds IMAGES \\
        --out src/selfmocap/assets/detectors/keypoint_confidence.json

People are 60 to 500 px large. Prints the Brier scores of people that are not fitted to.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.io.atomic import atomic_write
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import Backgrounds, load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.motions import MotionClip, from_recording
from selfmocap.synthetic.person_images import PersonImage, person_images
from selfmocap.tracking.confidence import CONFIDENT_DISTANCE
from selfmocap.tracking.config import Quality
from selfmocap.tracking.detectors.ensemble import ENSEMBLE_MODELS, fuse_keypoints, fuse_shared, own_keypoints
from selfmocap.tracking.detectors.keypoint_calibration import (
    BLAZEPOSE,
    MOVENET,
    OWN,
    SHARED,
    TORSO_OF_WINDOW,
    calibration_of_kinds,
    kind_of,
    pair_features,
    probability,
    single_features,
)
from selfmocap.tracking.detectors.movenet import MoveNet, upright_window
from selfmocap.tracking.detectors.pose_detection import window_of_circle
from selfmocap.tracking.detectors.pose_landmarks import PoseLandmarker
from selfmocap.tracking.detectors.window import Window

Detections = dict[str, np.ndarray]
Weights = dict[str, dict[str, list[float]]]
"""Of each regression and kind of keypoint."""

RIDGE = 1e-3
NEWTON_STEPS = 30
HELD_OUT_SEED = 1_000_000
CAMERAS = (
    CameraConfig(size=(512, 512), distance=(2.4, 5.0), focal=(0.65, 1.2)),
    CameraConfig(size=(512, 512), distance=(5.0, 12.0), focal=(0.65, 1.2)),
    CameraConfig(size=(768, 768), distance=(2.2, 3.5), focal=(0.65, 1.2)),
)
"""Cameras that show people of 110 to 300, 60 to 150, and 200 to 500 px."""


def settled_window(person: PersonImage, rng: np.random.Generator) -> Window:
    """Return a window about where a tracker would expect the person."""
    keypoints = dict(zip(BLAZEPOSE.names, person.keypoints, strict=True))
    hips = (keypoints["left_hip"] + keypoints["right_hip"]) / 2
    up = (keypoints["left_shoulder"] + keypoints["right_shoulder"]) / 2 - hips
    reach = 1.1 * np.linalg.norm(person.keypoints - hips, axis=1).max()
    center = hips + rng.normal(0, 0.06 * reach, 2)
    rim = up / max(np.linalg.norm(up), 1.0) * reach * np.exp(rng.normal(0, 0.1)) + rng.normal(
        0, 0.06 * reach, 2
    )
    return window_of_circle(center, center + rim)


def detections(person: PersonImage, rng: np.random.Generator) -> Detections:
    """Return all that the models detect of a person, as arrays."""
    row = {"truth": person.keypoints, "visible": person.visible, "size": np.array(person.size)}
    start = settled_window(person, rng)
    for blazepose, movenets in (("full", ("lightning",)), ("heavy", ("lightning", "thunder"))):
        model = PoseLandmarker(blazepose)
        found = model.detect_landmarks(person.image, model.detect_landmarks(person.image, start).window)
        row |= {
            blazepose: found.keypoints,
            f"{blazepose} visibility": found.visibility,
            f"{blazepose} side": np.array(found.window.side),
            f"{blazepose} score": np.array(found.score),
        }
        for movenet in movenets:
            name = f"{blazepose} {movenet}"
            row[name], row[f"{name} score"] = MoveNet(movenet).detect_keypoints(
                person.image, upright_window(found.keypoints[SHARED])
            )
    return row


def people_of_all_sizes(
    first_seed: int, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body
) -> Iterator[PersonImage]:
    """Yield people of all sizes without end."""
    for seed in itertools.count(first_seed):
        camera = CAMERAS[seed % len(CAMERAS)]
        yield from person_images(seed, camera, AppearanceConfig(), motions, backgrounds, body, BLAZEPOSE.name)


def fit_regression(
    features: Float[np.ndarray, "n features"], right: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " features"]:
    """Return the weights of a logistic regression with a small penalty (per unit of variance, not of the constant)."""
    scale = np.append(features[:, :-1].std(axis=0) + 1e-6, 1.0)
    x, weights = features / scale, np.zeros(features.shape[1])
    ridge = np.diag(np.append(np.full(len(weights) - 1, RIDGE), 1e-9)) * len(x)
    for _ in range(NEWTON_STEPS):
        p = probability(weights, x)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge
        weights -= np.linalg.solve(hessian, x.T @ (p - right) + ridge @ weights)
    return weights / scale


def fit_kinds(
    names: Sequence[str], features: Float[np.ndarray, "n k features"], right: Bool[np.ndarray, "n k"]
) -> dict[str, list[float]]:
    """Fit one regression to each kind of keypoint; return its weights."""
    weights = {}
    for kind in dict.fromkeys(map(kind_of, names)):
        columns = [n for n, name in enumerate(names) if kind_of(name) == kind]
        rows = features[:, columns].reshape(-1, features.shape[-1])
        weights[kind] = fit_regression(rows, right[:, columns].ravel()).round(4).tolist()
    return weights


def is_right(
    detected: Float[np.ndarray, "n k 2"], truth: Float[np.ndarray, "n k 2"], size: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, "n k"]:
    """Test which keypoints are within 5 % of the people's sizes (px) of the true ones."""
    return np.linalg.norm(detected - truth, axis=-1) < CONFIDENT_DISTANCE * size[:, None]


def windows(data: Detections, blazepose: str) -> list[Window]:
    """Return windows of the people's sizes."""
    return [Window(0.0, 0.0, float(side)) for side in data[f"{blazepose} side"]]


def fit_single(data: Detections, model: str) -> Weights:
    """Fit the confidence of BlazePose alone."""
    features = np.stack(list(map(single_features, data[f"{model} visibility"], windows(data, model))))
    right = is_right(data[model], data["truth"], data["size"])
    return {"blazepose": fit_kinds(BLAZEPOSE.names, features, right)}


def fit_pair(data: Detections, quality: Quality) -> Weights:
    """Fit the confidence of the ensemble: of both models' positions, then of what BlazePose alone detects."""
    blazepose, movenet = ENSEMBLE_MODELS[quality]
    positions = data[blazepose][:, SHARED], data[f"{blazepose} {movenet}"]
    sides = windows(data, blazepose)
    torso = TORSO_OF_WINDOW * np.array([window.side for window in sides])
    distance = np.linalg.norm(positions[0] - positions[1], axis=-1) / torso[:, None]
    scores = data[f"{blazepose} visibility"][:, SHARED], data[f"{blazepose} {movenet} score"]
    features = np.stack([pair_features(*row) for row in zip(*scores, distance, sides, strict=True)])
    truth, size = data["truth"], data["size"]
    weights = {
        name: fit_kinds(MOVENET.names, features, is_right(position, truth[:, SHARED], size))
        for name, position in zip(("blazepose", "movenet"), positions, strict=True)
    }
    calibration = calibration_of_kinds(weights)
    own, features = [], []
    for n, window in enumerate(sides):
        shared = fuse_shared(
            *(array[n] for array in (positions[0], scores[0], positions[1], scores[1])), window, calibration
        )
        moved, columns = own_keypoints(data[blazepose][n], data[f"{blazepose} visibility"][n], shared, window)
        own.append(moved)
        features.append(columns)
    right = is_right(np.stack(own), truth[:, OWN], size)
    return weights | {"own": fit_kinds([BLAZEPOSE.names[n] for n in OWN], np.stack(features), right)}


def confidences(data: Detections, weights: dict[str, Weights]) -> dict[str, np.ndarray]:
    """Return the confidence of every keypoint of every person, and whether it is right, of each detector."""
    results = {}
    for name, own in weights.items():
        calibration, rows = calibration_of_kinds(own), []
        blazepose, movenet = ENSEMBLE_MODELS.get(name, (name, None))
        for n, window in enumerate(windows(data, blazepose)):
            keypoints, visibility = data[blazepose][n], data[f"{blazepose} visibility"][n]
            if movenet is None:
                rows.append(
                    (keypoints, probability(calibration.blazepose, single_features(visibility, window)))
                )
            else:
                pair = f"{blazepose} {movenet}"
                rows.append(
                    fuse_keypoints(
                        keypoints, visibility, data[pair][n], data[f"{pair} score"][n], window, calibration
                    )[:2]
                )
        keypoints, confidence = (np.stack(column) for column in zip(*rows, strict=True))
        results[name] = confidence, is_right(keypoints, data["truth"], data["size"])
    return results


def collect(
    people: int, first_seed: int, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body
) -> Detections:
    """Run all models on synthetic people; return arrays with a row for each."""
    images = itertools.islice(people_of_all_sizes(first_seed, motions, backgrounds, body), people)
    rows = [detections(person, np.random.default_rng([first_seed, n])) for n, person in enumerate(images)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def main() -> None:
    """Collect, fit, write and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--held-out", nargs="+", required=True, help="subjects to test with")
    parser.add_argument("--backgrounds", type=Path, help="folder of images; procedural ones without it")
    parser.add_argument("--people", type=int, default=1500, help="people to fit; a fourth of them to test")
    parser.add_argument("--cache", type=Path, help="folder that keeps the detections, for another fit")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    body = Body.load()
    backgrounds = load_backgrounds(options.backgrounds) if options.backgrounds else procedural_backgrounds()
    clips = load_motions(options.motions, body)
    data = []
    for held in (False, True):
        path = options.cache and options.cache / f"{'held-out' if held else 'fitted'}.npz"
        if path and path.is_file():
            data.append(read_npz(path))
            continue
        motions = [from_recording(clip, body) for clip in clips if (clip.subject in options.held_out) == held]
        count, seed = (options.people // 4, HELD_OUT_SEED) if held else (options.people, 0)
        data.append(collect(max(count, 1), seed, motions, backgrounds, body))
        if path:
            write_npz(path, data[-1])
    fitted, held_out = data
    weights = {name: fit_single(fitted, name) for name in ("full", "heavy")}
    weights |= {quality: fit_pair(fitted, quality) for quality in ENSEMBLE_MODELS}
    with atomic_write(options.out) as path:
        path.write_text(json.dumps(weights, indent=1))
    for name, (confidence, right) in confidences(held_out, weights).items():
        brier = np.square(confidence - right).mean()
        print(f"{name}: Brier score {brier:.4f}, mean {confidence.mean():.3f}, right {right.mean():.3f}")


if __name__ == "__main__":
    main()
