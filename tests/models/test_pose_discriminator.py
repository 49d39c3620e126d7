import torch

from selfmocap.models.pose_discriminator import PoseDiscriminator


def test_a_joint_changes_its_own_score_and_that_of_the_full_pose() -> None:
    discriminator, R = PoseDiscriminator(16), torch.eye(3).repeat(2, 24, 1, 1)
    scores = discriminator(R)
    assert scores.shape == (2, 24)
    R[1, 5] = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    changed = (discriminator(R)[1] - scores[1]).abs() > 1e-7
    assert changed.nonzero().squeeze(1).tolist() == [4, 23]
    R[1] = R[0]
    R[1, 0] = -R[1, 0]
    torch.testing.assert_close(discriminator(R), scores)
