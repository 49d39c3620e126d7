"""Training frames without rendering: the errors of examples, and the truth that they are added to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import project
from selfmocap.geometry.tensors import concat
from selfmocap.models.checkpoints import save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.config import FrameDataConfig, FrameRunConfig
from selfmocap.training.frame_recipe import train_frame_preset
from selfmocap.training.lifting_data import LiftingFrames
from selfmocap.training.posed_people import sample_sequences
from selfmocap.training.refined_examples import (
    ErrorTransfer,
    RefinedExamples,
    crop_offsets,
    depth_gain,
    refine_examples,
)
from selfmocap.training.train_frame import FrameTrainConfig, train_frame_network
from tests.helpers.pooled_frames import pooled_frames

CORRECTED = NetworkConfig(trunk="none", rgb=False, corrector=True)
NAME, POINTS = CORRECTED.keypoint_set, 23


@pytest.fixture(scope="module")
def rendered(body: Body) -> list[tuple[FrameInputs, BodyParameters]]:
    return list(pooled_frames(body).distinct(8, 0))


@pytest.fixture(scope="module")
def exact(body: Body, rendered: list[tuple[FrameInputs, BodyParameters]]) -> RefinedExamples:
    """Return examples without errors."""
    inputs, truth = (concat(parts) for parts in zip(*rendered, strict=True))
    points = body.keypoints(body.pose(truth).vertices, NAME)
    offsets = crop_offsets(points, truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
    certainty = torch.rand(len(points), POINTS, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.1
    refined = replace(
        inputs,
        crops=None,
        masks=None,
        keypoints=project(points, inputs.focal, inputs.center),
        confidence=torch.ones(len(points), POINTS),
        depths=inputs.boxes[:, 2:] * offsets[..., 2],
        depth_confidence=certainty,
    )
    return RefinedExamples(refined, truth)


@pytest.fixture(scope="module")
def frames(body: Body, exact: RefinedExamples) -> LiftingFrames:
    """Return frames with exact keypoints and depths."""
    poses = sample_sequences(procedural_motions(body, count=3), body, 200, 1, 0)
    return LiftingFrames(poses, exact, body, SyntheticConfig())


def test_the_gain_of_depths_is_that_of_the_examples() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(400, POINTS, generator=generator)
    confidence = torch.rand(400, POINTS, generator=generator)
    gain = depth_gain(truth, (0.2 + 0.7 * confidence) * truth, confidence)
    torch.testing.assert_close(gain, torch.tensor([0.2, 0.7]).expand(POINTS, 2), atol=1e-3, rtol=0)
    assert not depth_gain(truth, truth, torch.zeros_like(truth)).any(), "depths without an image"


def test_a_person_gets_the_errors_of_the_most_similar_example(body: Body, exact: RefinedExamples) -> None:
    shift = torch.arange(len(exact))[:, None, None] * 0.01
    shifted = replace(
        exact.inputs, keypoints=exact.inputs.keypoints + exact.inputs.boxes[:, None, 2:] * shift
    )
    transfer = ErrorTransfer.of(replace(exact, inputs=shifted), body, NAME)
    inputs, truth = exact.inputs[40:41], exact.truth[40:41]
    points = body.keypoints(body.pose(truth).vertices, NAME) + torch.tensor([0.002, 0.0, 0.0])
    arguments = points, truth.p_world_root, inputs.boxes, inputs.focal, inputs.center
    # Each of the 128 examples is among the candidates of at least one draw, or almost surely.
    got = [transfer(np.random.default_rng(seed), *arguments) for seed in range(20)]
    own = project(points, inputs.focal, inputs.center) + inputs.boxes[:, None, 2:] * 0.4
    nearest = min(got, key=lambda g: float((g.keypoints - own).abs().max()))
    torch.testing.assert_close(nearest.keypoints, own, atol=0.05, rtol=1e-4)
    assert nearest.depths is not None and inputs.depths is not None
    torch.testing.assert_close(nearest.depths, inputs.depths, atol=0.05, rtol=1e-3)
    confidences = [g.depth_confidence for g in got if g.depth_confidence is not None]
    assert inputs.depth_confidence is not None
    assert sum(torch.equal(c, inputs.depth_confidence) for c in confidences) > 3


def test_inputs_without_errors_are_the_projected_body(body: Body, frames: LiftingFrames) -> None:
    inputs, truth = next(frames.batches(range(1), 96, 0, 0, torch.device("cpu")))
    keypoints = body.keypoints(body.pose(truth).vertices, NAME)
    pixels = project(keypoints, inputs.focal, inputs.center)
    torch.testing.assert_close(inputs.keypoints, pixels, atol=0.1, rtol=1e-4)
    at_root = (inputs.focal.mean(-1) / truth.p_world_root[:, 2])[:, None]
    depths = (keypoints[..., 2] - truth.p_world_root[:, None, 2]) * at_root
    assert inputs.depths is not None
    ratio = (inputs.depths * depths).sum() / depths.square().sum()
    assert ratio == pytest.approx(1, abs=0.02), "exact examples have a gain of 1"
    visible = ((pixels > 0) & (pixels < 2 * inputs.center[:, None])).all(-1)
    assert visible.float().mean() > 0.7, "most keypoints lie in the image"


def test_batches_of_a_step_are_the_same_wherever_training_starts(frames: LiftingFrames) -> None:
    whole = list(frames.batches(range(4), 32, 3, 0, torch.device("cpu")))
    rest = list(frames.batches(range(2, 4), 32, 3, 0, torch.device("cpu")))
    other = next(frames.batches(range(1), 32, 4, 0, torch.device("cpu")))
    for (inputs, _), (same, _) in zip(whole[2:], rest, strict=True):
        assert torch.equal(inputs.keypoints, same.keypoints)
    assert not torch.equal(whole[0][0].keypoints, other[0].keypoints)


def test_examples_are_what_the_corrector_gives(
    rendered: list[tuple[FrameInputs, BodyParameters]], tmp_path: Path
) -> None:
    network = FrameNetwork(CORRECTED).eval()
    made = refine_examples(network, rendered)
    assert len(made) == 128
    with torch.no_grad():
        refined = [inputs.with_refined(network.refine_keypoints(inputs)) for inputs, _ in rendered]
    off = (made.inputs.keypoints - concat(refined).keypoints).norm(dim=-1) / made.inputs.boxes[:, 2:]
    assert off.max() < 0.1 and off.median() < 0.01, "but for the precision of bfloat16"
    assert made.inputs.depth_confidence is not None
    assert (made.inputs.depth_confidence == 0).all(-1).any(), "some frames have no image"
    assert len(torch.unique(made.truth.betas, dim=0)) == 128, "nobody is rendered twice"
    made.save(tmp_path / "examples.npz")
    again = RefinedExamples.load(tmp_path / "examples.npz")
    for part in ("inputs", "truth"):
        for name, value in vars(getattr(again, part)).items():
            assert value is getattr(getattr(made, part), name) or torch.equal(
                value, getattr(getattr(made, part), name)
            )


def test_only_the_part_behind_the_corrector_learns(body: Body, frames: LiftingFrames, tmp_path: Path) -> None:
    torch.manual_seed(0)
    initial = FrameNetwork(CORRECTED)
    config = FrameTrainConfig(CORRECTED, steps=8, batch=64, learning_rate=1e-3, ema_decay=0.5)
    proxy = body.keypoint_proxy(NAME)
    trained = train_frame_network(config, frames, body, tmp_path, initial=initial, posed=proxy)
    before, after = initial.state_dict(), trained.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"coordinates", "heads"}


def test_the_preset_needs_a_network_with_a_corrector(tmp_path: Path) -> None:
    data = FrameDataConfig(validation_frames=32)
    save_network(tmp_path / "other.safetensors", FrameNetwork(NetworkConfig(trunk="none", rgb=False)), {})
    for init_from, found in ((None, "none"), (tmp_path / "other.safetensors", "another configuration")):
        run = FrameRunConfig(preset="lifting", steps=1, init_from=init_from)
        with pytest.raises(ValueError, match=f"--init-from, found .*{found}"):
            train_frame_preset(tmp_path / "out", run, data, lambda *_: None)
