"""Find the vertical and the ground, from the balance of standing people and from their contacts."""

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
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, keypoints_world, with_parameters

_BODY_SEGMENTS = [
    ("spine1", "spine3", 0.435),
    ("head", "head", 0.069),
    *(
        (f"{side}_{one}", f"{side}_{other}", mass)
        for side in ("left", "right")
        for one, other, mass in (
            ("shoulder", "elbow", 0.027),
            ("elbow", "wrist", 0.016),
            ("wrist", "hand", 0.006),
            ("hip", "knee", 0.142),
            ("knee", "ankle", 0.043),
            ("ankle", "foot", 0.014),
        )
    ),
]
"""Two joints, with a fraction of the body's mass in the middle between them (de Leva 1996, Journal of Biomechanics
29:9)."""
_FOOT_JOINTS = [JOINT[f"{side}_{part}"] for side in ("left", "right") for part in ("ankle", "foot")]
_MIN_STANDING_LENGTH = 0.85
"""Fraction of the distance from ankles to head at rest above which a person stands."""
_MIN_UPRIGHT_COSINE = 0.5
"""Cosine of the greatest angle between the camera's vertical and a standing person's. At a greater angle they lie, or
stand on their hands."""
_LEVEL_CAMERA_SECONDS = 0.05
"""Weight of the prior that the camera is level, as seconds of standing."""
_TILT_NOISE = 0.07
"""Standard deviation of the ground's slope relative to the vertical of balance, radians."""
_POINT_NOISE = 0.04
"""Standard deviation of a foot point, metres."""
_DEPTH_NOISE = 0.04
"""Relative standard deviation of the distance from the camera."""
_ITERATIONS = 20


def level_rotation(motions: Sequence[Motion], body: Body) -> Float[Tensor, "3 3"]:
    """Estimate the rotation `R_level_world` to a world whose y is up, from all people before one camera.

    On average, the centre of mass of standing and walking people is above the middle of their feet, and their foot
    contacts lie on one plane. If no one stands, the camera is taken to be level, a moving one on average."""
    R_level_world = _rotation_to_y(_mean_upright(motions, body))
    small = keypoint_body(body)
    contacts = [
        _ground_contacts(_rotated(m, small, R_level_world), rest_heights(body, m.parameters.betas))
        for m in motions
    ]
    x, z = _slopes([one for one in contacts if len(one.position)]).tolist()
    normal = torch.tensor([-x, 1.0, -z]).double()
    return _rotation_to_y(normal / normal.norm()) @ R_level_world


def level_motion(motion: Motion, body: Body, R_level_world: Float[Tensor, "3 3"] | None = None) -> Motion:
    """Rotate the motion and its camera into a world whose y is up; the projection stays.

    `R_level_world` is the `level_rotation` of all people in the video, by default that of this motion."""
    R = level_rotation([motion], body) if R_level_world is None else R_level_world
    return _rotated(motion, keypoint_body(body), R)


def place_on_ground(motion: Motion, body: Body, heights: Float[Tensor, "4"]) -> Motion:
    """Move the motion and its camera along y, so that the ground under the feet is y = 0. `heights` are the
    `rest_heights` of foot_contact."""
    ground_heights = keypoints_world(motion, FOOT_POINTS)[..., 1] - heights
    in_contact = ground_heights[find_contacts(motion)]
    ground = in_contact.median() if len(in_contact) else ground_heights.amin(1).quantile(0.1)
    return _lifted(motion, body, -ground)


def standing_frames(motion: Motion, body: Body) -> Bool[Tensor, " time"]:
    """Find the frames in which the head is far enough from the ankles for a person who stands."""
    joints = motion.joints_cam.double()
    rest_joints = body.shape(motion.parameters.betas).joints
    return _ankles_to_head(joints) > _MIN_STANDING_LENGTH * _ankles_to_head(rest_joints)


def _mean_upright(motions: Sequence[Motion], body: Body) -> Float[Tensor, "3"]:
    """Average the direction from between the feet to the centre of mass over all standing frames, and the world's y
    with the weight of `_LEVEL_CAMERA_SECONDS`."""
    up = torch.tensor([0.0, _LEVEL_CAMERA_SECONDS, 0.0]).double()
    for motion in motions:
        joints = motion.camera.to_world(motion.joints_cam).double()
        upright = torch.nn.functional.normalize(
            centre_of_mass(joints) - joints[:, _FOOT_JOINTS].mean(1), dim=-1
        )
        standing = standing_frames(motion, body) & (upright[:, 1] > _MIN_UPRIGHT_COSINE)
        up += upright[standing].sum(0) / nominal_fps(motion.frame_index, motion.frame_times)
    return up / up.norm()


