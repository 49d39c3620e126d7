"""Retarget the motion of a skeleton to the body's 24 joints by rest-pose alignment.

In one reference pose, near a T, every bone of the body is aligned with the recorded skeleton's. From then on each joint
rotates in the world as the recorded joint does, so that measured twist is kept. The body is shaped to the skeleton's
proportions, the path of its hips is scaled by the length of its legs, and its feet are put on the ground."""

from dataclasses import replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.joint_limits import repair_rotations
from selfmocap.body_model.skeleton import JOINT, JOINT_PARENTS
from selfmocap.datasets.retargeting.ground import lowest_height, put_on_ground
from selfmocap.datasets.retargeting.reference import SIDES, ReferencePose, reference_points, unit_vector
from selfmocap.datasets.retargeting.rig_structure import identify_rig
from selfmocap.datasets.retargeting.rigs import RigNaming
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.geometry.rotations import interpolate

TRUNK_LEAN_FRACTION = 0.7
"""Fraction of the angle at which the skeleton's line from hips to shoulders leans in its reference pose that counts as
a lean of the back.

The rest is another meaning of `hip`: CMU's hip joints lie 3 to 5 cm in front of a person's, so that walking people
would lean 5 degrees backwards. With a fraction of 0 shoulders are 7 cm from their measured positions."""
_LENGTHS = (
    ("left_hip", "left_knee", 0.006), ("left_knee", "left_ankle", 0.006), ("left_shoulder", "left_elbow", 0.006),
    ("left_elbow", "left_wrist", 0.006), ("left_hip", "right_hip", 0.015), ("left_shoulder", "right_shoulder", 0.01),
    ("left_hip", "left_shoulder", 0.0075),
)  # fmt: skip
"""Lengths that determine the shape, with the standard deviation (m) of their definitions in different rigs."""
_DOWN_THE_LIMBS = (
    ("hip", "knee"),
    ("knee", "ankle"),
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("wrist", "hand"),
)


def retarget(
    motion: SkeletonMotion,
    reference: SkeletonMotion,
    body: Body,
    betas: Float[Tensor, " betas"] | None = None,
) -> BodyParameters:
    """Return the body moving like the skeleton, with its lowest points on the ground y = 0.

    `reference` is the skeleton in a pose near a T (see `reference_pose`). Without `betas` the body is shaped to the
    skeleton's proportions. Raises ValueError for a skeleton of unknown joints."""
    rig = identify_rig(motion)
    seen = reference_points(reference, rig)
    betas = fit_betas_to_joints(seen.points, body) if betas is None else betas
    rest = body.shape(betas.to(body.v_template)).joints.double()
    R_world_joint, p_world_joint = motion.world()
    turned = dict(zip(motion.joint_names, R_world_joint.unbind(1), strict=True))
    R_body = _body_rotations(turned, seen, rig, rest)
    hips = [p_world_joint[:, motion.joint_names.index(name)] for name in rig.limbs["hip"]]
    scale = _leg_length(_named(rest)) / _leg_length(seen.points)
    to_hips = (rest[JOINT["left_hip"]] + rest[JOINT["right_hip"]]) / 2 - rest[JOINT["pelvis"]]
    p_world_root = scale * (hips[0] + hips[1]) / 2 - R_body[:, JOINT["pelvis"]] @ to_hips
    R_parent_joint = R_body.clone()
    R_parent_joint[:, 1:] = R_body[:, JOINT_PARENTS[1:]].mT @ R_body[:, 1:]
    parameters = BodyParameters(betas, repair_rotations(R_parent_joint), p_world_root).to(
        body.v_template.dtype
    )
    return put_on_ground(parameters, lowest_height(body, parameters))


def with_shape(parameters: BodyParameters, body: Body, betas: Float[Tensor, " betas"]) -> BodyParameters:
    """Return the same motion of a body of another shape: the path is scaled by the length of the legs, the feet are put
    on the ground."""
    before, after = (_named(body.shape(shape).joints) for shape in (parameters.betas, betas))
    scale = _leg_length(after) / _leg_length(before)
    moved = replace(parameters, betas=betas, p_world_root=parameters.p_world_root * scale)
    return put_on_ground(moved, lowest_height(body, moved))


