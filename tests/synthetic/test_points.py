"""Keypoints without images."""

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import project
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import CorruptionConfig, KeypointErrors
from selfmocap.synthetic.keypoint_scene import sample_detections, sample_keypoint_scene
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.frame_data import KeypointFrames

EXACT = KeypointErrors(clean=1.0, binary_confidence=1.0)


@pytest.fixture(scope="module")
def motions(body):
    return procedural_motions(body, count=3)


def test_exact_keypoints_are_the_projected_body(body: Body, motions) -> None:
    scene = sample_keypoint_scene(0, SyntheticConfig(clips=6, frames=2), motions, body)
    detections = sample_detections(1, EXACT, scene)
    posed = body.pose(scene.truth)
    points = body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name)
    pixels = project(points, scene.focal[:, None], scene.center[:, None])
    certain = detections.confidence == 1
    assert certain.any() and set(detections.confidence.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(certain, torch.from_numpy(scene.in_image))
    torch.testing.assert_close(
        detections.keypoints[certain & torch.from_numpy(scene.visible)],
        pixels[certain & torch.from_numpy(scene.visible)], atol=0.02, rtol=1e-4,
    )  # fmt: skip


def test_a_scene_is_reused_with_other_errors(body: Body, motions) -> None:
    config = SyntheticConfig(clips=4, corruption=CorruptionConfig(KeypointErrors(clean=0.0)))
    sample = KeypointFrames(motions, body, config, num_scenes=2)
    (first, truth), (second, _), (third, again) = (sample(seed) for seed in (0, 1, 2))
    assert len(sample.cache) == 2
    assert torch.equal(truth.R_parent_joint, again.R_parent_joint)
    assert torch.equal(first.focal, third.focal) and not torch.equal(first.focal, second.focal)
    moved = (first.keypoints - third.keypoints).norm(dim=-1) / first.boxes[:, None, 2]
    assert 0.005 < moved.median() < 0.1
    fresh, _ = KeypointFrames(motions, body, config, num_scenes=2)(2)
    assert torch.equal(fresh.keypoints, third.keypoints) and torch.equal(fresh.confidence, third.confidence)


def test_blind_confidences_depend_on_detection_only(body: Body, motions) -> None:
    scene = sample_keypoint_scene(0, SyntheticConfig(clips=16), motions, body)
    blind = sample_detections(0, KeypointErrors(binary_confidence=1.0), scene).confidence
    seeing = sample_detections(0, KeypointErrors(binary_confidence=0.0), scene).confidence
    assert set(blind.unique().tolist()) == {0.0, 1.0}
    assert ((seeing > 0) & (seeing < 1)).any()
