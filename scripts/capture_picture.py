"""Draw a capture as one picture: frames of the video, the body over them, and the body from its left.

make demo && python scripts/capture_picture.py out/demo docs/capture.png
"""

import argparse
import json
from pathlib import Path

import numpy as np
import roma
import torch
from PIL import Image

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.io.atomic import atomic_write
from selfmocap.io.video import open_video
from selfmocap.visualization.render import render_body

FRAMES, HEIGHT, WIDTH = 5, 300, 240
FROM_THE_LEFT = roma.rotvec_to_rotmat(torch.tensor([0.0, -torch.pi / 2, 0.0]))


def cropped(image: np.ndarray, middle: tuple[float, float], half: float) -> np.ndarray:
    """Crop the image around a point, `half` px above and below it but within the image, to HEIGHT x WIDTH."""
    extent = np.array([half * WIDTH / HEIGHT, half])
    size = np.array(image.shape[1::-1])
    x, y = np.maximum(np.minimum(np.array(middle), size - extent), extent)
    box = (round(x - extent[0]), round(y - extent[1]), round(x + extent[0]), round(y + extent[1]))
    return np.asarray(Image.fromarray(image).crop(box).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    body = Body.load()
    motion = Motion.load(options.folder / "person-1" / "motion.npz")
    chosen = torch.linspace(0, len(motion) - 1, FRAMES + 2)[1:-1].round().long()
    wanted = motion.frame_index[chosen].tolist()
    video = Path(json.loads((options.folder / "report.json").read_text())["video"]["path"])
    images = [
        {frame.index: frame.image for frame in open_video(path).frames() if frame.index in wanted}
        for path in (video, options.folder / "overlay.mp4")
    ]
    pixels = motion.camera.project(motion.camera.to_world(motion.joints_cam[chosen]))
    half = 0.75 * float((pixels.amax(1) - pixels.amin(1))[:, 1].max())
    middles = [tuple((p.amax(0) + p.amin(0)).div(2).tolist()) for p in pixels]
    rows = [
        np.concatenate(
            [cropped(images_by_index[n], middle, half) for n, middle in zip(wanted, middles, strict=True)],
            axis=1,
        )
        for images_by_index in images
    ]
    posed = body.pose(motion.parameters[chosen]).vertices
    side = [render_body(vertices @ FROM_THE_LEFT.T, body.faces, HEIGHT) for vertices in posed]
    picture = Image.fromarray(np.concatenate([*rows, np.concatenate(side, axis=1)], axis=0))
    with atomic_write(options.out) as partial:
        picture.quantize(256).save(partial, "PNG", optimize=True)


if __name__ == "__main__":
    main()
