"""Benchmark the detectors on whole synthetic people with exact keypoints: errors, confidence, and CPU time.

    python benchmarks/detectors.py [--people 500] [--motions DIR --held-out SUBJECT ...] [--backgrounds DIR]
        [--picture PNG] [--json]

Each detector looks at the person twice in an image of 512 x 512 px: in a window that BlazePose's person detector
proposes, then in the window of what it found. A person is found if the median error is below a tenth of the person's
size. Errors are those of the 12 keypoints of torso and limbs, of the people that at least one detector finds
and for whom all return something. The peer in the same run is BlazePose full alone with its visibility as confidence,
which former versions used.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.motions import MotionClip, from_recording, procedural_motions
from selfmocap.synthetic.person_images import PersonImage, person_images
from selfmocap.tracking.confidence import CONFIDENT_DISTANCE, VISIBLE
from selfmocap.tracking.detectors.blazepose import BlazePose
from selfmocap.tracking.detectors.ensemble import ENSEMBLE_MODELS, PoseEnsemble
from selfmocap.tracking.detectors.keypoint_calibration import BLAZEPOSE, MOVENET, SHARED
from selfmocap.tracking.detectors.movenet import MoveNet, upright_window
from selfmocap.tracking.detectors.pose_landmarks import PoseLandmarker
from selfmocap.tracking.detectors.window import RgbImage, Window

SIDE = 512
CAMERAS = CameraConfig(size=(SIDE, SIDE), distance=(2.4, 5.0), focal=(0.65, 1.2))
LIMBS = slice(5, 17)
"""Torso and limbs among MoveNet's keypoints."""
FOUND, BINS = 0.1, 10


class Estimate(NamedTuple):
    """A detector's keypoints of a person, in MoveNet's order."""

    keypoints: Float[np.ndarray, "17 2"]
    confidence: Float[np.ndarray, " 17"]


Looked = tuple[PersonImage, dict[str, Estimate | None]]
"""A person, and what each detector finds."""


class Looks:
    """All detectors, and the CPU time of their second looks, ms."""

    def __init__(self) -> None:
        self._blazepose = {"full": BlazePose("full"), "heavy": BlazePose("heavy")}
        self._ensembles = {quality: PoseEnsemble(quality) for quality in ENSEMBLE_MODELS}
        self._movenet = {"lightning": MoveNet("lightning"), "thunder": MoveNet("thunder")}
        self._landmarker = PoseLandmarker("full")
        self.cpu_ms: dict[str, list[float]] = {}

    def __call__(self, image: RgbImage) -> dict[str, Estimate | None]:
        """Return the estimate of each detector; None if it finds nobody."""
        whole = Window(SIDE / 2 - 0.5, SIDE / 2 - 0.5, float(SIDE))
        rois = self._blazepose["full"].propose_rois(image, whole)
        found: dict[str, Estimate | None] = {}
        for name, detector in (self._blazepose | self._ensembles).items():
            first = detector.detect_in_roi(image, rois[0]) if rois else None
            person = first and self._timed(name, detector.detect_in_roi, image, first.window)
            found[name] = person and Estimate(person.keypoints[SHARED], person.confidence[SHARED])
            if name == "full" and first and person:
                raw = self._landmarker.detect_landmarks(image, first.window)
                found["visibility"] = Estimate(raw.keypoints[SHARED], raw.visibility[SHARED])
        for name, detector in self._movenet.items():
            start = found["full" if name == "lightning" else "heavy"]
            found[name] = start and Estimate(
                *self._timed(name, detector.detect_keypoints, image, upright_window(start.keypoints))
            )
        return found

    def _timed(self, name: str, function: Any, *arguments: Any) -> Any:
        began = time.process_time()
        result = function(*arguments)
        self.cpu_ms.setdefault(name, []).append(1000 * (time.process_time() - began))
        return result


def endless_people(
    motions: Sequence[MotionClip], backgrounds: Any, body: Body, first_seed: int
) -> Iterator[PersonImage]:
    """Yield people with the usual occluders."""
    for seed in itertools.count(first_seed):
        yield from person_images(
            seed, CAMERAS, AppearanceConfig(), motions, backgrounds, body, BLAZEPOSE.name
        )


def is_found(person: PersonImage, estimate: Estimate | None) -> bool:
    """Test whether a detector finds the person, and there."""
    if estimate is None:
        return False
    px = np.linalg.norm(estimate.keypoints - person.keypoints[SHARED], axis=-1)[LIMBS]
    return bool(np.median(px) < FOUND * person.size)


