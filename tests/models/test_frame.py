from dataclasses import replace

import pytest
import torch

from selfmocap.body_model.named_poses import named_pose
from selfmocap.models.frame import R_CAM_UPRIGHT, FrameNetwork
from tests.helpers.networks import NETWORK_CONFIGS, SMALL_NETWORK, frame_inputs


@pytest.mark.parametrize("name", NETWORK_CONFIGS)
def test_every_parameter_has_a_gradient(name: str) -> None:
    network, inputs = FrameNetwork(NETWORK_CONFIGS[name]), frame_inputs()
    prediction = network(inputs)
    assert torch.allclose(prediction.R_parent_joint.det(), torch.ones(3, 24), atol=1e-4)
    loss = sum((value * torch.randn_like(value)).sum() for value in vars(prediction).values())
    loss.backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", NETWORK_CONFIGS)
def test_an_untrained_network_predicts_a_standing_person_in_the_crop(name: str) -> None:
    network = FrameNetwork(NETWORK_CONFIGS[name]).eval()
    for layer in network.heads.outputs():
        torch.nn.init.zeros_(layer.weight)
    prediction = network(frame_inputs())
    assert torch.allclose(prediction.R_parent_joint[:, 0], R_CAM_UPRIGHT.expand(3, 3, 3), atol=1e-5)
    start = (
        named_pose("arms-down")[1:]
        if NETWORK_CONFIGS[name].rotations == "6d"
        else torch.eye(3).expand(23, 3, 3)
    )
    assert torch.allclose(prediction.R_parent_joint[0, 1:], start, atol=1e-5)
    assert prediction.crop_camera.abs().max() < 1e-5


def test_a_prediction_does_not_depend_on_the_other_frames_of_the_batch() -> None:
    network, inputs = FrameNetwork(SMALL_NETWORK), frame_inputs()
    whole, alone = network(inputs), network(inputs[1:2])
    assert torch.allclose(whole.R_parent_joint[1:2], alone.R_parent_joint, atol=1e-5)


def test_an_rgb_network_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="the observations hold none"):
        FrameNetwork(SMALL_NETWORK)(replace(frame_inputs(), crops=None))
