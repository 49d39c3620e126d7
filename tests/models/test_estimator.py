from dataclasses import replace

import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.camera import Camera, project, to_crop
from selfmocap.models.config import NetworkConfig
from selfmocap.models.estimator import infer
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.inference import default_focal, network_inputs
from selfmocap.tracking.observations import Observations
from tests.conftest import random_parameters

SMALL = NetworkConfig(width=16)


def in_front(parameters: BodyParameters) -> BodyParameters:
    return replace(parameters, p_world_root=parameters.p_world_root * 0.2 + torch.tensor([-0.8, 0.0, 4.0]))


def some_observations(body: Body, keypoint_set: str = "coco-23") -> tuple[Observations, BodyParameters]:
    truth = in_front(random_parameters(body, 4))
    keypoints = body.keypoints(body.pose(truth).vertices, keypoint_set)
    camera = Camera.looking_along_z(768.0, 640, 480)
    pixels = project(keypoints, camera.focal, camera.center)
    low, high = pixels.amin(1), pixels.amax(1)
    return Observations(
        frame_index=torch.arange(4),
        frame_times=torch.arange(4, dtype=torch.float64) / 25,
        image_size=(640, 480),
        boxes=torch.cat([(low + high) / 2, (high - low).amax(1, keepdim=True) * 0.6], dim=1),
        keypoint_set=keypoint_set,
        keypoints=pixels,
        keypoint_confidence=torch.ones(4, pixels.shape[1]),
        crops=torch.zeros(4, 128, 128, 3, dtype=torch.uint8),
    ), truth


def test_infer_returns_a_motion_in_camera_and_world_frame(body: Body) -> None:
    observations, _ = some_observations(body)
    network = FrameNetwork(SMALL).eval()
    motion = infer(network, body, observations, weights="none")
    assert isinstance(motion, Motion)
    assert motion.provenance == {"weights": "none"}
    assert float(motion.camera.focal[0]) == pytest.approx(default_focal((640, 480)))
    inputs = network_inputs(observations, motion.camera, network)
    predicted = network(inputs).parameters(inputs)
    assert torch.allclose(motion.joints_cam[:, 0], predicted.p_world_root, atol=1e-4)
    pelvis = project(motion.joints_cam[:, :1], motion.camera.focal, motion.camera.center)
    assert (to_crop(pelvis, observations.boxes) - 63.5).abs().max() < 20
    upright = motion.joints_cam[:, 0, 1] - motion.joints_cam[:, 15, 1]
    world = motion.camera.to_world(motion.joints_cam)
    assert torch.allclose(world[:, 15, 1] - world[:, 0, 1], upright, atol=1e-5)


def test_other_keypoint_sets_are_converted_or_refused(body: Body) -> None:
    network = FrameNetwork(SMALL).eval()
    observations, _ = some_observations(body, "body-25")
    motion = infer(network, body, observations)
    wanted = network_inputs(observations, motion.camera, network)
    assert torch.equal(wanted.keypoints[:, 0], observations.keypoints[:, 0])
    assert (wanted.confidence == 1).all()
    observations, _ = some_observations(body, "coco-17")
    assert (network_inputs(observations, motion.camera, network).confidence[:, 17:] == 0).all()
    observations, _ = some_observations(body, "smpl-24")
    with pytest.raises(ValueError, match="expected observations with keypoints of coco-23, found smpl-24"):
        infer(network, body, observations)