def _ankles_to_head(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch"]:
    """Compute the distance from the middle of the ankles to the head."""
    ankles = joints[..., [JOINT["left_ankle"], JOINT["right_ankle"]], :].mean(-2)
    return (joints[..., JOINT["head"], :] - ankles).norm(dim=-1)


def centre_of_mass(joints: Float[Tensor, "time 24 3"]) -> Float[Tensor, "time 3"]:
    """Compute the centre of mass of the body's segments, in the frame of the joints."""
    parts = [
        mass * (joints[:, JOINT[one]] + joints[:, JOINT[other]]) / 2 for one, other, mass in _BODY_SEGMENTS
    ]
    return torch.stack(parts).sum(0) / sum(mass for *_, mass in _BODY_SEGMENTS)


@dataclass(frozen=True, eq=False)
class _GroundContacts:
    """The ground under the points of one person's feet in contact."""

    position: Float[Tensor, "points 3"]
    """Metres, in the world."""
    seconds: Float[Tensor, " points"]
    """Duration of the contact."""
    noise: Float[Tensor, " points"]
    """Standard deviation of the height, metres. It grows with the height of the camera above the point."""


def _ground_contacts(motion: Motion, heights: Float[Tensor, "4"]) -> _GroundContacts:
    points = keypoints_world(motion, FOOT_POINTS) - heights[:, None] * torch.tensor([0.0, 1.0, 0.0])
    contacts = find_contacts(motion)
    position = points[contacts].double()
    frame_seconds = 1 / nominal_fps(motion.frame_index, motion.frame_times)
    seconds = torch.full((len(position),), frame_seconds).double()
    camera_height = motion.camera.p_world_cam.double()[..., 1:2].expand(len(motion), points.shape[1])
    drop = position[:, 1] - camera_height[contacts]
    noise = torch.hypot(torch.tensor(_POINT_NOISE).double(), _DEPTH_NOISE * drop)
    return _GroundContacts(position, seconds, noise)


def _slopes(contacts: Sequence[_GroundContacts]) -> Float[Tensor, "2"]:
    """Estimate (b, c) of y = b x + c z + a by robust least squares with Cauchy weights. Each person has an `a` of
    their own, because an error of their distance is an error of their height."""
    if not contacts:
        return torch.zeros(2).double()
    points = concat(contacts)
    person_columns = torch.block_diag(*(torch.ones(len(one.position), 1) for one in contacts)).double()
    design = torch.cat([points.position[:, [0, 2]], person_columns], dim=1)
    prior = torch.full((design.shape[1],), 1e-6).double()
    prior[:2] = _TILT_NOISE**-2
    solution = torch.zeros_like(prior)
    for _ in range(_ITERATIONS):
        residual = (points.position[:, 1] - design @ solution) / points.noise
        # The errors of neighbouring frames are correlated: a second of one point counts as one measurement.
        weighted = design * (points.seconds / points.noise**2 / (1 + residual**2))[:, None]
        solution = torch.linalg.solve(weighted.T @ design + prior.diag(), weighted.T @ points.position[:, 1])
    return solution[:2]


def _rotation_to_y(up: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Compute the smallest rotation of a unit vector to y. `rotations.shortest_arc` rounds differently."""
    x, y, z = up.tolist()
    cross = torch.tensor([[0.0, -x, 0.0], [x, 0.0, z], [0.0, -z, 0.0]]).double()
    return torch.eye(3).double() + cross + cross @ cross / (1 + y)


def _rotated(motion: Motion, body: Body, R_new_world: Float[Tensor, "3 3"]) -> Motion:
    """Rotate the world of a motion."""
    parameters, R = motion.parameters, R_new_world.to(motion.joints_cam)
    R_parent_joint = parameters.R_parent_joint.clone()
    R_parent_joint[:, 0] = R @ R_parent_joint[:, 0]
    camera = replace(motion.camera, R_cam_world=motion.camera.R_cam_world @ R.T)
    rotated = BodyParameters(parameters.betas, R_parent_joint, parameters.p_world_root @ R.T)
    return with_parameters(motion, body, rotated, camera=camera)


def _lifted(motion: Motion, body: Body, metres: Float[Tensor, ""]) -> Motion:
    """Move the person and the camera up."""
    up = torch.tensor([0.0, 1.0, 0.0]).to(motion.joints_cam) * metres
    camera = motion.camera
    camera = replace(camera, t_cam_world=camera.t_cam_world - camera.R_cam_world @ up)
    lifted = replace(motion.parameters, p_world_root=motion.parameters.p_world_root + up)
    return with_parameters(motion, body, lifted, camera=camera)
