"""Penn Action (Zhang et al. 2013) as labelled clips: joints in the image, no truth in 3D."""

from collections.abc import Iterator
from pathlib import Path

from selfmocap.datasets.labelled.clip import (
    LabelledClip,
    keypoint_observations,
    video_images,
    with_crops,
)
from selfmocap.datasets.penn_action import (
    PENN_ACTION_KEYPOINTS,
    PennActionClip,
    penn_action_label_files,
    read_penn_action,
)
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.focal_prior import focal_prior, input_kind
from selfmocap.io.clock import DEFAULT_FPS
from selfmocap.tracking.observations import Observations


def penn_action_clips(folder: Path) -> Iterator[LabelledClip]:
    """Yield the test clips of the set, with crops where its `frames` exist, before a camera of a typical lens.

    Raises FileNotFoundError if there are none; other errors as in `read_penn_action`."""
    files = penn_action_label_files(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: no labels/*.mat in it; expected Penn Action as unpacked")
    for path in files:
        if (clip := read_penn_action(path)).is_train:
            continue
        observed, (width, height) = penn_action_observations(clip), clip.image_size
        images = path.parent.with_name("frames") / clip.name
        if images.is_dir():
            observed = with_crops(observed, video_images(images, range(len(clip))))
        focal = focal_prior(input_kind(width, height)).median * max(width, height)
        camera = Camera.looking_along_z(focal, width, height)
        yield LabelledClip(clip.name, observed, camera, DEFAULT_FPS, PENN_ACTION_KEYPOINTS.name, None)


def penn_action_observations(clip: PennActionClip) -> Observations:
    """Convert labelled keypoints to observations, at the frame rate assumed for image folders."""
    return keypoint_observations(
        clip.keypoints, clip.visible, PENN_ACTION_KEYPOINTS.name, clip.image_size, DEFAULT_FPS
    )
