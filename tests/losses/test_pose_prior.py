"""The pose prior: plausible poses, known values, gradients, and its file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.named_poses import named_pose
from selfmocap.geometry.rotations import matrix_from_6d, matrix_to_6d
from selfmocap.io.npz import write_npz
from selfmocap.losses.pose_prior import POSE_PRIOR_DIMENSIONS, PosePrior, read_pose_prior


def test_a_standing_person_is_likelier_than_an_impossible_pose() -> None:
    prior = PosePrior.load()
    standing = prior(named_pose("arms-down"))
    backwards = named_pose("arms-down").clone()
    backwards[[4, 5]] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    assert 0 <= standing < 1 < prior(backwards)


def test_the_root_rotation_has_no_effect_and_batch_shapes_are_kept() -> None:
    prior = PosePrior.load()
    pose = named_pose("arms-down").expand(3, 2, 24, 3, 3).clone()
    before = prior(pose)
    pose[..., 0, :, :] = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    assert before.shape == (3, 2) and torch.equal(before, prior(pose))


def test_known_value_of_one_gaussian() -> None:
    """One Gaussian of standard deviation 0.5 around the rest pose: |x - mean|^2 / (2 * 0.25) per dimension."""
    rest = matrix_to_6d(torch.eye(3).expand(23, 3, 3)).flatten()
    prior = PosePrior(torch.zeros(1), rest[None], 2 * torch.eye(POSE_PRIOR_DIMENSIONS)[None])
    pose = torch.eye(3).expand(24, 3, 3).clone()
    assert prior(pose) == pytest.approx(0.0, abs=1e-6)
    pose[5] = matrix_from_6d(torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0, 0.0]))
    away = (matrix_to_6d(pose[1:]).flatten() - rest).square().sum()
    assert prior(pose) == pytest.approx(float(2 * away / POSE_PRIOR_DIMENSIONS), rel=1e-5)


def test_gradcheck() -> None:
    prior = PosePrior.load().to(torch.float64)
    pose = named_pose("arms-down").double() + 0.01 * torch.randn(24, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(prior, pose.requires_grad_())


def test_another_file_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "x.npz", {"means": np.zeros(3)})
    with pytest.raises(ValueError, match="not a pose prior"):
        read_pose_prior(tmp_path / "x.npz")