def comparable(people: list[Looked], names: Sequence[str]) -> list[Looked]:
    """Return the people of whom every detector returns something, and at least one what is there."""
    return [
        (person, looks)
        for person, looks in people
        if all(looks.get(name) for name in names) and any(is_found(person, looks[name]) for name in names)
    ]


def score(name: str, people: list[Looked], compared: list[Looked]) -> dict[str, Any]:
    """Compute a detector's row of the table, and its reliability: whom it finds of all people, and its errors of those
    that are compared."""
    found = float(np.mean([is_found(person, estimates.get(name)) for person, estimates in people]))
    row: dict[str, Any] = {"found": round(found, 3)}
    if not compared:
        return row
    truth, visible = (
        np.stack([part[SHARED][LIMBS] for part in parts])
        for parts in zip(*((person.keypoints, person.visible) for person, _ in compared), strict=True)
    )
    size = np.array([person.size for person, _ in compared])[:, None]
    estimates = [found for _, looks in compared if (found := looks[name])]
    keypoints, confidence = (np.stack(part)[:, LIMBS] for part in zip(*estimates, strict=True))
    mirror = np.array(MOVENET.mirror)[LIMBS] - LIMBS.start
    px, opposite = (np.linalg.norm(keypoints - points, axis=-1) for points in (truth, truth[:, mirror]))
    right = px < CONFIDENT_DISTANCE * size
    swapped = (opposite < 0.5 * px) & ~right
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return row | {
        "mean_percent": round(100 * float((px / size).mean()), 2),
        "median_percent": round(100 * float(np.median(px / size)), 2),
        "mean_px": round(float(px.mean()), 2),
        "median_px": round(float(np.median(px)), 2),
        "wrong_percent": round(100 * float((~right).mean()), 1),
        "swapped_percent": round(100 * float(swapped.mean()), 1),
        "missed_percent": round(100 * float((confidence < VISIBLE)[visible].mean()), 1),
        "brier": round(float(np.square(confidence - right).mean()), 4),
        "reliability": [
            [int(chosen.sum()), round(float(confidence[chosen].mean()), 3), round(float(right[chosen].mean()), 3)]
            for chosen in (bins == number for number in range(BINS))
            if chosen.any()
        ],
    }  # fmt: skip


def draw(scores: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the fraction of right keypoints against the confidence."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    labels = {"visibility": "BlazePose full, visibility", "full": "BlazePose full, calibrated"}
    for name in ("visibility", "full", *ENSEMBLE_MODELS):
        counts, confidence, right = np.array(scores[name]["reliability"]).T
        label = f"{labels.get(name, f'ensemble, {name}')} (Brier {scores[name]['brier']:.3f})"
        axes.plot(
            confidence,
            right,
            marker="o",
            markersize=3,
            label=label,
            linestyle="--" if name == "visibility" else "-",
        )
    axes.set(
        xlabel="confidence",
        ylabel="fraction within 5 % of the size",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--motions", type=Path, help="folder of recordings; procedural motion without it")
    parser.add_argument("--held-out", nargs="*", help="only these subjects of the recordings")
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--picture", type=Path, help="write the reliability curves here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    body, looks = Body.load(), Looks()
    motions = procedural_motions(body)
    if options.motions:
        clips = load_motions(options.motions, body)
        motions = [
            from_recording(c, body) for c in clips if not options.held_out or c.subject in options.held_out
        ]
    backgrounds = load_backgrounds(options.backgrounds) if options.backgrounds else procedural_backgrounds()
    images = itertools.islice(endless_people(motions, backgrounds, body, options.seed), options.people)
    people = [(person, looks(person.image)) for person in images]
    names = ["visibility", *looks.cpu_ms]
    scores = {name: score(name, people, comparable(people, names)) for name in names}
    for name, times in looks.cpu_ms.items():
        scores[name]["cpu_ratio_to_full"] = round(
            float(np.median(times) / np.median(looks.cpu_ms["full"])), 2
        )
    if options.picture:
        draw(scores, options.picture)
    if options.json:
        print(json.dumps({"people": len(people), "detectors": scores}))
        return
    columns = [key for key in scores["full"] if key != "reliability"]
    print("| |", " | ".join(columns), "|")
    for name, row in scores.items():
        print(f"| {name} |", " | ".join(str(row.get(key, "")) for key in columns), "|")


if __name__ == "__main__":
    main()
