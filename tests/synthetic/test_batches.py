"""Training batches: pure functions of their seed, with a truth that is consistent with the body."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import Camera, project, to_crop
from selfmocap.geometry.visibility import rendered_mask
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.backgrounds import Backgrounds, procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig, TrainingBatch, sample_batch
from selfmocap.synthetic.corrupt import CorruptionConfig, KeypointErrors, MaskErrors
from selfmocap.synthetic.motions import MeanBodyMotion, procedural_motions

NO_PROPS = AppearanceConfig(skirt=0.0, held=0.0, furniture=0.0)
PERFECT = CorruptionConfig(KeypointErrors(clean=1.0), MaskErrors(edge=0.0, hole=0.0))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """One thread, as a data loader's workers have: with more, matrices are multiplied in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def motions(body: Body) -> list[MeanBodyMotion]:
    return procedural_motions(body, count=4, poses=3)


@pytest.fixture(scope="module")
def backgrounds() -> Backgrounds:
    return procedural_backgrounds(4)


@pytest.fixture(scope="module")
def batch(body: Body, motions: list[MeanBodyMotion], backgrounds: Backgrounds) -> TrainingBatch:
    return sample_batch(3, SyntheticConfig(clips=6, frames=2), motions, backgrounds, body)


def same(a: TrainingBatch, b: TrainingBatch) -> bool:
    return all(torch.equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))


def test_the_seed_alone_decides(body, motions, backgrounds, batch) -> None:
    config = SyntheticConfig(clips=6, frames=2)
    assert same(batch, sample_batch(3, config, motions, backgrounds, body))
    other = sample_batch(4, config, motions, backgrounds, body)
    assert not any(torch.equal(getattr(batch, f.name), getattr(other, f.name)) for f in fields(batch))


def test_truth_agrees_with_the_body(body, batch) -> None:
    pose = BodyParameters(batch.betas[:, None], batch.R_parent_joint, batch.p_cam_root)
    posed = body.pose(pose)
    keypoints = body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name)
    torch.testing.assert_close(posed.joints, batch.joints_cam, atol=1e-5, rtol=0)
    torch.testing.assert_close(keypoints, batch.keypoints_cam, atol=1e-5, rtol=0)
    pixels = project(keypoints, batch.focal[:, None], batch.center[:, None])
    torch.testing.assert_close(pixels, batch.true_keypoints, atol=0.01, rtol=0)


def test_without_rgb_everything_else_is_equal(body, motions, backgrounds, batch) -> None:
    without_rgb = sample_batch(3, SyntheticConfig(clips=6, frames=2, rgb=False), motions, backgrounds, body)
    assert not without_rgb.rgb.any()
    assert batch.rgb.float().std() > 20
    for name in ("betas", "joints_cam", "true_keypoints", "boxes", "focal"):
        assert torch.equal(getattr(without_rgb, name), getattr(batch, name))
    assert (without_rgb.masks ^ batch.masks).float().mean() < 0.02


def test_a_perfect_detector_gives_the_truth(body, motions, backgrounds) -> None:
    config = SyntheticConfig(clips=16, rgb=False, appearance=NO_PROPS, corruption=PERFECT)
    batch = sample_batch(0, config, motions, backgrounds, body)
    torch.testing.assert_close(batch.keypoints, batch.true_keypoints, atol=0.01, rtol=0)
    crops = to_crop(batch.keypoints, batch.boxes)
    inside = batch.confidence > 0.3
    assert ((crops > 0) & (crops < 127)).all(-1)[inside].float().mean() > 0.97


def test_masks_cover_the_body_and_its_clothes(body, motions, backgrounds) -> None:
    config = SyntheticConfig(clips=12, rgb=False, appearance=NO_PROPS, corruption=PERFECT)
    batch = sample_batch(1, config, motions, backgrounds, body)
    pose = BodyParameters(batch.betas[:, None], batch.R_parent_joint, batch.p_cam_root)
    camera = Camera(batch.focal[:, None], batch.center[:, None], torch.eye(3), torch.zeros(3)).crop(
        batch.boxes
    )
    naked = rendered_mask(body.pose(pose).vertices, body.faces, camera.focal, camera.center, 128, 128)
    for mask, reference, rgb in zip(batch.masks[:, 0], naked[:, 0], batch.boxes[:, 0], strict=True):
        if mask.sum() > 1000:
            # Clothes, and the smoothing of `corrupt_masks`, move the edge by a pixel or two.
            inside_image = (mask & reference).sum() / mask.sum()
            assert inside_image > 0.8, rgb


def test_confidence_correlates_with_the_error(body, motions, backgrounds) -> None:
    config = SyntheticConfig(clips=128, rgb=False, corruption=CorruptionConfig(KeypointErrors(swapped=0.0)))
    batch = sample_batch(0, config, motions, backgrounds, body)
    size = (batch.true_keypoints.amax(2) - batch.true_keypoints.amin(2)).amax(-1)[..., None]
    error = (batch.keypoints - batch.true_keypoints).norm(dim=-1) / size
    detected = batch.confidence > 0
    assert 0.005 < (~detected).float().mean() < 0.05
    high, low = error[batch.confidence > 0.7], error[detected & (batch.confidence < 0.3)]
    assert 0.005 < high.median() < 0.03
    assert 1.5 * high.median() < low.median()
    assert (error[detected] > 0.05).float().mean() > 0.01, "some have large errors"


def test_swaps_exchange_left_and_right(body, motions, backgrounds) -> None:
    errors = KeypointErrors(
        noise=0.0, drift=0.0, bias=0.0, gross=0.0, missed=0.0, limb_missed=0.0, swapped=1.0, clean=0.0
    )
    config = SyntheticConfig(clips=8, rgb=False, appearance=NO_PROPS, corruption=CorruptionConfig(errors))
    batch = sample_batch(2, config, motions, backgrounds, body)
    # All, then arms, then legs are swapped: of the arms and legs nothing is left, of the face one swap.
    confident = batch.confidence > 0
    wrist, ear = DEFAULT_KEYPOINTS.index("left_wrist"), DEFAULT_KEYPOINTS.index("left_ear")
    mirrored = batch.true_keypoints[:, :, list(DEFAULT_KEYPOINTS.mirror)]
    kept = (batch.keypoints - batch.true_keypoints).norm(dim=-1)
    turned = (batch.keypoints - mirrored).norm(dim=-1)
    assert kept[..., wrist][confident[..., wrist]].max() < 0.01
    assert turned[..., ear][confident[..., ear]].max() < 0.01


def test_boxes_contain_the_person_with_a_margin(batch) -> None:
    detected = batch.confidence > 0.5
    inside = to_crop(batch.keypoints, batch.boxes)[detected]
    assert ((inside > 0) & (inside < 127)).float().mean() > 0.97
    assert (inside.amax(0) - inside.amin(0)).min() > 60


def test_empty_motions_are_refused(body, backgrounds) -> None:
    with pytest.raises(ValueError, match="no motions"):
        sample_batch(0, SyntheticConfig(clips=1), [], backgrounds, body)


def test_procedural_motions_stand_on_the_ground(body, motions) -> None:
    for motion in motions:
        posed = body.pose(
            BodyParameters(torch.zeros(1, body.num_betas), motion.R_parent_joint, motion.p_world_root)
        )
        assert posed.vertices[..., 1].amin(-1).abs().max() < 1e-4
        speed = posed.joints.diff(dim=0).norm(dim=-1) * motion.fps
        assert np.percentile(speed.numpy(), 99) < 12, "metres a second"
