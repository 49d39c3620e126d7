"""Solve for wrists and fingers over time by damped Gauss-Newton steps, with bounds on the fingers' coordinates.

Of each hand in each frame 28 numbers are sought: a rotation of the wrist, and of each finger the flexion, spread and
twist of its first joint and the flexion of the others. Only smoothness couples frames, so that the system of equations
is banded.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded
from torch import Tensor

from selfmocap.body_model.fingers import finger_anatomy
from selfmocap.body_model.skeleton import FINGERS, HAND_SIDES
from selfmocap.geometry import lazy_roma as roma

_IMAGE_SIGMA, _POSITION_SIGMA = 0.06, 0.1
"""Errors of detected keypoints in the image and in space, in lengths of the palm; larger ones count as outliers."""
_STEP_SIGMA = 0.15
"""Change of an angle in 1/30 s, radians."""
_REST_SIGMA, _WRIST_SIGMA = 1.5, 0.3
"""Distance of a finger from its rest pose, and of the wrist of an unseen hand from the body's, radians."""
_MAX_STEPS, _MIN_GAIN = 20, 1e-3
"""Limits of the iteration; the gain of a step is relative."""
_FREE = (0, 1, 2, 3, 6)
"""The sought ones of the nine coordinates of a finger's joints."""
_PALM = FINGERS.index("middle")
"""The finger whose first bone is the length of the palm."""
_WRIST, _HAND = 3, 3 + len(_FREE) * len(FINGERS)
"""Numbers of unknowns."""


