"""Which way is up for a static camera, and where the ground is: from how people stand, and where their feet did."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.tensors import concat
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts, rest_heights
from selfmocap.pipeline.postprocessing.rebuild import keypoints_world, keypoint_body, with_parameters

_SEGMENTS = [
    ("spine1", "spine3", 0.435),
    ("head", "head", 0.069),
    *(
        (f"{side}_{one}", f"{side}_{other}", share)
        for side in ("left", "right")
        for one, other, share in (
            ("shoulder", "elbow", 0.027),
            ("elbow", "wrist", 0.016),
            ("wrist", "hand", 0.006),
            ("hip", "knee", 0.142),
            ("knee", "ankle", 0.043),
            ("ankle", "foot", 0.014),
        )
    ),
]
"""Shares of a body's mass (de Leva 1996, Journal of Biomechanics 29:9), each in the middle between two joints."""
_FEET = [JOINT[f"{side}_{part}"] for side in ("left", "right") for part in ("ankle", "foot")]
_STANDING = 0.85
"""Of the distance from ankles to head at rest: a person who reaches it stands."""
_STEEPEST = 0.5
"""Cosine of the greatest angle between the camera's upright and a person's: beyond it the person lies, or stands on the
hands."""
_CAMERA_SECONDS = 0.05
"""For how long a person must stand to count as much as the belief that cameras are level."""
_TILT = 0.07
"""Radians that the ground is off what balance says, typically."""
_POINT_NOISE = 0.04
"""Metres that a foot's point is off, typically."""
_DEPTH_NOISE = 0.04
"""How far the distance from the camera is off, typically."""
_ROUNDS = 20


def level_rotation(motions: Sequence[Motion], body: Body) -> Float[Tensor, "3 3"]:
    """From the world that the people before one static camera share to one whose y is up: people who stand and walk
    have, on average, their centre of mass above the middle of their feet, and the places where their feet stood are
    on one level. Where nobody stands, the camera is believed to be level."""
    R_level_world = _to_vertical(_balance(motions, body))
    small = keypoint_body(body)
    steps = [
        _steps(_turned(m, small, R_level_world), rest_heights(body, m.parameters.betas)) for m in motions
    ]
    x, z = _slopes([step for step in steps if len(step.place)]).tolist()
    normal = torch.tensor([-x, 1.0, -z]).double()
    return _to_vertical(normal / normal.norm()) @ R_level_world


def level_motion(motion: Motion, body: Body, R_level_world: Float[Tensor, "3 3"] | None = None) -> Motion:
    """The motion in a world whose y is up; the camera turns with it, so that the pictures stay the same.
    `R_level_world` is the `level_rotation` of all who are before the camera, by default of this person alone."""
    return _turned(motion, keypoint_body(body), level_rotation([motion], body) if R_level_world is None else R_level_world)


def place_on_ground(motion: Motion, body: Body, heights: Float[Tensor, "4"]) -> Motion:
    """The motion, in a world whose y is up, moved with its camera so that y = 0 is the ground under its feet; `heights`
    as in `contacts.rest_heights`."""
    under = keypoints_world(motion, FOOT_POINTS)[..., 1] - heights
    standing = under[find_contacts(motion)]
    ground = standing.median() if len(standing) else under.amin(1).quantile(0.1)
    return _lifted(motion, body, -ground)


def standing_frames(motion: Motion, body: Body) -> Bool[Tensor, " time"]:
    """The frames in which the head is far enough from the ankles."""
    joints = motion.joints_cam.double()
    return _length(joints) > _STANDING * _length(body.shape(motion.parameters.betas).joints)


def _balance(motions: Sequence[Motion], body: Body) -> Float[Tensor, "3"]:
    """The mean direction from between the feet to the centre of mass, over all frames in which somebody stands and a
    moment of the world's y."""
    up = torch.tensor([0.0, _CAMERA_SECONDS, 0.0]).double()
    for motion in motions:
        joints = motion.camera.to_world(motion.joints_cam).double()
        upwards = torch.nn.functional.normalize(_centre_of_mass(joints) - joints[:, _FEET].mean(1), dim=-1)
        standing = standing_frames(motion, body) & (upwards[:, 1] > _STEEPEST)
        up += upwards[standing].sum(0) / nominal_fps(motion.frame_index, motion.frame_times)
    return up / up.norm()


