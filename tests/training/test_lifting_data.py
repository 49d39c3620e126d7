"""Training frames without rendering: the errors of examples, and the truth that they are added to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.geometry.camera import project
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.config import FrameDataConfig, FrameRunConfig
from selfmocap.training.frame_recipe import train_frame_preset
from selfmocap.training.lifting_data import LiftingFrames, sample_pose_table
from selfmocap.training.refined_examples import CropKeypoints, ErrorTransfer, RefinedExamples, refine_examples
from selfmocap.training.train_frame import FrameTrainConfig, train_frame_network
from tests.helpers.pooled_frames import pooled_batches, pooled_frames

CORRECTED = NetworkConfig(trunk="none", rgb=False, corrector=True)
POINTS = 23


def examples(count: int, seed: int = 0) -> RefinedExamples:
    """Make examples that are exact."""
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.rand(count, POINTS, 3, generator=generator) * 1.6 - 0.8
    return RefinedExamples(
        offsets,
        torch.ones(count, POINTS, dtype=torch.bool),
        offsets[..., :2].clone(),
        torch.ones(count, POINTS),
        offsets[..., 2].clone(),
        torch.rand(count, POINTS, generator=generator) * 0.9 + 0.1,
    )


@pytest.fixture(scope="module")
def frames(body: Body) -> LiftingFrames:
    """Return frames with exact keypoints and depths."""
    poses = sample_pose_table(procedural_motions(body, count=3), body, 200, 0)
    return LiftingFrames(poses, examples(50), body, SyntheticConfig())


def test_the_gain_of_depths_is_that_of_the_examples() -> None:
    exact = examples(400)
    shrunk = replace(exact, depths=(0.2 + 0.7 * exact.depth_confidence) * exact.depths)
    torch.testing.assert_close(
        shrunk.depth_gain(), torch.tensor([0.2, 0.7]).expand(POINTS, 2), atol=1e-3, rtol=0
    )
    without_image = replace(exact, depth_confidence=torch.zeros(400, POINTS))
    assert not without_image.depth_gain().any()


def test_a_person_gets_the_errors_of_the_most_similar_example() -> None:
    near, far = examples(1), examples(1, seed=1)
    known = RefinedExamples(
        *(torch.cat([a, b]) for a, b in zip(vars(near).values(), vars(far).values(), strict=True))
    )
    known = replace(
        known, coords=known.coords + torch.tensor([0.01, 0.5])[:, None, None], depths=known.depths * 0
    )
    transfer = ErrorTransfer(
        known, CropKeypoints(known.offsets, known.in_image).features(), torch.tensor([[0.5, 0.0]])
    )
    person = CropKeypoints(near.offsets + 0.02, near.in_image)
    got = transfer(np.random.default_rng(0), person)
    torch.testing.assert_close(got.coords, person.offsets[..., :2] + 0.01)
    torch.testing.assert_close(got.depths, torch.full((1, POINTS), 0.5 * 0.02))
    assert torch.equal(got.depth_confidence, near.depth_confidence)


def test_inputs_without_errors_are_the_projected_body(body: Body, frames: LiftingFrames) -> None:
    inputs, truth = next(frames.batches(range(1), 96, 0, 0, torch.device("cpu")))
    keypoints = body.keypoints(body.pose(truth).vertices, CORRECTED.keypoint_set)
    pixels = project(keypoints, inputs.focal, inputs.center)
    torch.testing.assert_close(inputs.keypoints, pixels, atol=0.05, rtol=1e-4)
    assert inputs.depths is not None
    at_root = (inputs.focal.mean(-1) / truth.p_world_root[:, 2])[:, None]
    depths = (keypoints[..., 2] - truth.p_world_root[:, None, 2]) * at_root
    torch.testing.assert_close(inputs.depths, depths, atol=0.2, rtol=1e-3)
    visible = pixels[(pixels > 0).all(-1) & (pixels < 2 * inputs.center[:, None]).all(-1)]
    assert len(visible) > 0.7 * pixels.numel() / 2, "most keypoints lie in the image"


def test_batches_of_a_step_are_the_same_wherever_training_starts(frames: LiftingFrames) -> None:
    whole = list(frames.batches(range(4), 32, 3, 0, torch.device("cpu")))
    rest = list(frames.batches(range(2, 4), 32, 3, 0, torch.device("cpu")))
    other = next(frames.batches(range(1), 32, 4, 0, torch.device("cpu")))
    for (inputs, _), (same, _) in zip(whole[2:], rest, strict=True):
        assert torch.equal(inputs.keypoints, same.keypoints)
    assert not torch.equal(whole[0][0].keypoints, other[0].keypoints)


def test_examples_are_what_the_corrector_gives(body: Body, tmp_path: Path) -> None:
    network, rendered = FrameNetwork(CORRECTED).eval(), pooled_batches(pooled_frames(body), range(2))
    made = refine_examples(network, body, rendered)
    assert len(made) == 128
    inputs, _ = rendered[0]
    with torch.no_grad():
        refined = inputs.with_refined(network.refine_keypoints(inputs))
    half = inputs.boxes[:, None, 2:]
    coords = (refined.keypoints - inputs.boxes[:, None, :2]) / half
    torch.testing.assert_close(made.coords[:64], coords, atol=0.05, rtol=0.05)
    assert (made.depth_confidence == 0).all(-1).any(), "some frames have no image"
    made.save(tmp_path / "examples.npz")
    for name, value in vars(RefinedExamples.load(tmp_path / "examples.npz")).items():
        assert torch.equal(value, getattr(made, name)), name


def test_only_the_part_behind_the_corrector_learns(body: Body, frames: LiftingFrames, tmp_path: Path) -> None:
    torch.manual_seed(0)
    initial = FrameNetwork(CORRECTED)
    config = FrameTrainConfig(CORRECTED, steps=8, batch=64, learning_rate=1e-3, ema_decay=0.5)
    proxy = body.keypoint_proxy(CORRECTED.keypoint_set)
    trained = train_frame_network(config, frames, body, tmp_path, initial=initial, posed=proxy)
    before, after = initial.state_dict(), trained.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"coordinates", "heads"}


def test_the_preset_needs_a_network_with_a_corrector(tmp_path: Path) -> None:
    data = FrameDataConfig(validation_frames=32)
    with pytest.raises(ValueError, match="--init-from"):
        train_frame_preset(tmp_path, FrameRunConfig(preset="lifting", steps=1), data, lambda *_: None)
