"""Training clips without rendering: the errors of example clips, and the truth that they are added to."""

from dataclasses import replace

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import project
from selfmocap.io.progress import no_progress
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.lifting_clips import LiftingClips, refine_rendered_clips
from selfmocap.training.posed_people import sample_sequences
from selfmocap.training.refined_examples import RefinedExamples
from selfmocap.training.temporal_data import CLIPS_PER_SCENE, ClipBatch, KeypointRefinement, SyntheticClips

FRAMES = 4


@pytest.fixture(scope="module")
def examples(body: Body) -> RefinedExamples:
    torch.manual_seed(0)
    network = FrameNetwork(NetworkConfig(trunk="none", rgb=False, corrector=True)).eval()
    refinement = KeypointRefinement(network, procedural_backgrounds(count=2))
    rendered = SyntheticClips(
        procedural_motions(body, count=2), body, FRAMES, KeypointErrors(), refinement=refinement
    )
    return refine_rendered_clips(rendered, 3, no_progress)


@pytest.fixture(scope="module")
def clips(body: Body, examples: RefinedExamples) -> LiftingClips:
    poses = sample_sequences(procedural_motions(body, count=3), body, 12, FRAMES, 0)
    return LiftingClips(poses, examples, body)


def errors(batch: ClipBatch) -> torch.Tensor:
    """Return the errors of keypoints in half crop sides."""
    off = batch.inputs.keypoints - batch.targets.keypoints.flatten(0, 1)
    return off / batch.inputs.boxes[:, None, 2:]


def test_a_clip_moves_and_has_the_truth_of_its_frames(body: Body, clips: LiftingClips) -> None:
    for seed in range(6):
        batch = clips(seed)
        truth, inputs = batch.targets, batch.inputs
        assert truth.has_truth.shape == (CLIPS_PER_SCENE, FRAMES) and len(inputs.boxes) == 2 * FRAMES
        vertices = body.shape(truth.betas).pose(truth.R_cam_joint, truth.p_cam_root).vertices
        points = body.keypoints(vertices, DEFAULT_KEYPOINTS.name)
        torch.testing.assert_close(
            project(points, truth.focal, truth.center), truth.keypoints, atol=0.2, rtol=1e-3
        )
        assert truth.betas[:, :1].expand_as(truth.betas).equal(truth.betas), "one shape a clip"
        steps = truth.p_cam_root.diff(dim=1).norm(dim=-1)
        assert 0 < steps.max() < 0.5


def test_errors_are_those_of_one_example_clip(examples: RefinedExamples, clips: LiftingClips) -> None:
    confidences = examples.inputs.confidence.unflatten(0, (-1, FRAMES))
    for seed in range(6):
        for confidence in clips(seed).inputs.confidence.unflatten(0, (CLIPS_PER_SCENE, FRAMES)):
            assert (confidences == confidence).all(-1).all(-1).any(), "frames of one example, in their order"
    assert errors(clips(0)).norm(dim=-1).median() < 0.5


def test_some_clips_are_examples_themselves(examples: RefinedExamples, clips: LiftingClips) -> None:
    known = examples.inputs.keypoints.flatten(1)
    themselves = [
        bool((torch.cdist(clips(seed).inputs.keypoints.flatten(1), known).amin(1) < 1e-3).all())
        for seed in range(40)
    ]
    assert 2 < sum(themselves) < 20


def test_a_seed_gives_the_same_clip_with_and_without_truth(clips: LiftingClips) -> None:
    once, again, hidden = clips(3), clips(3), replace(clips, labelled=False)(3)
    assert torch.equal(once.inputs.keypoints, again.inputs.keypoints)
    assert torch.equal(once.inputs.keypoints, hidden.inputs.keypoints)
    assert not hidden.targets.has_truth.any() and hidden.targets.joints.isnan().all()
    assert not torch.equal(once.inputs.keypoints, clips(4).inputs.keypoints)
