"""Replace a motion's parameters, and the joints and keypoints that follow from them."""

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
    """Restrict a body to the vertices of its keypoints. A motion needs no others; they take a tenth of the memory."""
    return body.with_vertices(torch.unique(body.regressors[DEFAULT_KEYPOINTS.name].vertices))


def with_parameters(motion: Motion, body: Body, parameters: BodyParameters, **fields: Any) -> Motion:
    """Return the motion with other parameters, the joints and keypoints that follow, and other `fields`."""
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
    """Return the runs of rows whose frames follow each other in the video."""
    return [slice(*run) for run in runs_between(motion.frame_index.diff() > 1)]


def keypoints_world(motion: Motion, names: tuple[str, ...]) -> Float[Tensor, "time points 3"]:
    """Return some of the COCO-23 keypoints in the world frame, metres."""
    columns = [DEFAULT_KEYPOINTS.index(name) for name in names]
    return motion.camera.to_world(motion.keypoints_cam)[:, columns]
