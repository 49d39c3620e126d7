"""A motion with other parameters, and all that follows from them."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion, joints_and_keypoints
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.tensors import runs_between


def keypoint_body(body: Body) -> Body:
    """The body with the vertices of its keypoints alone: what a motion needs of it, at a tenth of the memory."""
    return body.with_vertices(torch.unique(body.regressors[DEFAULT_KEYPOINTS.name].vertices))


def with_parameters(motion: Motion, body: Body, parameters: BodyParameters, **fields: Any) -> Motion:
    """The motion with other parameters, and other `fields` where they change too."""
    parameters = parameters.to(motion.joints_cam.dtype)
    joints, keypoints = joints_and_keypoints(body, parameters)
    camera = fields.get("camera", motion.camera)
    return replace(
        motion,
        parameters=parameters,
        joints_cam=camera.to_camera(joints),
        keypoints_cam=camera.to_camera(keypoints),
        **fields,
    )


def consecutive_slices(motion: Motion) -> list[slice]:
    """The runs of frames that follow each other in the video."""
    return [slice(*run) for run in runs_between(motion.frame_index.diff() > 1)]


def keypoints_world(motion: Motion, names: tuple[str, ...]) -> Float[Tensor, "time points 3"]:
    """Some of the COCO-23 points in the world, metres."""
    chosen = [DEFAULT_KEYPOINTS.index(name) for name in names]
    return motion.camera.to_world(motion.keypoints_cam)[:, chosen]
