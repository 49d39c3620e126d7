"""Penn Action's files: `labels/0001.mat` and `frames/0001/000001.jpg`. All clips are test clips; the head is labelled
at the nose, and invisible joints are marked so."""

from pathlib import Path

import numpy as np

from selfmocap.datasets.penn_action import PENN_ACTION_COLUMNS, PENN_ACTION_KEYPOINTS
from selfmocap.io.clock import DEFAULT_FPS
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import true_keypoints, true_pixels
from selfmocap.synthetic.layouts.material import LayoutMaterial, write_mat, write_pictures

_WIDTH, _HEIGHT = 480, 270
_CAMERAS = CameraConfig(size=(_WIDTH, _HEIGHT))
_BETAS = 10


def penn_action_paths(index: int) -> tuple[str, ...]:
    """Return the paths of a clip's files, in the order in which they appear."""
    return f"frames/{index + 1:04d}", f"labels/{index + 1:04d}.mat"


def write_penn_action(material: LayoutMaterial, index: int, out: Path) -> None:
    """Write the files of a clip below `out`."""
    images, labels = (out / path for path in penn_action_paths(index))
    clip = material.clip(index, _CAMERAS, DEFAULT_FPS, _BETAS)
    keypoints = true_keypoints(clip, material.body, true_pixels(clip, material.body)["depth"])
    columns = [PENN_ACTION_KEYPOINTS.index(name or "nose") for name in PENN_ACTION_COLUMNS]
    points = keypoints[PENN_ACTION_KEYPOINTS.name][:, columns].astype(float)
    visible = keypoints[f"{PENN_ACTION_KEYPOINTS.name} visible"][:, columns]
    write_pictures(images, clip.images, "{:06d}.jpg", first=1)
    labels.parent.mkdir(parents=True)
    write_mat(
        labels,
        {
            "action": np.array("synthetic"),
            "x": points[..., 0],
            "y": points[..., 1],
            "visibility": visible.astype(np.uint8),
            "train": np.array(-1),
            "bbox": np.concatenate([points.min(1), points.max(1)], axis=1),
            "dimensions": np.array([_HEIGHT, _WIDTH, len(points)]),
            "nframes": np.array(len(points)),
        },
    )
