import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.losses.adversarial import (
    AdversarialModules,
    adversarial_loss,
    discriminator_loss,
    generator_losses,
    pose_discriminator_loss,
)
from selfmocap.losses.temporal import TemporalWeights
from selfmocap.models.pose_discriminator import PoseDiscriminator
from selfmocap.models.temporal import TemporalNetwork
from selfmocap.training.temporal_data import (
    ClipBatch,
    concat_clips,
)
from selfmocap.training.train_temporal import (
    TemporalTrainingData,
)
from tests.helpers.temporal_clips import FRAME, SMALL, training_data


@pytest.fixture(scope="module")
def data(body: Body) -> TemporalTrainingData:
    return training_data(body)


@pytest.fixture(scope="module")
def keypoint_body(body: Body) -> Body:
    return body.with_vertices(body.regressors["coco-23"].vertices)


@pytest.fixture
def modules() -> AdversarialModules:
    network, discriminator = TemporalNetwork(FRAME, SMALL).train(), PoseDiscriminator(16)
    return AdversarialModules(network, discriminator, network, discriminator)


def losses_of(
    modules: AdversarialModules, body: Body, clips: ClipBatch, num_delta_frames: int | None = 4
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    return generator_losses(
        modules, body, clips.inputs, clips.targets, TemporalWeights.compact(), num_delta_frames
    )


def test_losses_of_known_scores() -> None:
    assert adversarial_loss(torch.zeros(1, 24)).tolist() == [24.0]
    assert discriminator_loss(torch.ones(1, 24), torch.full((1, 24), 0.5)).tolist() == [6.0]


def test_each_loss_has_gradients_to_its_own_weights_only(
    modules: AdversarialModules, data: TemporalTrainingData, keypoint_body: Body
) -> None:
    clips = concat_clips([data.labelled(0), data.unlabelled(1)])
    losses, estimates = losses_of(modules, keypoint_body, clips)
    losses["adversarial"].backward(retain_graph=True)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in modules.network.parameters())
    losses["total"].backward()
    assert all(parameter.grad is None for parameter in modules.discriminator.parameters())
    before = [p.grad.clone() for p in modules.network.parameters() if p.grad is not None]
    pose_discriminator_loss(modules.discriminator, data.poses[: len(estimates)], estimates).mean().backward()
    assert all(p.grad.abs().max() > 0 for p in modules.discriminator.parameters())
    after = [p.grad for p in modules.network.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_unlabelled_clips_have_keypoint_losses_only(
    modules: AdversarialModules, data: TemporalTrainingData, keypoint_body: Body
) -> None:
    losses, _ = losses_of(modules, keypoint_body, data.unlabelled(1))
    assert all(float(losses[name].detach()) == 0 for name in ("joints", "rotations", "betas", "acceleration"))
    losses["total"].backward()
    gradients = [p.grad for p in modules.network.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert float(losses["keypoints"].detach()) > 0


def test_every_parameter_has_a_gradient(
    modules: AdversarialModules, data: TemporalTrainingData, keypoint_body: Body
) -> None:
    clips = concat_clips([data.labelled(0), data.unlabelled(1)])
    losses_of(modules, keypoint_body, clips, num_delta_frames=None)[0]["total"].backward()
    for name, parameter in modules.network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
