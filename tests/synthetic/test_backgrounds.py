"""Backgrounds: bounded reading, and homographies of a rotating camera."""

import numpy as np
import pytest
from PIL import Image

from selfmocap.synthetic.backgrounds import (
    BACKGROUND_SIDE,
    Backgrounds,
    background_homographies,
    load_backgrounds,
    procedural_backgrounds,
    warp_backgrounds,
)


def test_file_names_give_the_horizon(tmp_path) -> None:
    Image.new("RGB", (400, 200), (200, 10, 10)).save(tmp_path / "a_down8_fov70.jpg")
    Image.new("L", (100, 300), 90).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("not an image")
    backgrounds = load_backgrounds(tmp_path)
    assert backgrounds.images.shape == (2, BACKGROUND_SIDE, BACKGROUND_SIDE, 3)
    assert np.rad2deg(backgrounds.pitch[0]) == pytest.approx(8.0) and np.isnan(backgrounds.pitch[1])
    assert backgrounds.focal[0] == pytest.approx(BACKGROUND_SIDE / 2 / np.tan(np.deg2rad(35)))
    assert abs(int(backgrounds.images[0, 5, 5, 0]) - 200) < 6 and (backgrounds.images[1] == 90).all()


def test_bad_folders_are_refused_by_name(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        load_backgrounds(tmp_path / "missing")
    with pytest.raises(ValueError, match="no images"):
        load_backgrounds(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        load_backgrounds(tmp_path)


def test_an_image_is_warped_by_its_homography() -> None:
    images = np.zeros((1, BACKGROUND_SIDE, BACKGROUND_SIDE, 3), np.uint8)
    images[..., 0], images[..., 1] = (
        np.arange(BACKGROUND_SIDE)[None, :] % 256,
        np.arange(BACKGROUND_SIDE)[:, None] % 256,
    )
    shift = np.array([[[1.0, 0, 10], [0, 1, 20], [0, 0, 1]]])
    out = warp_backgrounds(shift, images, np.array([0]), (50, 60))[0] * 255
    assert np.allclose(out[7, 9], [19, 27, 0], atol=1e-3)
    half = (
        warp_backgrounds(np.array([[[1.0, 0, 0.5], [0, 1, 0], [0, 0, 1]]]), images, np.array([0]), (4, 4))[0]
        * 255
    )
    assert half[2, 1, 0] == pytest.approx(1.5, abs=1e-3)
    beyond = (
        warp_backgrounds(np.array([[[1.0, 0, -5], [0, 1, 0], [0, 0, 1]]]), images, np.array([0]), (4, 8))[0]
        * 255
    )
    assert np.allclose(beyond[0, :, 0], [5, 4, 3, 2, 1, 0, 1, 2], atol=1e-3), "mirrored at the edge"


def test_known_horizons_are_the_horizon_of_the_camera() -> None:
    known = Backgrounds(
        np.zeros((1, BACKGROUND_SIDE, BACKGROUND_SIDE, 3), np.uint8), np.array([0.1]), np.array([250.0])
    )
    pitch = 0.3
    R = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    R = (R @ np.diag([1.0, -1.0, -1.0]))[None, None]
    H = background_homographies(
        np.random.default_rng(0), known, np.array([0]), R, np.array([[640, 480]]), np.array([500.0])
    )[0, 0]
    horizon_ray = R[0, 0] @ np.array([0.0, 0.0, -1.0])
    x, y, w = H @ horizon_ray
    assert y / w == pytest.approx((BACKGROUND_SIDE - 1) / 2 - 250 * np.tan(0.1), abs=0.01)


def test_procedural_backgrounds_differ_and_are_deterministic() -> None:
    a, b = procedural_backgrounds(5, seed=1), procedural_backgrounds(5, seed=1)
    assert (a.images == b.images).all() and len(a) == 5
    assert (a.images.reshape(5, -1).std(1) > 5).all()
    assert np.abs(a.images[0].astype(int) - a.images[1]).mean() > 5
