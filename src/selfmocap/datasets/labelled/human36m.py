"""Human3.6M (Ionescu et al. 2014) as labelled clips: the test subjects at 25 frames a second, with true keypoints."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.skeleton import KEYPOINT_SETS, WITH_JOINTS
from selfmocap.datasets.human36m import (
    HUMAN36M_CAMERAS,
    HUMAN36M_FPS,
    JOINTS_17_OF_32,
    Human36mCamera,
    read_human36m_cameras,
    read_human36m_positions,
)
from selfmocap.datasets.labelled.clip import (
    LabelledClip,
    find_files,
    in_frame,
    keypoint_observations,
    middle,
    spread,
    video_images,
    with_crops,
    with_flow,
)
from selfmocap.io.video import open_video
from selfmocap.tracking.detectors.window import RgbImage
from selfmocap.tracking.observations import Observations

HUMAN36M_TEST_SUBJECTS = ("S9", "S11")
HUMAN36M_TEST_CAMERA = HUMAN36M_CAMERAS[3]
_EVERY = 2
"""Every second frame: 25 frames a second, as both papers."""
_IMAGE_SIZE = (1000, 1002)
"""px, where there is no video; those of two cameras are two rows less."""
_SET = KEYPOINT_SETS["human36m-17"]


def human36m_clips(
    folder: Path, max_frames: int | None = None, max_clips: int | None = None, flow: bool = False
) -> Iterator[LabelledClip]:
    """Yield the clips of the test subjects before camera 60457274: all, or `max_clips` at equal distances; all frames,
    or the middle `max_frames`.

    Keypoints are the projected joints, without the lens' distortion. Crops, from images without distortion, and with
    `flow` the optical flow, exist where the set's videos do. Errors as in `read_human36m_positions`."""
    subjects = read_human36m_positions(folder)
    cameras = read_human36m_cameras(find_files(folder, "metadata.xml", "the metadata.xml of Human3.6M")[0])
    recordings = [
        (subject, action, joints)
        for subject in HUMAN36M_TEST_SUBJECTS
        for action, joints in subjects.get(subject, {}).items()
    ]
    if not recordings:
        raise ValueError(
            f"{folder}: expected the subjects {' and '.join(HUMAN36M_TEST_SUBJECTS)}, found {', '.join(subjects)}"
        )
    for index in spread(len(recordings), max_clips):
        subject, action, joints = recordings[index]
        rows = torch.arange(0, len(joints), _EVERY)
        rows = rows[middle(len(rows), max_frames)]
        video = folder / subject / "Videos" / f"{action}.{HUMAN36M_TEST_CAMERA}.mp4"
        camera = cameras[subject][HUMAN36M_TEST_CAMERA]
        yield _clip(f"{subject}/{action}", joints[rows], rows, camera, video, flow)


def _clip(
    name: str,
    joints_32: Float[Tensor, "time 32 3"],
    rows: Tensor,
    lens: Human36mCamera,
    video: Path,
    flow: bool,
) -> LabelledClip:
    joints = lens.camera.to_camera(joints_32[:, list(JOINTS_17_OF_32)])
    camera = replace(lens.camera, R_cam_world=torch.eye(3), t_cam_world=torch.zeros(3))
    has_video = video.is_file()
    size = open_video(video).size if has_video else _IMAGE_SIZE
    pixels = camera.project(joints)
    fps = HUMAN36M_FPS / _EVERY
    observed = _with_limbs(keypoint_observations(pixels, in_frame(pixels, size), _SET.name, size, fps))
    if has_video:
        images: Iterable[RgbImage] = (
            _undistorted(image, lens) for image in video_images(video, rows.tolist())
        )
        if flow:
            kept = list(images)
            observed, images = with_flow(observed, kept), kept
        observed = with_crops(observed, images)
    return LabelledClip(name, observed, camera, fps, _SET.name, joints)


def _with_limbs(observed: Observations) -> Observations:
    """Convert to WITH_JOINTS, with the joints of the limbs also as COCO's points: a hip is up to 3 cm off."""
    converted = observed.in_set(WITH_JOINTS.name)
    points, confidence = converted.keypoints.clone(), converted.keypoint_confidence.clone()
    for column, name in enumerate(_SET.names):
        if name in WITH_JOINTS.names:
            points[:, WITH_JOINTS.index(name)] = observed.keypoints[:, column]
            confidence[:, WITH_JOINTS.index(name)] = observed.keypoint_confidence[:, column]
    return replace(converted, keypoints=points, keypoint_confidence=confidence)


def _undistorted(image: RgbImage, lens: Human36mCamera) -> RgbImage:
    import cv2

    (fx, fy), (cx, cy) = lens.camera.focal.tolist(), lens.camera.center.tolist()
    k1, k2, k3, p1, p2 = (*lens.radial.tolist(), *lens.tangential.tolist())
    return cv2.undistort(
        image, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.array([k1, k2, p1, p2, k3])
    )
