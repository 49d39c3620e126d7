"""Human3.6M's files: `data_3d_h36m.npz`, `metadata.xml`, and videos `S9/Videos/NAME.60457274.mp4` and S11's of one
camera. People have the mean shape of the default body; the other joints of the 32 are at the pelvis."""

from pathlib import Path

import numpy as np
import torch

from selfmocap.datasets.human36m import (
    HUMAN36M_CAMERAS,
    HUMAN36M_FPS,
    JOINTS_17_OF_32,
    read_human36m_cameras,
)
from selfmocap.geometry.rotations import R_YUP_ZUP
from selfmocap.io.atomic import atomic_write
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.clips import true_motion
from selfmocap.synthetic.layouts.material import LayoutMaterial, write_film

_SUBJECTS = ("S9", "S11")
_CAMERA = HUMAN36M_CAMERAS[3]
_SIDE, _FOCAL = 500, 572.5
"""px: half of the real images'."""
_POSE = (np.pi / 2, 0.0, 0.0, 0.0, -4000.0, 1200.0)
"""Angles (rad) and position (mm) of all cameras: level, 1.2 m above the floor."""
_CAMERAS = CameraConfig(
    size=(_SIDE, _SIDE),
    focal=(_FOCAL / _SIDE, _FOCAL / _SIDE),
    distance=(3.5, 6.0),
    panning=0.0,
    hand_held=0.0,
)
_METADATA, _POSITIONS = "metadata.xml", ".positions"
_JOINTS = 32


def human36m_subject(index: int) -> str:
    """Return the subject of a clip: by turns."""
    return _SUBJECTS[index % len(_SUBJECTS)]


def human36m_paths(index: int) -> tuple[str, ...]:
    """Return the paths of a clip's files, in the order in which they appear."""
    subject, name = human36m_subject(index), f"clip_{index:05d}"
    return f"{subject}/Videos/{name}.{_CAMERA}.mp4", f"{_POSITIONS}/{subject}/{name}.npy"


def write_human36m(material: LayoutMaterial, index: int, out: Path) -> None:
    """Write the video of a clip below `out`, and its joints for `collect_human36m`."""
    video, positions = (out / path for path in human36m_paths(index))
    for path in (video, positions):
        path.parent.mkdir(parents=True)
    clip = material.clip(index, _CAMERAS, HUMAN36M_FPS, 0)
    _write_metadata(out / _METADATA)
    camera = read_human36m_cameras(out / _METADATA)[human36m_subject(index)][_CAMERA].camera
    motion = true_motion(clip, material.body, f"{material.seed}/{index}")
    with torch.no_grad():
        points = material.body.keypoints(material.body.pose(motion.parameters).vertices, "human36m-17")
    world = camera.to_world(motion.camera.to_camera(points)) @ R_YUP_ZUP.to(points)
    joints = world[:, :1].expand(-1, _JOINTS, 3).clone()
    joints[:, list(JOINTS_17_OF_32)] = world
    np.save(positions, joints.numpy())
    write_film(video, clip.images, HUMAN36M_FPS)


def collect_human36m(out: Path) -> None:
    """Write the joints of all clips, and the cameras, into the folder `out`. A run that adds clips finds the joints of
    the former ones in `.positions`."""
    subjects = {
        subject.name: {path.stem: np.load(path) for path in sorted(subject.glob("*.npy"))}
        for subject in sorted((out / _POSITIONS).iterdir())
    }
    _write_metadata(out / _METADATA)
    with atomic_write(out / "data_3d_h36m.npz") as partial, partial.open("wb") as file:
        np.savez_compressed(file, positions_3d=np.array(subjects, dtype=object))


def _write_metadata(path: Path) -> None:
    lens = (_FOCAL, _FOCAL, (_SIDE - 1) / 2, (_SIDE - 1) / 2, 0.0, 0.0, 0.0, 0.0, 0.0)
    subjects = 11
    values = [*_POSE * (subjects * len(HUMAN36M_CAMERAS)), *lens * len(HUMAN36M_CAMERAS)]
    with atomic_write(path) as partial:
        partial.write_text(f"<metadata><w0>[{' '.join(map(repr, map(float, values)))}]</w0></metadata>\n")
