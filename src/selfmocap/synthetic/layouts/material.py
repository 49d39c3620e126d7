"""What the clips of a layout are made from, and writers of files that several layouts have."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfmocap.body_model.body import Body
from selfmocap.io.atomic import atomic_write
from selfmocap.io.video_writer import write_video
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import SyntheticClip, sample_clip
from selfmocap.synthetic.motions import MotionClip

_ENCODING = {"crf": "18", "threads": "1"}
"""x264 options: fine detail is kept, and the bytes do not depend on the number of threads."""
_MAT_DESCRIPTION, _MAT_DESCRIPTION_SIZE = b"MATLAB 5.0 MAT-file written by selfmocap", 116
"""Text at the beginning of a MAT file, and its bytes; scipy's has the date, so that equal clips would differ."""


@dataclass(frozen=True, eq=False)
class LayoutMaterial:
    """Settings and material of all clips."""

    frames: int
    seed: int
    motions: Sequence[MotionClip]
    backgrounds: Backgrounds
    body: Body

    def clip(self, index: int, cameras: CameraConfig, fps: float, betas: int) -> SyntheticClip:
        """Render the clip of an index, with a person whose first `betas` shape coefficients are random."""
        seeds = np.random.SeedSequence([self.seed, index])
        return sample_clip(seeds, cameras, self.frames, fps, self.motions, self.backgrounds, self.body, betas)


def write_film(path: Path, film: np.ndarray, fps: float) -> None:
    """Write frames (frames, height, width, 3) uint8 RGB with even sides as an mp4, atomically."""
    write_video(path, ((None, image) for image in film), fps, _ENCODING, constant_rate=True)


def write_pictures(folder: Path, film: np.ndarray, name: str, first: int) -> None:
    """Write frames (frames, height, width, 3) uint8 RGB as JPEG files; `name` is formatted with their numbers, which
    start at `first`."""
    from PIL import Image

    folder.mkdir(parents=True)
    for number, image in enumerate(film, start=first):
        Image.fromarray(image).save(folder / name.format(number), quality=95)


def write_mat(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as a MATLAB 5 file, atomically. Equal arrays give equal bytes."""
    from scipy.io import savemat

    with atomic_write(path) as partial, partial.open("wb") as file:
        savemat(file, arrays, do_compression=True)
        file.seek(0)
        file.write(_MAT_DESCRIPTION.ljust(_MAT_DESCRIPTION_SIZE))
