from dataclasses import replace

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.geometry.camera import translation_to_crop
from selfmocap.models.frame import Prediction
from selfmocap.models.temporal import TemporalNetwork, unpack_theta
from selfmocap.training.train_temporal import (
    TemporalTrainingData,
)
from selfmocap.training.validate_temporal import (
    clip_scores,
    filtered_scores,
    predict_frames,
)
from tests.helpers.temporal_clips import FRAME, SMALL, training_data


@pytest.fixture(scope="module")
def data(body: Body) -> TemporalTrainingData:
    return training_data(body)


def test_scores_are_zero_at_the_truth_and_known_beside_it(body: Body, data: TemporalTrainingData) -> None:
    clips = data.validation
    assert clips is not None
    targets = clips.targets
    camera = translation_to_crop(targets.p_cam_root, targets.boxes, targets.focal, targets.center)
    truth = Prediction(targets.R_cam_joint, targets.betas, camera)
    assert all(value < 0.1 for value in clip_scores(body, truth, clips).values())
    nearer = replace(truth, crop_camera=camera + torch.tensor([0.0, 0.0, 0.1]))
    scores = clip_scores(body, nearer, clips)
    assert scores["mpjpe_mm"] < 0.1 and scores["limb_acceleration_error_mm_per_frame2"] < 0.1
    assert scores["acceleration_error_mm_per_frame2"] > 0.1


def test_tuned_filters_lower_the_acceleration_error(body: Body, data: TemporalTrainingData) -> None:
    network = TemporalNetwork(FRAME, SMALL).eval()
    for layer in network.frame.heads.outputs():
        torch.nn.init.normal_(layer.weight, std=0.3)
    assert data.validation is not None
    rows = filtered_scores(network, body, data.validation)
    unfiltered = clip_scores(body, unpack_theta(predict_frames(network, data.validation)), data.validation)
    key = "acceleration_error_mm_per_frame2"
    assert set(rows) == {"butterworth", "one_euro", "one_euro_both_ways"}
    assert all(row["scores"][key] < unfiltered[key] for row in rows.values())
