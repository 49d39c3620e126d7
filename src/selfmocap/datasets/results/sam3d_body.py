"""Read SAM 3D Body: a folder with one `IMAGE_subjNN.npz` a person and image, as MHR's conversion to SMPL reads them.

Source: `sam_3d_body/sam_3d_body_estimator.py` (`process_one_image`: the arrays), `sam_3d_body/metadata/mhr70.py` (the
names of the keypoints), `sam_3d_body/models/heads/mhr_head.py` (the camera frame), and `tools/mhr_smpl_conversion` of
MHR (the files). The rig's own rotations need its assets; of its 70 keypoints the body's 23 are read."""

import re
from pathlib import Path

import numpy as np
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.datasets.results.record import (
    MAX_FRAME,
    ResultCamera,
    ResultPerson,
    ResultSource,
    SystemResult,
    numbers,
    tensor,
)
from selfmocap.datasets.retargeting.points import fit_to_keypoints
from selfmocap.io.npz import npz_names, read_npz

SAM_3D_BODY = "SAM 3D Body"
_SHAPES = {"pred_keypoints_3d": (70, 3), "pred_keypoints_2d": (70, 2), "pred_cam_t": (3,)}
_KEYS = {*_SHAPES, "focal_length"}
_NAME = re.compile(r"(?P<image>.*?(?P<number>\d*))_subj\d+")
_FIRST_OF_70 = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_hip "
    "right_hip left_knee right_knee left_ankle right_ankle left_big_toe left_small_toe left_heel right_big_toe "
    "right_small_toe right_heel"
).split()
_ROW = {name: row for row, name in enumerate(_FIRST_OF_70)} | {"right_wrist": 41, "left_wrist": 62}
"""The body's keypoints among the 70; the others are of fingers, elbows and shoulders."""
_ROWS = [_ROW[name] for name in DEFAULT_KEYPOINTS.names]
_LARGEST_RESIDUAL = 0.02
"""Of the projected keypoints, in sides of their box."""


def sam3d_body_files(folder: Path) -> list[Path]:
    """Return the files of a folder of SAM 3D Body, in the order of their names; none for another folder."""
    files = sorted(path for path in folder.glob("*.npz") if _NAME.fullmatch(path.stem))
    return files if files and npz_names(files[0]) >= _KEYS else []


def read_sam3d_body(source: ResultSource, body: Body) -> SystemResult:
    """Read the person of each image as bodies of `body`, fitted to the keypoints.

    Images are numbered by the end of their names, from 0 or from 1. The principal point is where the keypoints in the
    image put it; the focal length is the median, to which distances are in proportion. Raises ValueError for several
    people in an image, who are not tracked."""
    files = sam3d_body_files(source.path)
    index = _frame_index(source, files)
    found = [_read_image(source, file) for file in files]
    points, places, centers, focals = (np.stack(values) for values in zip(*found, strict=True))
    focal = np.median(focals)
    places = places * np.stack([np.ones(len(focals)), np.ones(len(focals)), focal / focals], axis=1)
    bodies = fit_to_keypoints(body, tensor(points + places[:, None]))
    person = ResultPerson("1", index, bodies.betas, bodies.R_parent_joint, bodies.p_world_root)
    center = np.median(centers, axis=0)
    size = (round(2 * center[0]), round(2 * center[1]))
    camera = ResultCamera(tensor(np.repeat(focal, 2)), tensor(center - 0.5), size)
    return SystemResult(SAM_3D_BODY, camera, [person], "body")


def _frame_index(source: ResultSource, files: list[Path]) -> torch.Tensor:
    names = [match for file in files if (match := _NAME.fullmatch(file.stem))]
    if len({name["image"] for name in names}) < len(names):
        raise ValueError(
            f"{source.path}: several people in an image, whom {SAM_3D_BODY} does not track; keep one person's files"
        )
    found = [min(int(name["number"] or 0), MAX_FRAME) for name in names]
    if len(set(found)) < len(found):
        raise ValueError(
            f"{source.path}: images with the same number; expected names that end in the number of the frame"
        )
    return torch.tensor(found) - min(min(found), 1)


def _read_image(source: ResultSource, file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return the keypoints about the place of the person, that place (camera frame, metres), the principal point and
    the focal length, px."""
    arrays = read_npz(file, _KEYS)
    if missing := sorted(_KEYS - arrays.keys()):
        raise ValueError(f"{file}: lacks {', '.join(missing)}; run {SAM_3D_BODY} again")
    points, pixels, place = (
        numbers(source, arrays[key], f"{file.name}: {key}", shape) for key, shape in _SHAPES.items()
    )
    focal = float(
        numbers(source, arrays["focal_length"].reshape(-1)[:1], f"{file.name}: focal_length", (1,))[0]
    )
    points, pixels = points[_ROWS], pixels[_ROWS]
    seen = points + place
    if seen[:, 2].min() <= 0 or focal <= 0:
        raise ValueError(f"{file}: the person is not in front of the camera; run {SAM_3D_BODY} again")
    centers = pixels - focal * seen[:, :2] / seen[:, 2:]
    center = np.median(centers, axis=0)
    if np.abs(centers - center).max() > _LARGEST_RESIDUAL * np.ptp(pixels, axis=0).max():
        raise ValueError(
            f"{file}: pred_keypoints_2d are not the projections of pred_keypoints_3d; run {SAM_3D_BODY} again"
        )
    return points, place, center, focal
