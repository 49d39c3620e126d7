"""Writes Penn Action's folders around poses that are known."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from selfmocap.body_model.skeleton import KEYPOINT_SETS

COCO = KEYPOINT_SETS["coco-17"]
JOINTS = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""As the person has them; in the set's files each name is on the other side."""


def film_labels(keypoints: np.ndarray, size: tuple[int, int] = (480, 270), **others: Any) -> dict[str, Any]:
    """The fields of a film's file, from (time, 17, 2) px of COCO's keypoints."""
    order = [None, *(f"{side}_{name.split('_')[1]}" for name in JOINTS[::2] for side in ("right", "left"))]
    points = np.stack(
        [keypoints[:, 0] if name is None else keypoints[:, COCO.index(name)] for name in order], axis=1
    )
    return {
        "action": "squat",
        "pose": "front",
        "x": points[..., 0],
        "y": points[..., 1],
        "visibility": np.ones(points.shape[:2], bool),
        "train": 1,
        "bbox": np.ones((len(points), 4)),
        "dimensions": [size[1], size[0], len(points)],
        "nframes": len(points),
    } | others


def write_film(root: Path, name: str, fields: dict[str, Any]) -> Path:
    """`labels/NAME.mat` in the set's folder."""
    (root / "labels").mkdir(parents=True, exist_ok=True)
    path = root / "labels" / f"{name}.mat"
    scipy.io.savemat(
        path, {key: value for key, value in fields.items() if value is not None}, do_compression=True
    )
    return path
