"""Measure the realism of synthetic people by a detector that was not trained on them: the fraction of images of whole
bodies in which BlazePose detects the person.

    python benchmarks/synthetic_realism.py [--json] [--pictures 128] [--backgrounds DIR] [--motions DIR] [--sheet PNG]

Images are 512 x 512 px with every COCO-23 keypoint in the image and nothing in front of the person. A person counts as
detected if the median keypoint error is below a tenth of the person's size.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from selfmocap import Body
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.motions import from_recording, procedural_motions
from selfmocap.synthetic.person_images import PersonImage, person_images
from selfmocap.tracking.detectors.blazepose import BlazePose
from selfmocap.tracking.detectors.window import Window

SIDE = 512


def sample_images(seed: int, motions, backgrounds, body: Body) -> Iterator[PersonImage]:
    """Render RGB images of whole bodies with nothing in front of them, with their true keypoints."""
    cameras = CameraConfig(size=(SIDE, SIDE), distance=(2.4, 5.0), focal=(0.65, 1.2))
    appearance = AppearanceConfig(furniture=0.0)
    return person_images(
        seed, cameras, appearance, motions, backgrounds, body, DEFAULT_KEYPOINTS.name, draws=32
    )


def is_detected(detector: BlazePose, image: np.ndarray, truth: np.ndarray) -> bool:
    """Test whether the detector finds the person at the true position."""
    rois = detector.propose_rois(image, Window(SIDE / 2 - 0.5, SIDE / 2 - 0.5, float(SIDE)))
    first = detector.detect_in_roi(image, rois[0]) if rois else None
    person = detector.detect_in_roi(image, first.window) if first else None
    if person is None:
        return False
    estimate = dict(zip(detector.points.landmarks, person.keypoints, strict=True))
    pairs = [(estimate[n], truth[i]) for i, n in enumerate(DEFAULT_KEYPOINTS.landmarks) if n in estimate]
    error = np.median([np.hypot(*(a - np.array(b))) for a, b in pairs])
    return bool(error < 0.1 * (truth.max(0) - truth.min(0)).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--motions", type=Path)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument(
        "--sheet", type=Path, help="write the first 16 images here, with a bar on those without a detection"
    )
    options = parser.parse_args()
    body = Body.load()
    motions = procedural_motions(body)
    if options.motions:
        motions = [from_recording(clip, body) for clip in load_motions(options.motions, body)]
    backgrounds = load_backgrounds(options.backgrounds) if options.backgrounds else procedural_backgrounds()
    detector = BlazePose()
    hits: list[bool] = []
    sheet: list[np.ndarray] = []
    seed = options.seed
    while len(hits) < options.pictures:
        for image, truth, _ in sample_images(seed, motions, backgrounds, body):
            hits.append(is_detected(detector, image, truth))
            if len(sheet) < 16:
                image = image.copy()
                if not hits[-1]:
                    image[:6] = image[-6:] = (255, 0, 0)
                sheet.append(image)
        seed += 1
    if options.sheet:
        rows = np.array(sheet).reshape(4, 4, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4)
        Image.fromarray(rows.reshape(4 * SIDE, 4 * SIDE, 3)).save(options.sheet)
    result = {
        "pictures": len(hits),
        "found_share": round(float(np.mean(hits)), 3),
        "threads": torch.get_num_threads(),
    }
    if not options.json:
        print(f"BlazePose detects {result['found_share']:.0%} of {len(hits)} whole synthetic bodies")
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
