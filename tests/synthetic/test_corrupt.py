"""A detector's errors: their sizes, their persistence, and their effect on masks."""

import numpy as np
import pytest

from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.synthetic import corrupt
from selfmocap.synthetic.corrupt import KeypointErrors, MaskErrors, corrupt_masks, sample_errors

ONLY_BIAS = KeypointErrors(
    noise=0.0, drift=0.0, gross=0.0, missed=0.0, limb_missed=0.0, swapped=0.0, clean=0.0
)


def disc(radius: float, side: int = 128) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return (np.hypot(x, y) < radius).astype(np.float32)[None]


def test_errors_scale_with_the_person_and_differ_by_joint() -> None:
    rng = np.random.default_rng(0)
    errors = sample_errors(rng, KeypointErrors(clean=0.0), 800, 1)
    size = np.linalg.norm(errors.offset, axis=-1)[:, 0]
    by_name = {name: np.median(size[:, i]) for i, name in enumerate(DEFAULT_KEYPOINTS.names)}
    assert by_name["left_wrist"] > 1.1 * by_name["left_shoulder"]
    keypoints = np.zeros((800, 1, 23, 2))
    small, large = (
        corrupt.displaced_keypoints(errors, keypoints, np.full((800, 1), s)) for s in (50.0, 500.0)
    )
    assert np.allclose(10 * small, large)


def test_slow_errors_are_slow() -> None:
    config = KeypointErrors(noise=0.0, gross=0.0, clean=0.0, swapped=0.0)
    shift = sample_errors(np.random.default_rng(0), config, 60, 50).offset
    step, size = np.abs(np.diff(shift, axis=1)).mean(), np.abs(shift).mean()
    assert 0.02 * size < step < 0.3 * size


def test_runs_have_their_fraction_and_length() -> None:
    runs = corrupt._sample_runs(np.random.default_rng(0), 3000, 60, 0.1)
    assert runs.mean() == pytest.approx(0.1, abs=0.01)
    stays = runs[:, 1:][runs[:, :-1]].mean()
    assert stays == pytest.approx(1 - (1 / 4) * 0.9, abs=0.03)


def test_clean_clips_have_no_errors() -> None:
    errors = sample_errors(np.random.default_rng(0), KeypointErrors(clean=1.0), 20, 5)
    assert not errors.offset.any() and not errors.missed.any() and not errors.hidden_offset.any()
    assert (errors.source == np.arange(23)).all() and not errors.bias.any()


def test_the_bias_points_down_the_torso_of_each_person() -> None:
    errors = sample_errors(np.random.default_rng(0), ONLY_BIAS, 300, 2)
    upright = np.random.default_rng(1).normal(size=(300, 2, 23, 2))
    names = DEFAULT_KEYPOINTS.names
    for part, height in (("shoulder", 0.0), ("hip", 50.0)):
        upright[:, :, [part in name for name in names]] = (3.0, height)
    size = np.full((300, 2), 100.0)
    moved = corrupt.displaced_keypoints(errors, upright, size) - upright
    lying = corrupt.displaced_keypoints(errors, upright[..., ::-1], size) - upright[..., ::-1]
    assert np.allclose(moved[..., 0], 0) and np.allclose(moved, lying[..., ::-1])
    nose = moved[:, 0, names.index("nose"), 1]
    assert nose.mean() == pytest.approx(100 * corrupt._BIAS["nose"], rel=0.2) and nose.std() > 0


def test_hidden_keypoints_have_more_outliers() -> None:
    errors = sample_errors(np.random.default_rng(0), KeypointErrors(clean=0.0), 300, 4)
    shown, hidden = (
        np.linalg.norm(offset, axis=-1) > 0.1
        for offset in (errors.offset, errors.offset + errors.hidden_offset)
    )
    assert 0.005 < shown.mean() < 0.03 and hidden.mean() > 2 * shown.mean()


def test_confidence_falls_with_the_error_and_outside_the_image() -> None:
    rng = np.random.default_rng(0)
    errors = sample_errors(rng, KeypointErrors(missed=0.0, limb_missed=0.0, swapped=0.0), 400, 1)
    inside = rng.random(errors.missed.shape) < 0.5
    draws = [
        corrupt.sample_confidence(rng, errors, np.full(inside.shape, distance), inside)
        for distance in (0.0, 0.015, 0.045, 0.08, 0.15, 1.0)
    ]
    assert max(confidence[~inside].max() for confidence in draws) < 0.07
    medians = [np.median(confidence[inside]) for confidence in draws]
    assert medians == sorted(medians, reverse=True) and medians[0] > 0.95 and medians[-1] < 0.3
    rank = errors.confidence_rank[inside]
    assert (np.diff(draws[0][inside][np.argsort(rank)]) >= 0).all()


def test_an_edge_moves_by_its_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    given = disc(30)
    calm = corrupt_masks(np.random.default_rng(0), MaskErrors(0.0, 0.0), given, np.zeros_like(given))
    assert np.logical_xor(calm, given > 0).sum() < 0.05 * given.sum()
    moved = np.zeros(given.shape, bool)
    for shift in (-1.5, 1.5):
        waves = np.full((1, 6, 6), shift, np.float32)
        corrupt._corrupt_masks(0, 1, given, waves, np.zeros((1, 4)), moved)
        assert np.sqrt(moved.sum() / np.pi) == pytest.approx(30 + shift, abs=0.5)


def test_masks_get_frayed_edges_and_holes() -> None:
    given = np.repeat(disc(30), 200, axis=0)
    masks = corrupt_masks(np.random.default_rng(0), MaskErrors(0.012, 0.5), given, np.zeros_like(given))
    overlap = (masks & (given > 0)).sum((1, 2)) / (masks | (given > 0)).sum((1, 2))
    assert 0.85 < np.median(overlap) < 0.99
    assert overlap.min() < 0.9 and len(set(masks.sum((1, 2)).tolist())) > 100


def test_held_objects_are_often_part_of_the_mask() -> None:
    given, held = np.repeat(disc(20), 300, axis=0), np.zeros((300, 128, 128), np.float32)
    held[:, 100:110, 60:70] = 1
    masks = corrupt_masks(np.random.default_rng(0), MaskErrors(0.0, 0.0), given, held)
    assert masks[:, 105, 65].mean() == pytest.approx(0.7, abs=0.08)
