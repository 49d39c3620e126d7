from dataclasses import replace

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.temporal_data import (
    CLIPS_PER_SCENE,
    KeypointRefinement,
    SyntheticClips,
    clip_boxes,
    jitter_boxes,
)
from selfmocap.training.temporal_recipe import keypoint_refinement
from selfmocap.training.train_temporal import (
    TemporalTrainingData,
)
from tests.helpers.temporal_clips import SMALL, training_data


@pytest.fixture(scope="module")
def data(body: Body) -> TemporalTrainingData:
    return training_data(body)


def test_clips_are_functions_of_their_seed_and_unlabelled_ones_have_no_truth(
    data: TemporalTrainingData,
) -> None:
    clips, again, unlabelled = data.labelled(5), data.labelled(5), data.unlabelled(5)
    assert torch.equal(clips.inputs.keypoints, again.inputs.keypoints)
    assert torch.equal(clips.inputs.boxes, again.inputs.boxes)
    assert torch.equal(clips.inputs.boxes, clips.targets.boxes.flatten(0, 1))
    assert clips.targets.has_truth.all() and not unlabelled.targets.has_truth.any()
    assert torch.equal(unlabelled.targets.keypoints.flatten(0, 1), unlabelled.inputs.keypoints)
    assert unlabelled.targets.joints.isnan().all() and unlabelled.targets.R_cam_joint.isnan().all()
    assert not torch.equal(clips.inputs.keypoints, data.labelled(7).inputs.keypoints)
    assert torch.equal(clips.targets.joints, data.labelled(7).targets.joints)


def test_jittered_boxes_move_smoothly_within_bounds() -> None:
    still = torch.tensor([300.0, 200.0, 100.0]).expand(64, 40, 3)
    walk = jitter_boxes(np.random.default_rng(0), still)
    assert ((walk[..., :2] - still[..., :2]).abs() <= 100 * 20 / 112 + 1e-3).all()
    assert ((walk[..., 2] / 100).log2().abs() <= 0.3 + 1e-4).all()
    assert walk.diff(dim=1).abs().max() < 8 and walk.diff(n=2, dim=1).abs().max() < 3
    assert walk[:, 0].std(0).min() > 3


def test_boxes_are_smoothed_as_in_tracking(data: TemporalTrainingData) -> None:
    clips = data.labelled(0)
    points = clips.inputs.keypoints.unflatten(0, (CLIPS_PER_SCENE, -1))
    boxes = clip_boxes(points, torch.ones(points.shape[:-1]))
    assert boxes.shape == (CLIPS_PER_SCENE, SMALL.frames, 3)
    raw = (points.amax(2) - points.amin(2)).amax(-1) * 0.6
    assert boxes[..., 2].diff(n=2, dim=1).norm() < 0.2 * raw.diff(n=2, dim=1).norm()


CORRECTED = NetworkConfig(trunk="none", rgb=False, corrector=True)


def test_keypoints_of_clips_are_refined_from_images(body: Body) -> None:
    torch.manual_seed(0)
    network, motions = FrameNetwork(CORRECTED).eval(), procedural_motions(body, count=2)
    refinement = KeypointRefinement(network, procedural_backgrounds(count=2))
    clips = SyntheticClips(motions, body, 3, KeypointErrors(), augment=False, refinement=refinement)
    found, plain = clips(0), replace(clips, refinement=None, cache={})(0)
    assert found.inputs.crops is None and found.inputs.boxes.shape == (3 * CLIPS_PER_SCENE, 3)
    assert torch.equal(found.targets.R_cam_joint, plain.targets.R_cam_joint)
    moved = (found.inputs.keypoints - plain.inputs.keypoints).norm(dim=-1) / plain.inputs.boxes[:, None, 2]
    assert 1e-3 < moved.median() < 0.3
    assert torch.equal(replace(clips, cache={})(0).inputs.keypoints, found.inputs.keypoints)
    again = clips(clips.num_scenes)
    assert len(clips.cache) == 1 and not torch.equal(again.inputs.keypoints, found.inputs.keypoints)
    assert keypoint_refinement(network, None) is not None
    assert keypoint_refinement(FrameNetwork(replace(CORRECTED, corrector=False)), None) is None
