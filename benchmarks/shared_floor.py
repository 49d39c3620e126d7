"""Measure the statures of people on one floor, solved together. Peer: each person's own estimate, which takes a child
for an adult. Scenes of drawn numbers: sizes, distances, the camera, and errors of the estimates.

    python benchmarks/shared_floor.py [--scenes 200] [--json]
"""

import argparse
import json
import math

import numpy as np

from selfmocap.pipeline.shared_floor import FloorPerson, solve_statures

ADULT = 1.72
"""Metres."""
OWN_ERROR, FLOOR_ERROR, VERTICAL_ERROR = 0.05, 0.02, 0.05
"""Standard deviations: of the logarithm of an adult's estimated stature, of the height of the camera above a person's
floor (relative, and metres), and of the vertical by one person, radians."""
SCENES = {
    "an adult and a child": ([1.0, 0.6], [0, 0]),
    "an adult and a child of 0.75": ([1.0, 0.75], [0, 0]),
    "three people": ([1.0, 0.6, 1.1], [0, 0, 0]),
    "four people": ([1.0, 0.65, 0.9, 1.15], [0, 0, 0, 0]),
    "three adults": ([1.0, 1.0, 1.0], [0, 0, 0]),
    "three adults, one on a step of 0.3 m": ([1.0, 1.0, 1.0], [0, 0, 0.3]),
}
"""Sizes in adults, and metres of what each stands on."""


def drawn_scene(
    random: np.random.Generator, sizes: list[float], steps: list[float]
) -> tuple[list[FloorPerson], np.ndarray]:
    """Draw people 3 to 6 m from a camera that is pitched by 5 to 30 degrees and sees their feet; return their
    estimates, and their statures, metres."""
    distances = random.uniform(3, 6, len(sizes))
    camera_height = 0.9 + 4.5 * math.tan(math.radians(random.uniform(5, 30)))
    tilt = random.normal(0, VERTICAL_ERROR / math.sqrt(len(sizes)))
    people = []
    for size, step, distance in zip(sizes, steps, distances, strict=True):
        estimate = ADULT * max(size, 0.9) * math.exp(random.normal(0, OWN_ERROR))
        scale = estimate / (ADULT * size)
        floor = scale * (camera_height - step) * math.exp(random.normal(0, FLOOR_ERROR))
        ahead = scale * distance
        drop = floor + random.normal(0, FLOOR_ERROR) + tilt * ahead
        people.append(FloorPerson(estimate, drop, ahead, scale * random.uniform(-1.5, 1.5)))
    return people, ADULT * np.array(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    rows = {}
    for name, (sizes, steps) in SCENES.items():
        errors, kept = {"own": [], "solved": []}, 0
        for _ in range(args.scenes):
            people, truth = drawn_scene(random, sizes, steps)
            own = np.array([person.stature for person in people])
            solved = solve_statures(people)
            kept += sum(stature is None for stature in solved)
            final = np.array([a if b is None else b for a, b in zip(own, solved, strict=True)])
            for key, found in (("own", own), ("solved", final)):
                errors[key].append(np.abs(found / found[0] - truth / truth[0]).max())
        rows[name] = {
            "own_size_error": round(float(np.median(errors["own"])), 3),
            "solved_size_error": round(float(np.median(errors["solved"])), 3),
            "within_0.06": round(float(np.mean(np.array(errors["solved"]) <= 0.06)), 2),
            "kept_own": round(kept / (args.scenes * len(sizes)), 2),
            "ratio": round(float(np.median(errors["own"]) / np.median(errors["solved"])), 1),
        }
    print(
        json.dumps(rows, indent=1) if args.json else "\n".join(f"{name}: {row}" for name, row in rows.items())
    )


if __name__ == "__main__":
    main()
