"""The flexion of knees and elbows."""

import math

import roma
import torch

from selfmocap.body_model.body import Body, forward_kinematics
from selfmocap.body_model.hinges import HINGES, flexion_deg
from selfmocap.body_model.skeleton import JOINT


def test_flexion_is_the_angle_by_which_a_hinge_turns(body: Body) -> None:
    joints = body.shape(torch.zeros(body.num_betas)).joints
    for hinge, axis in ((0, 0), (1, 0), (2, 1), (3, 1)):
        angles = torch.zeros(3, 24, 3)
        angles[1, JOINT[HINGES[hinge]], axis] = math.radians(50 if axis == 0 else -50 if hinge == 2 else 50)
        angles[2, JOINT["pelvis"], 1] = 1.0
        _, posed = forward_kinematics(roma.rotvec_to_rotmat(angles), joints, torch.zeros(3, 3))
        flexion = flexion_deg(posed)
        assert abs(float(flexion[1, hinge]) - 50) < 10
        others = [k for k in range(4) if k != hinge]
        assert torch.allclose(flexion[1, others], flexion[0, others], atol=1e-3)
        assert torch.allclose(flexion[2], flexion[0], atol=1e-3)
    assert flexion_deg(joints.expand(2, 3, 24, 3)).shape == (2, 3, 4)


def test_a_straight_limb_has_a_finite_gradient() -> None:
    joints = torch.zeros(24, 3, dtype=torch.float64)
    for side in ("left", "right"):
        for height, name in enumerate(("ankle", "knee", "hip", "wrist", "elbow", "shoulder")):
            joints[JOINT[f"{side}_{name}"], 1] = height
    joints.requires_grad_()
    flexion = flexion_deg(joints)
    assert (flexion == 0).all()
    flexion.sum().backward()
    assert joints.grad is not None and torch.isfinite(joints.grad).all()
