"""3D Poses in the Wild (von Marcard et al. 2018) as labelled clips."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.model_folder import find_model
from selfmocap.body_model.skeleton import KEYPOINT_SETS
from selfmocap.datasets.labelled.clip import (
    LabelledClip,
    find_files,
    keypoint_observations,
    video_images,
    with_crops,
)
from selfmocap.datasets.three_dpw import OPENPOSE_18, THREE_DPW_FPS, ThreeDPWPerson, read_three_dpw
from selfmocap.io.video import open_video

MIN_VISIBLE_JOINTS = 7
"""Visible joints, of the 14, of a frame that counts (Kanazawa et al. 2019, the release)."""
VISIBLE_SCORE = 0.1
"""Least score of a visible joint of OpenPose."""
_IMAGE_SIZE = (1920, 1080)
"""px, where there are no images; upright videos have the sides exchanged."""
_JOINTS, _COCO = KEYPOINT_SETS["lsp-14"], KEYPOINT_SETS["coco-17"]


def three_dpw_clips(folder: Path, default: Body, smpl_model: Path | None) -> Iterator[LabelledClip]:
    """Yield every person of the test sequences of `sequenceFiles/test`, or of the folder itself.

    Keypoints are OpenPose's of the file. True joints are those of the user's SMPL model (a file, or a folder with one
    per gender), else of the default body in its mean shape. Frames count that have a valid camera and
    MIN_VISIBLE_JOINTS. Errors as in `read_three_dpw`."""
    test = folder / "sequenceFiles" / "test"
    model = cache(lambda gender: _model(smpl_model, gender))
    for path in find_files(test if test.is_dir() else folder, "*.pkl", "3DPW's sequenceFiles/test/*.pkl"):
        images = path.absolute().parent.parent.parent / "imageFiles" / path.stem
        for person in read_three_dpw(path):
            clip = _clip(person, default, model(person.motion.gender), images)
            yield replace(clip, sequence=path.stem)


def _model(smpl_model: Path | None, gender: str) -> Body | None:
    if smpl_model is None:
        return None
    return Body.load(find_model(smpl_model, gender, ("smpl",)) if smpl_model.is_dir() else smpl_model)


def _clip(person: ThreeDPWPerson, default: Body, model: Body | None, images: Path) -> LabelledClip:
    if person.keypoints is None:
        raise ValueError(f"{person.motion.name}: the file lacks poses2d; download the sequence files again")
    motion, body = person.motion, model or default
    parameters = motion.on_mean_shape(default) if model is None else motion.parameters(model)
    points, scores = person.keypoints[..., :2], person.keypoints[..., 2]
    columns = [OPENPOSE_18.index(name) for name in _COCO.names]
    has_images = images.is_dir()
    size = open_video(images).size if has_images else _IMAGE_SIZE
    observed = keypoint_observations(points[:, columns], scores[:, columns], _COCO.name, size, THREE_DPW_FPS)
    if has_images:
        observed = with_crops(observed, video_images(images, range(len(observed))))
    joints = person.camera.to_camera(_keypoints(body, parameters))
    counts = person.camera_valid & _enough_visible(scores)
    return LabelledClip(
        motion.name, observed, person.camera, THREE_DPW_FPS, _JOINTS.name, joints, scored=counts
    )


@torch.no_grad()
def _keypoints(body: Body, parameters: BodyParameters) -> Float[Tensor, "time 14 3"]:
    rows = torch.arange(len(parameters.p_world_root)).split(256)
    return torch.cat([body.keypoints(body.pose(parameters[r]).vertices, _JOINTS.name) for r in rows])


def _enough_visible(scores: Float[Tensor, "time 18"]) -> Bool[Tensor, " time"]:
    columns = [OPENPOSE_18.index(name) for name in _JOINTS.names if name in OPENPOSE_18]
    return (scores[:, columns] > VISIBLE_SCORE).sum(1) >= MIN_VISIBLE_JOINTS
