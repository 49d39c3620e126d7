"""Draw hands of a video, one a row: the crop, the detected keypoints, the body with rigid hands and with fitted ones.

selfmocap observe VIDEO --quality fast --out out/hands
python scripts/hands_picture.py VIDEO out/hands/person-1 docs/hands.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from selfmocap.adaptation.hand_pose import fit_hands
from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import body_for
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import HAND_KEYPOINTS
from selfmocap.io.atomic import atomic_write
from selfmocap.io.video import open_video
from selfmocap.models.estimator import infer, load_estimator
from selfmocap.models.temporal_inference import shipped_temporal_weights
from selfmocap.tracking.observations import Observations
from selfmocap.visualization.render import draw_body

ROWS, COLUMNS, SIDE = 5, 2, 150
COLOUR, LINES = (0.4, 0.7, 1.0), (255, 220, 0)


def tiles(
    image: np.ndarray, keypoints: np.ndarray, motions: list[Motion], row: int, body: Body
) -> np.ndarray:
    """Draw one hand: its crop, its keypoints (px), and the motions' bodies in a row of the motions."""
    middle, half = keypoints.mean(0), max(np.ptp(keypoints, axis=0).max(), 30.0)

    def crop(image: np.ndarray) -> Image.Image:
        box = tuple(np.concatenate([middle - half, middle + half]).astype(int).tolist())
        return Image.fromarray(image).crop(box).resize((SIDE, SIDE), Image.Resampling.LANCZOS)

    plain, lines = crop(image), crop(image)
    points = [tuple(point) for point in ((keypoints - middle + half) / (2 * half) * SIDE).tolist()]
    for point, parent in zip(points, HAND_KEYPOINTS.parents, strict=True):
        if parent >= 0:
            ImageDraw.Draw(lines).line([points[parent], point], fill=LINES, width=2)
    drawn = []
    for motion in motions:
        parameters, camera = motion[[row]].all_parameters, motion.camera
        vertices = camera.to_camera(body_for(parameters, body).pose(parameters).vertices[0])
        drawn.append(crop(draw_body(image, vertices, body.faces, camera, COLOUR, 0.85)))
    return np.concatenate([np.asarray(tile) for tile in (plain, lines, *drawn)], axis=1)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    body, observations = Body.load(), Observations.load(options.folder / "observations.npz")
    rigid = infer(load_estimator(shipped_temporal_weights())[0], body, observations)
    fitted = fit_hands(rigid, body, observations)
    if fitted is rigid or observations.hand_confidence is None or observations.hand_keypoints is None:
        parser.error(f"{options.folder}: expected observations with hands, found none")
    hands = observations.hand_confidence.nonzero().tolist()
    chosen = [hands[k] for k in np.linspace(0, len(hands) - 1, ROWS * COLUMNS).astype(int)]
    images = {frame.index: frame.image for frame in open_video(options.video).frames()}
    drawn = [
        tiles(
            images[int(observations.frame_index[row])],
            observations.hand_keypoints[row, side].numpy(),
            [rigid, fitted],
            row,
            body,
        )
        for row, side in chosen
    ]
    blocks = [np.concatenate(drawn[first : first + ROWS]) for first in range(0, len(drawn), ROWS)]
    sheet = Image.fromarray(np.concatenate(blocks, axis=1)).quantize(128)
    with atomic_write(options.out) as temporary:
        sheet.save(temporary, "PNG")


if __name__ == "__main__":
    main()
