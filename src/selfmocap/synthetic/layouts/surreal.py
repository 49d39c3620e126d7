"""SURREAL's files: `run0/NAME/NAME_c0001.mp4`, `_info.mat`, `_segm.mat`, `_depth.mat` and `_gtflow.mat`, images
mirrored. Poses and shapes are those of the default body."""

from pathlib import Path

import numpy as np

from selfmocap.datasets.surreal import (
    SURREAL_FOCAL,
    SURREAL_GENDERS,
    SURREAL_HEIGHT,
    SURREAL_WIDTH,
    to_surreal,
)
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import SyntheticClip, true_motion, true_pixels
from selfmocap.synthetic.layouts.material import LayoutMaterial, write_film, write_mat

_FPS = 30.0
_BETAS = 10
_BACKGROUND_DEPTH = 1e10
"""Depth of the background in SURREAL's files, metres."""
_CAMERAS = CameraConfig(
    size=(SURREAL_WIDTH, SURREAL_HEIGHT),
    focal=(SURREAL_FOCAL / SURREAL_WIDTH, SURREAL_FOCAL / SURREAL_WIDTH),
    distance=(5.0, 9.0),
)


def surreal_paths(index: int) -> tuple[str, ...]:
    """Return the paths of a clip's files: one folder."""
    return (f"run0/clip_{index:05d}",)


def write_surreal(material: LayoutMaterial, index: int, out: Path) -> None:
    """Write the files of a clip below `out`."""
    clip = material.clip(index, _CAMERAS, _FPS, _BETAS)
    pixels = true_pixels(clip, material.body)
    (folder,) = (out / path for path in surreal_paths(index))
    folder.mkdir(parents=True)
    stem = folder / f"{folder.name}_c0001"
    write_mat(Path(f"{stem}_info.mat"), _info(clip, material, index, stem.name))
    flow = pixels["flow"][:, :, ::-1].astype(np.float32) * np.array([-1, 1], np.float32)
    depth = np.where(np.isinf(pixels["depth"]), _BACKGROUND_DEPTH, pixels["depth"].astype(np.float32))
    for kind, key, images in (("segm", "segm", pixels["parts"][:, :, ::-1]), ("depth", "depth", depth[:, :, ::-1]),
                              ("gtflow", "gtflow", flow)):  # fmt: skip
        arrays = {f"{key}_{i}": image for i, image in enumerate(images, start=1)}
        write_mat(Path(f"{stem}_{kind}.mat"), arrays)
    write_film(Path(f"{stem}.mp4"), np.ascontiguousarray(clip.images[:, :, ::-1]), _FPS)


def _info(clip: SyntheticClip, material: LayoutMaterial, index: int, sequence: str) -> dict[str, np.ndarray]:
    motion = true_motion(clip, material.body, f"{material.seed}/{index}")
    distance = float(motion.joints_cam[:, 0, 2].mean())
    joints_world = motion.camera.to_world(motion.joints_cam)
    info = to_surreal(motion.parameters, joints_world, motion.camera, SURREAL_GENDERS[0], distance)
    return info | {"sequence": np.array(sequence)}
