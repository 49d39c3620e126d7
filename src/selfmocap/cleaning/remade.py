"""A motion with other parameters, and all that follows from them."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body import Body, BodyParameters
from selfmocap.motion import Motion
from selfmocap.skeleton import DEFAULT_KEYPOINTS

_FRAMES_AT_ONCE = 256


def light(body: Body) -> Body:
    """The body with the vertices of its keypoints alone: what a motion needs of it, at a tenth of the memory."""
    return body.restricted(torch.unique(body.regressors[DEFAULT_KEYPOINTS.name].vertices))


def remade(motion: Motion, body: Body, parameters: BodyParameters, **fields: Any) -> Motion:
    """The motion with other parameters, and other `fields` where they change too. Memory beyond the result does not
    grow with the clip: the body is posed some frames at a time."""
    parameters = parameters.to(motion.joints_cam.dtype)
    shaped = body.shape(parameters.betas)
    joints, keypoints = [], []
    with torch.no_grad():
        for R, p in zip(
            parameters.R_parent_joint.split(_FRAMES_AT_ONCE),
            parameters.p_world_root.split(_FRAMES_AT_ONCE),
            strict=True,
        ):
            posed = shaped.pose(R, p)
            joints.append(posed.joints)
            keypoints.append(body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name))
    camera = fields.get("camera", motion.camera)
    return replace(
        motion,
        parameters=parameters,
        joints_cam=camera.to_camera(torch.cat(joints)),
        keypoints_cam=camera.to_camera(torch.cat(keypoints)),
        **fields,
    )


def stretches(motion: Motion) -> list[slice]:
    """The runs of frames that follow each other in the video."""
    cuts = (torch.nonzero(motion.frame_index.diff() > 1).flatten() + 1).tolist()
    return [slice(start, end) for start, end in zip([0, *cuts], [*cuts, len(motion)], strict=True)]


def keypoints_world(motion: Motion, names: tuple[str, ...]) -> Float[Tensor, "time points 3"]:
    """Some of the COCO-23 points in the world, metres."""
    chosen = [DEFAULT_KEYPOINTS.index(name) for name in names]
    return motion.camera.to_world(motion.keypoints_cam)[:, chosen]