@dataclass(frozen=True, eq=False)
class SeenHands:
    """The detected hands in each frame of a motion, in the axes of a camera that looks at their middle."""

    weight: Float[Tensor, "time 2"]
    """Confidence; 0 for a hand that is not seen."""
    image: Float[Tensor, "time 2 21 2"]
    """x / z and y / z of the wrist, then of four points of each of FINGERS, relative to their mean."""
    positions: Float[Tensor, "time 2 21 3"]
    """The same points in metres, relative to their mean."""
    depth: Float[Tensor, "time 2"]
    """Distance of the body's wrist, metres."""
    R_view_elbow: Float[Tensor, "time 2 3 3"]
    """From the body's forearm to those axes."""

    def __getitem__(self, frames: slice) -> "SeenHands":
        return SeenHands(*(getattr(self, field.name)[frames] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class HandPose:
    """Wrists and fingers in some frames."""

    R_elbow_wrist: Float[Tensor, "time 2 3 3"]
    free: Float[Tensor, "time 2 25"]
    """The sought coordinates of the fingers, radians."""

    def __getitem__(self, frames: slice) -> "HandPose":
        return HandPose(self.R_elbow_wrist[frames], self.free[frames])

    @classmethod
    def resting(cls, R_elbow_wrist: Float[Tensor, "time 2 3 3"]) -> "HandPose":
        """Return resting fingers at some wrists."""
        return cls(R_elbow_wrist, R_elbow_wrist.new_zeros(*R_elbow_wrist.shape[:2], _HAND - _WRIST))

    @property
    def coordinates(self) -> Float[Tensor, "time 30 3"]:
        """The coordinates of all finger joints, see `fingers.finger_rotations`."""
        fingers = self.free.unflatten(2, (len(FINGERS), len(_FREE)))
        joints = fingers.new_zeros(*fingers.shape[:3], 9)
        joints[..., _FREE] = fingers
        return joints.reshape(len(fingers), -1, 3)

    def moved(self, step: Float[Tensor, "time 2 28"]) -> "HandPose":
        """Return the pose after a step, with the fingers within their limits."""
        low, high = _limits()
        free = torch.minimum(torch.maximum(self.free + step[..., _WRIST:], low), high)
        return HandPose(self.R_elbow_wrist @ roma.rotvec_to_rotmat(step[..., :_WRIST]), free)


def _limits() -> tuple[Float[Tensor, "2 25"], Float[Tensor, "2 25"]]:
    anatomy = finger_anatomy()
    low, high = (
        x.view(len(HAND_SIDES), len(FINGERS), 9)[..., _FREE].flatten(1) for x in (anatomy.low, anatomy.high)
    )
    return low, high


def solve_hands(
    seen: SeenHands,
    bones: Float[Tensor, "2 5 4 3"],
    rates: Float[Tensor, " steps"],
    R_of_body: Float[Tensor, "time 2 3 3"],
    start: HandPose,
) -> HandPose:
    """Fit hands with the given `bones` (in the rest pose, metres) to those seen.

    The detected positions alone come first: an image fits a finger bent towards the camera and one bent away alike.
    `rates` are 1/30 s over the time from each frame to the next, 0 across gaps. `R_of_body` are the body's wrists,
    which unseen hands keep."""

    pose = start
    for hands in (replace(seen, image=torch.zeros_like(seen.image)), seen):
        linearised = partial(_linearised, seen=hands, bones=bones, rates=rates, R_of_body=R_of_body)
        pose = _iterated(pose, linearised, rates)
    return pose


def _iterated(
    pose: HandPose, linearised: Callable[[HandPose], "_System"], rates: Float[Tensor, " steps"]
) -> HandPose:
    """Step while the loss falls (Levenberg-Marquardt)."""
    system, damping = linearised(pose), 1e-3
    for _ in range(_MAX_STEPS):
        moved = pose.moved(_step(system, rates, damping))
        tried = linearised(moved)
        gain = 1 - tried.loss / max(system.loss, 1e-12)
        if gain > 0:
            pose, system, damping = moved, tried, damping / 5
        else:
            damping *= 10
        if 0 <= gain < _MIN_GAIN or damping > 1e3:
            break
    return pose


@dataclass(frozen=True, eq=False)
class _System:
    """The normal equations at a pose, without the coupling of frames."""

    loss: float
    hessian: Float[Tensor, "time 2 28 28"]
    gradient: Float[Tensor, "time 2 28"]
    free: Bool[Tensor, "time 2 28"]
    """False for a coordinate at a limit that it presses against."""


def _linearised(
    pose: HandPose,
    seen: SeenHands,
    bones: Float[Tensor, "2 5 4 3"],
    rates: Float[Tensor, " steps"],
    R_of_body: Float[Tensor, "time 2 3 3"],
) -> _System:
    loss, hessian, gradient = _data_terms(pose, seen, bones)
    unseen = (seen.weight == 0) / _WRIST_SIGMA**2
    away = roma.rotmat_to_rotvec(R_of_body.mT @ pose.R_elbow_wrist)
    prior = torch.cat([unseen[..., None] * away, pose.free / _REST_SIGMA**2], dim=-1)
    strength = torch.full_like(prior, 1 / _REST_SIGMA**2)
    strength[..., :_WRIST] = unseen[..., None]
    loss = loss + (prior * torch.cat([away, pose.free], dim=-1)).sum()
    change = torch.cat(
        [
            roma.rotmat_to_rotvec(pose.R_elbow_wrist[:-1].mT @ pose.R_elbow_wrist[1:]),
            pose.free.diff(dim=0),
        ],
        dim=-1,
    )
    smooth = (rates / _STEP_SIGMA).square()[:, None, None]
    loss = loss + (smooth * change.square()).sum()
    gradient = gradient + prior
    gradient[:-1] -= smooth * change
    gradient[1:] += smooth * change
    strength[:-1] += smooth
    strength[1:] += smooth
    hessian.diagonal(dim1=-2, dim2=-1).add_(strength)
    low, high = _limits()
    pressed = ((pose.free <= low) & (gradient[..., _WRIST:] >= 0)) | (
        (pose.free >= high) & (gradient[..., _WRIST:] <= 0)
    )
    free = torch.nn.functional.pad(~pressed, (_WRIST, 0), value=True)
    return _System(float(loss), hessian, gradient, free)


def _step(system: _System, rates: Float[Tensor, " steps"], damping: float) -> Float[Tensor, "time 2 28"]:
    """Solve the damped normal equations of each hand, banded over time, for the free coordinates."""
    time, steps = len(system.hessian), []
    for side in range(len(HAND_SIDES)):
        free = system.free[:, side].double()
        hessian = system.hessian[:, side] * free[:, None] * free[..., None]
        diagonal = hessian.diagonal(dim1=-2, dim2=-1)
        diagonal.mul_(1 + damping).add_(1 - free)
        bands = np.zeros((_HAND + 1, time, _HAND))
        for k in range(_HAND):
            bands[k, :, : _HAND - k] = hessian.diagonal(-k, -2, -1).numpy()
        bands[_HAND, :-1] = (-(rates / _STEP_SIGMA).square()[:, None] * free[:-1] * free[1:]).numpy()
        right = -(system.gradient[:, side] * free).reshape(-1).numpy()
        steps.append(
            torch.from_numpy(solveh_banded(bands.reshape(_HAND + 1, -1), right, lower=True)).view(time, _HAND)
        )
    return torch.stack(steps, dim=1)


def _data_terms(
    pose: HandPose, seen: SeenHands, bones: Float[Tensor, "2 5 4 3"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "time 2 28 28"], Float[Tensor, "time 2 28"]]:
    """Compare the hands with their images, up to place and size, and with the detected positions."""
    points, jacobian = _points(seen.R_view_elbow @ pose.R_elbow_wrist, pose.free, bones)
    palm = bones[:, _PALM, 0].norm(dim=-1)[:, None, None]
    scale = 1 / (1 + points[..., 2:] / seen.depth[..., None, None]).clamp_min(0.2)
    image = points[..., :2] * scale
    J_image = scale[..., None] * (
        jacobian[..., :2, :] - image[..., None] * jacobian[..., 2:, :] / seen.depth[..., None, None, None]
    )
    goal = seen.image
    image = image - image.mean(2, keepdim=True)
    size = (image * goal).sum((-1, -2)) / goal.square().sum((-1, -2)).clamp_min(1e-12)
    terms = [(points - points.mean(2, keepdim=True) - seen.positions, jacobian, _POSITION_SIGMA)]
    if goal.any():
        terms.append((image - size[..., None, None] * goal, J_image, _IMAGE_SIGMA))
    loss = hessian = gradient = points.new_zeros(())
    for residual, J, sigma in terms:
        residual, J = residual / (palm * sigma), (J - J.mean(2, keepdim=True)) / (palm * sigma)[..., None]
        root = (1 + residual.square().sum(-1)).sqrt()
        loss = loss + (2 * (root - 1).sum(-1) * seen.weight).sum()
        weighted = (J * (seen.weight[..., None] / root)[..., None, None]).flatten(2, 3)
        hessian = hessian + weighted.mT @ J.flatten(2, 3)
        gradient = gradient + (weighted.mT @ residual.flatten(2)[..., None]).squeeze(-1)
    return loss, hessian, gradient


def _points(
    R_view_wrist: Float[Tensor, "time 2 3 3"],
    free: Float[Tensor, "time 2 25"],
    bones: Float[Tensor, "2 5 4 3"],
) -> tuple[Float[Tensor, "time 2 21 3"], Float[Tensor, "time 2 21 3 28"]]:
    """Compute the keypoints of both hands from the wrist, metres, and their derivatives."""
    axes = finger_anatomy().axes.view(len(HAND_SIDES), len(FINGERS), 3, 3, 3)[:, :, 0]
    flexion, spread, twist, second, third = free.unflatten(2, (len(FINGERS), len(_FREE))).unbind(-1)
    zero = torch.zeros_like(second)
    R_palm = R_view_wrist[:, :, None] @ axes
    R = [R_palm @ roma.euler_to_rotmat("XYZ", [flexion, spread, twist])]
    R += [R[-1] @ roma.rotvec_to_rotmat(torch.stack([second, zero, zero], dim=-1))]
    R += [R[-1] @ roma.rotvec_to_rotmat(torch.stack([third, zero, zero], dim=-1))]
    local = (axes.mT[:, :, None] @ bones[..., None]).squeeze(-1)
    chain = [(R_view_wrist[:, :, None] @ bones[:, :, 0, :, None]).squeeze(-1)]
    for bone, turned in enumerate(R, start=1):
        chain.append(chain[-1] + (turned @ local[:, :, bone, :, None]).squeeze(-1))
    across = (R_palm @ torch.stack([zero, flexion.cos(), flexion.sin()], dim=-1)[..., None]).squeeze(-1)
    turns = ((R_palm[..., 0], 0), (across, 0), (R[0][..., 2], 0), (R[0][..., 0], 1), (R[1][..., 0], 2))
    fingers = torch.stack(chain, dim=3)
    jacobian = fingers.new_zeros(*fingers.shape, len(FINGERS), len(_FREE))
    for column, (axis, pivot) in enumerate(turns):
        moved = torch.linalg.cross(
            axis[..., None, :], fingers[..., pivot + 1 :, :] - fingers[..., pivot, None, :]
        )
        for finger in range(len(FINGERS)):
            jacobian[:, :, finger, pivot + 1 :, :, finger, column] = moved[:, :, finger]
    points = torch.nn.functional.pad(fingers.flatten(2, 3), (0, 0, 1, 0))
    of_fingers = torch.nn.functional.pad(jacobian.flatten(2, 3).flatten(-2), (0, 0, 0, 0, 1, 0))
    of_wrist = torch.linalg.cross(R_view_wrist.mT[:, :, None], points[..., None, :]).mT
    return points, torch.cat([of_wrist, of_fingers], dim=-1)