def fit_betas_to_joints(
    points: dict[str, Float[Tensor, "3"]], body: Body, steps: int = 6
) -> Float[Tensor, " betas"]:
    """Fit the most likely shape (standard normal) of a skeleton with joints at `points` to the lengths of limbs, trunk,
    hips and shoulders, by Gauss-Newton."""
    J_template = body.J_template.double()
    J_shapedirs = body.J_shapedirs[:10].double().unflatten(1, (24, 3))
    sigma = torch.tensor([row[2] for row in _LENGTHS], dtype=torch.float64)
    target = torch.stack([(points[a] - points[b]).norm() for a, b, _ in _LENGTHS]).double()
    pairs = torch.tensor([[JOINT[a], JOINT[b]] for a, b, _ in _LENGTHS])
    betas = torch.zeros(len(J_shapedirs), dtype=torch.float64)

    def residuals(betas: Tensor) -> Tensor:
        joints = J_template + torch.einsum("b,bjc->jc", betas, J_shapedirs)
        lengths = (joints[pairs[:, 0]] - joints[pairs[:, 1]]).norm(dim=-1)
        return torch.cat([(lengths - target) / sigma, betas])

    for _ in range(steps):
        jacobian = torch.func.jacrev(residuals)(betas)
        betas = betas - torch.linalg.lstsq(jacobian, residuals(betas)[:, None]).solution[:, 0]
    return betas.to(body.v_template)


def _named(joints: Float[Tensor, "24 3"]) -> dict[str, Float[Tensor, "3"]]:
    return {name: joints[index] for name, index in JOINT.items()}


def _leg_length(points: dict[str, Float[Tensor, "3"]]) -> float:
    pairs = [
        (f"{side}_{a}", f"{side}_{b}") for side in SIDES for a, b in (("hip", "knee"), ("knee", "ankle"))
    ]
    return float(sum((points[a] - points[b]).norm() for a, b in pairs))


# ---- rotations -------------------------------------------------------------------------------------------------


def _body_rotations(
    turned: dict[str, Float[Tensor, "time 3 3"]],
    reference: ReferencePose,
    rig: RigNaming,
    rest: Float[Tensor, "24 3"],
) -> Float[Tensor, "time 24 3 3"]:
    """Compute `R_world_joint` of the body's joints."""

    def follow(name: str, R_world_laid: Tensor) -> Tensor:
        """A joint of the body that lies as `R_world_laid` in the reference pose, turning with a recorded joint."""
        return turned[name] @ (reference.R_world_joint[name].mT @ R_world_laid)

    upright = reference.R_world_person
    R = {"pelvis": follow(rig.pelvis, upright)}
    leaning = _trunk_lean(reference, _named(rest)) @ upright
    back = [R["pelvis"], *(follow(name, leaning) for name in rig.spine)]
    R |= {f"spine{k}": _interpolate_chain(back, k / 3) for k in (1, 2, 3)}
    neck = [follow(rig.spine[-1], upright), *(follow(name, upright) for name in rig.neck)]
    R |= {"neck": _interpolate_chain(neck, 1 / 2), "head": _interpolate_chain(neck, 1.0)}
    for index, side in enumerate(SIDES):
        names = {part: pair[index] for part, pair in rig.limbs.items()}
        laid = _laid_limbs(side, reference, _named(rest))
        R[f"{side}_collar"] = follow(names["collar"], leaning)
        for part in ("hip", "knee", "shoulder", "elbow"):
            R[f"{side}_{part}"] = follow(names[part], laid[part])
        rolled = _foot_roll(side, reference) @ upright
        R[f"{side}_ankle"] = follow(names["ankle"], rolled)
        R[f"{side}_foot"] = follow(names.get("foot", names["ankle"]), rolled)
        R[f"{side}_wrist"] = R[f"{side}_hand"] = follow(names.get("palm", names["wrist"]), laid["wrist"])
        forearm = rest[JOINT[f"{side}_wrist"]] - rest[JOINT[f"{side}_elbow"]]
        R[f"{side}_elbow"] = _with_half_the_twist(R[f"{side}_elbow"], R[f"{side}_wrist"], forearm)
    return torch.stack([R[name] for name in JOINT], dim=1)