def _length(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch"]:
    """From the ankles to the head."""
    ankles = joints[..., [JOINT["left_ankle"], JOINT["right_ankle"]], :].mean(-2)
    return (joints[..., JOINT["head"], :] - ankles).norm(dim=-1)


def _centre_of_mass(joints: Float[Tensor, "time 24 3"]) -> Float[Tensor, "time 3"]:
    parts = [share * (joints[:, JOINT[one]] + joints[:, JOINT[other]]) / 2 for one, other, share in _SEGMENTS]
    return torch.stack(parts).sum(0) / sum(share for *_, share in _SEGMENTS)


@dataclass(frozen=True, eq=False)
class _Steps:
    """Where the ground was under the points of a person's feet while they stood."""

    place: Float[Tensor, "points 3"]
    """Metres, in the world."""
    seconds: Float[Tensor, " points"]
    """For how long."""
    noise: Float[Tensor, " points"]
    """Metres that its height is off, typically: the more, the further away it is seen from above."""


def _steps(motion: Motion, heights: Float[Tensor, "4"]) -> _Steps:
    points = keypoints_world(motion, FOOT_POINTS) - heights[:, None] * torch.tensor([0.0, 1.0, 0.0])
    place = points[find_contacts(motion)].double()
    seconds = torch.full((len(place),), 1 / nominal_fps(motion.frame_index, motion.frame_times)).double()
    drop = place[:, 1] - motion.camera.p_world_cam.double()[1]
    return _Steps(place, seconds, torch.hypot(torch.tensor(_POINT_NOISE).double(), _DEPTH_NOISE * drop))


def _slopes(steps: Sequence[_Steps]) -> Float[Tensor, "2"]:
    """(b, c) of y = b x + c z + a by Cauchy's robust least squares, where everybody has an `a` of their own: how far
    away a person is, and so at which height, is not known well."""
    if not steps:
        return torch.zeros(2).double()
    everybody = concat(steps)
    own = torch.block_diag(*(torch.ones(len(step.place), 1) for step in steps)).double()
    design = torch.cat([everybody.place[:, [0, 2]], own], dim=1)
    hold = torch.full((design.shape[1],), 1e-6).double()
    hold[:2] = _TILT**-2
    solution = torch.zeros_like(hold)
    for _ in range(_ROUNDS):
        misfit = (everybody.place[:, 1] - design @ solution) / everybody.noise
        # The errors of neighbouring frames are alike: a second of one point counts as one measurement.
        weighed = design * (everybody.seconds / everybody.noise**2 / (1 + misfit**2))[:, None]
        solution = torch.linalg.solve(weighed.T @ design + hold.diag(), weighed.T @ everybody.place[:, 1])
    return solution[:2]


def _to_vertical(up: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The least rotation that turns a direction to y."""
    x, y, z = up.tolist()
    cross = torch.tensor([[0.0, -x, 0.0], [x, 0.0, z], [0.0, -z, 0.0]]).double()
    return torch.eye(3).double() + cross + cross @ cross / (1 + y)


def _turned(motion: Motion, body: Body, R_new_world: Float[Tensor, "3 3"]) -> Motion:
    parameters, R = motion.parameters, R_new_world.to(motion.joints_cam)
    R_parent_joint = parameters.R_parent_joint.clone()
    R_parent_joint[:, 0] = R @ R_parent_joint[:, 0]
    camera = replace(motion.camera, R_cam_world=motion.camera.R_cam_world @ R.T)
    turned = BodyParameters(parameters.betas, R_parent_joint, parameters.p_world_root @ R.T)
    return with_parameters(motion, body, turned, camera=camera)


def _lifted(motion: Motion, body: Body, metres: Float[Tensor, ""]) -> Motion:
    up = torch.tensor([0.0, 1.0, 0.0]).to(motion.joints_cam) * metres
    camera = motion.camera
    camera = replace(camera, t_cam_world=camera.t_cam_world - camera.R_cam_world @ up)
    lifted = replace(motion.parameters, p_world_root=motion.parameters.p_world_root + up)
    return with_parameters(motion, body, lifted, camera=camera)
