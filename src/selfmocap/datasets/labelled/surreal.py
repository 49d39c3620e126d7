"""SURREAL (Varol et al. 2017) as labelled clips: true keypoints, crops and masks, and the default body in the shape
that fits the joints."""

import re
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, WITH_JOINTS
from selfmocap.datasets.labelled.clip import (
    LabelledClip,
    SmplTruth,
    find_files,
    fit_betas,
    in_frame,
    keypoint_observations,
    video_images,
    with_crops,
    with_flow,
)
from selfmocap.datasets.surreal import (
    SURREAL_HEIGHT,
    SURREAL_WIDTH,
    SurrealClip,
    read_surreal,
    read_surreal_parts,
)
from selfmocap.geometry.camera import Camera
from selfmocap.io.text import read_text

SURREAL_FPS = 30.0
_SIZE = (SURREAL_WIDTH, SURREAL_HEIGHT)
_WHAT = "SURREAL as unpacked: .../RUN/SEQUENCE/SEQUENCE_c0001_info.mat beside its .mp4 and _segm.mat"
_LISTED = re.compile(r"(?:.*/)?(?:(run\d+)[_/])?(?:.*/)?([^/]+_c\d{4})(?:\.mp4|_info\.mat)?")


def surreal_files(folder: Path, split: str) -> list[Path]:
    """Find the `*_info.mat` files of a split: `train`, `val` or `test` in the folder or in `cmu` in it; of a folder
    without splits, all files. Raises FileNotFoundError that says what is expected."""
    root = folder / "cmu" if (folder / "cmu").is_dir() else folder
    has_splits = any((root / name).is_dir() for name in ("train", "val", "test"))
    return find_files(root / split if has_splits else root, "*_info.mat", _WHAT)


def listed_files(files: list[Path], listing: Path) -> list[Path]:
    """Select the files that a list names, one clip a line: `run1_104_21_c0004.mp4`, or a path.

    Raises ValueError that names the first line without a file."""
    by_stem: dict[str, list[Path]] = {}
    for file in files:
        by_stem.setdefault(file.name.removesuffix("_info.mat"), []).append(file)
    chosen = []
    for number, line in enumerate(read_text(listing).splitlines(), start=1):
        if not line.strip():
            continue
        match = _LISTED.fullmatch(line.strip())
        run, stem = match.groups() if match else (None, "")
        found = [file for file in by_stem.get(stem, ()) if run is None or run in file.parts]
        if not found:
            raise ValueError(
                f"{listing}, line {number}: no clip {line.strip()[:80]!r} in the data; expected names as "
                "run1_104_21_c0004.mp4 of clips that are unpacked"
            )
        chosen.append(found[0])
    return chosen


def surreal_clip(
    path: Path, body: Body, frames: slice | Int[Tensor, " frames"], flow: bool = False
) -> LabelledClip:
    """Read frames of the clip whose `*_info.mat` is at `path`.

    The shape is that in which `body` has joints nearest to the clip's in all its frames; its points are the keypoints.
    Keypoints outside the image have confidence 0. `flow` is measured on the images. Raises ValueError or
    FileNotFoundError that names the file."""
    clip = read_surreal(path)
    bodies = surreal_bodies(clip, body)
    chosen = torch.arange(len(clip))[frames]
    with torch.no_grad():
        points = body.keypoints(body.pose(bodies[frames]).vertices, DEFAULT_KEYPOINTS.name)
    camera = in_camera_frame(clip.camera)
    pixels = torch.cat([camera.project(points), clip.joints_2d[frames]], dim=1)
    observed = keypoint_observations(
        pixels, in_frame(pixels, _SIZE), WITH_JOINTS.name, _SIZE, SURREAL_FPS, chosen
    )
    stem = path.with_name(clip.name)
    images = list(video_images(Path(f"{stem}.mp4"), chosen.tolist(), flipped=True))
    parts = read_surreal_parts(Path(f"{stem}_segm.mat"), len(clip))[chosen.numpy()]
    observed = with_crops(observed, images, parts > 0)
    joints = clip.camera.to_camera(clip.joints_world[frames])
    return LabelledClip(
        name=f"{path.parent.parent.name}/{clip.name}",
        observations=with_flow(observed, images) if flow else observed,
        camera=camera,
        fps=SURREAL_FPS,
        joint_set="smpl-24",
        joints=joints,
        bodies=bodies[frames],
        smpl=SmplTruth(clip.gender, _seen_by(clip.camera, clip.parameters)[frames]),
    )


def surreal_bodies(clip: SurrealClip, body: Body) -> BodyParameters:
    """Return `body` in every frame of a clip, in the camera frame, with the shape of `fit_betas`."""
    parameters = _seen_by(clip.camera, clip.parameters)
    betas = fit_betas(body, parameters.R_parent_joint, clip.camera.to_camera(clip.joints_world))
    return replace(parameters, betas=betas.expand(len(clip), -1))


def _seen_by(camera: Camera, parameters: BodyParameters) -> BodyParameters:
    R, p = parameters.R_parent_joint, parameters.p_world_root
    root = camera.R_cam_world @ R[:, :1]
    betas = parameters.betas.expand(len(p), -1)
    return BodyParameters(betas, torch.cat([root, R[:, 1:]], dim=1), camera.to_camera(p[:, None])[:, 0])


def in_camera_frame(camera: Camera) -> Camera:
    """Return the same lens at the origin: the world is the camera frame."""
    return replace(camera, R_cam_world=torch.eye(3), t_cam_world=torch.zeros(3))