def _interpolate_chain(chain: list[Float[Tensor, "time 3 3"]], share: float) -> Float[Tensor, "time 3 3"]:
    """Interpolate the orientation at a fraction of the way along a chain of joints."""
    place = share * (len(chain) - 1)
    below = min(int(place + 1e-9), len(chain) - 2)
    rest = place - below
    return chain[below + 1] if rest > 1 - 1e-9 else interpolate(chain[below], chain[below + 1], rest)


def _trunk_lean(reference: ReferencePose, rest: dict[str, Float[Tensor, "3"]]) -> Float[Tensor, "3 3"]:
    """Compute the rotation of the body's upright back towards the skeleton's line from the hips to the shoulders."""

    def trunk(points: dict[str, Tensor]) -> Tensor:
        return sum((points[f"{side}_shoulder"] - points[f"{side}_hip"] for side in SIDES), torch.zeros(3))

    whole = _shortest_arc(reference.R_world_person @ trunk(rest), trunk(reference.points))
    return interpolate(torch.eye(3, dtype=whole.dtype), whole, TRUNK_LEAN_FRACTION)


def _laid_limbs(
    side: str, reference: ReferencePose, rest: dict[str, Float[Tensor, "3"]]
) -> dict[str, Float[Tensor, "3 3"]]:
    """Compute `R_world` of the joints of the body's limbs, aligned with the skeleton's limbs in the reference pose by
    the smallest rotation from the bone before. Where the rig lacks a point, the bone continues the one before."""
    laid = {"hip": reference.R_world_person, "shoulder": reference.R_world_person}
    for start, end in _DOWN_THE_LIMBS:
        a, b = f"{side}_{start}", f"{side}_{end}"
        before = laid[start]
        if b in reference.points:
            before = (
                _shortest_arc(before @ (rest[b] - rest[a]), reference.points[b] - reference.points[a])
                @ before
            )
        laid |= {start: before, end: before}
    return laid


def _foot_roll(side: str, reference: ReferencePose) -> Float[Tensor, "3 3"]:
    """Compute the roll of a foot, which follows the leg where a skeleton rests with its legs apart (CMU's: 20 degrees).
    The foot does not pitch with a slightly bent knee, but stays flat."""
    left, up, forward = reference.R_world_person.unbind(1)
    shin = reference.points[f"{side}_ankle"] - reference.points[f"{side}_knee"]
    return roma.rotvec_to_rotmat(forward * torch.atan2(shin @ left, -shin @ up))


def _shortest_arc(a: Float[Tensor, "3"], b: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Compute the rotation by the smallest angle from the direction of a to that of b (not opposite)."""
    axis = torch.linalg.cross(a, b)
    angle = torch.atan2(axis.norm(), a @ b)
    return roma.rotvec_to_rotmat(unit_vector(axis) * angle)


def _with_half_the_twist(
    R_elbow: Float[Tensor, "time 3 3"], R_wrist: Float[Tensor, "time 3 3"], forearm: Float[Tensor, "3"]
) -> Float[Tensor, "time 3 3"]:
    """Add half the twist of the wrist to the elbow: the forearm's bones cross when the hand turns about them, so skin
    in its middle turns half as far as the wrist."""
    axis = forearm / forearm.norm()
    quaternion = roma.rotmat_to_unitquat(R_elbow.mT @ R_wrist)
    twist = 2 * torch.atan2(quaternion[:, :3] @ axis, quaternion[:, 3])
    twist = torch.remainder(twist + torch.pi, 2 * torch.pi) - torch.pi
    return R_elbow @ roma.rotvec_to_rotmat(twist[:, None] / 2 * axis)
