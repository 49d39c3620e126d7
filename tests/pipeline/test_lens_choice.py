import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.geometry.focal_prior import LogNormal, focal_prior
from selfmocap.geometry.lens import Lens
from selfmocap.io.calibration_files import Intrinsics
from selfmocap.io.files import InputError
from selfmocap.io.input_options import InputOptions
from selfmocap.io.lens_options import LensOptions, check_lens
from selfmocap.io.video import Video, open_video
from selfmocap.pipeline.lens_choice import LensChoice, calibrated_lens, choose_lens, with_estimates
from tests.helpers.quicktime import meta, with_box
from tests.helpers.videos import write_video

WIDE = [np.full((90, 160, 3), 40 * n, np.uint8) for n in range(4)]
DISTORTED = Intrinsics("a", (160, 90), (150.0, 140.0), (82.0, 41.0), (-0.2, 0.01, 0.002, -0.003), "brown")


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return open_video(write_video(tmp_path / "a.mov", WIDE))


def tagged(tmp_path: Path) -> Path:
    plain = write_video(tmp_path / "plain.mov", WIDE)
    return with_box(plain, tmp_path / "tagged.mov", meta(b"\x1a", 21), True)


def test_options_come_before_metadata_and_metadata_before_the_default(tmp_path: Path, video: Video) -> None:
    phone = open_video(tagged(tmp_path))
    default = choose_lens(video, None, LensOptions())
    assert default.source == "default"
    assert default.focal_px == pytest.approx(160 * focal_prior("landscape video").median)
    found = choose_lens(phone, None, LensOptions())
    assert found.source == "metadata" and found.focal_px == pytest.approx(
        26 / math.hypot(36, 24) * math.hypot(160, 90)
    )
    assert 0 < found.uncertainty < default.uncertainty and "stabilisation" in found.notes[0]
    assert choose_lens(phone, 123.0, LensOptions()).as_report() == {
        "px": 123.0,
        "source": "option",
        "uncertainty": 0.0,
    }
    assert choose_lens(phone, None, LensOptions(fov=90.0)).focal_px == pytest.approx(80)
    assert choose_lens(phone, None, LensOptions(lens_mm=26.0)).focal_px == pytest.approx(found.focal_px)


@pytest.mark.parametrize("turn", [90, 270])
def test_a_turned_video_keeps_its_metadata_and_changes_its_kind(tmp_path: Path, turn: int) -> None:
    options = InputOptions(rotate=turn)
    assert choose_lens(open_video(tagged(tmp_path), options), None, LensOptions()).focal_px == pytest.approx(
        26 / math.hypot(36, 24) * math.hypot(160, 90)
    )
    upright = open_video(tmp_path / "plain.mov", options)
    expected = 160 * focal_prior("portrait video").median
    assert choose_lens(upright, None, LensOptions()).focal_px == pytest.approx(expected)


def test_only_one_focal_length_may_be_given() -> None:
    check_lens(100.0, LensOptions())
    with pytest.raises(ValueError, match="found --focal and --calib; expected one of them"):
        check_lens(100.0, LensOptions(calib="a.json"))
    with pytest.raises(ValueError, match="an angle of view of 200.0 degrees"):
        LensOptions(fov=200.0)
    with pytest.raises(ValueError, match="a 35 mm equivalent of 1.0 mm"):
        LensOptions(lens_mm=1.0)


def test_a_calibration_is_scaled_to_the_video(tmp_path: Path, video: Video) -> None:
    large = {"width": 320, "height": 180, "fx": 300.0, "fy": 300.0, "cx": 159.5, "cy": 89.5}
    path = tmp_path / "calib.json"
    path.write_text(json.dumps(large))
    choice = choose_lens(video, None, LensOptions(calib=str(path)))
    assert (choice.source, choice.uncertainty, choice.lens.focal) == ("calibration", 0.0, (150.0, 150.0))
    assert choice.lens.center == pytest.approx((79.5, 44.5))
    assert LensChoice.from_json(json.loads(json.dumps(choice.as_json()))) == choice


@pytest.mark.parametrize("turn", [90, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_calibration_of_the_frames_before_the_turn_is_turned(video: Video, turn: int, mirror: bool) -> None:
    """A pixel that is undistorted and then turned is where it would be, turned and then undistorted."""
    shown = open_video(video.path, InputOptions(rotate=turn, mirror=mirror))
    assert shown.size == (90, 160)
    before = calibrated_lens(DISTORTED, video, "a")
    after = calibrated_lens(DISTORTED, shown, "a")
    image = np.arange(90 * 160).reshape(90, 160)
    turned = np.rot90(image, shown.rotation // 90)
    turned = turned[:, ::-1] if shown.mirrored else turned

    def shown_at(pixel: tuple[int, int]) -> list[float]:
        row, column = np.argwhere(turned == image[pixel[1], pixel[0]])[0]
        return [float(column), float(row)]

    corners = [(10, 20), (140, 15), (100, 80)]
    middles = [torch.tensor(corner, dtype=torch.float32) for corner in corners]
    offsets = [before.distort(middle) - middle for middle in middles]
    moved = [
        after.distort(torch.tensor(shown_at(corner))) - torch.tensor(shown_at(corner)) for corner in corners
    ]
    # The turn of a vector: the difference of two turned pixels.
    origin, right, down = (torch.tensor(shown_at(p)) for p in ((0, 0), (1, 0), (0, 1)))
    basis = torch.stack([right - origin, down - origin], dim=-1)
    for offset, expected in zip(offsets, moved, strict=True):
        torch.testing.assert_close(basis @ offset, expected, atol=2e-3, rtol=0)


def test_calibrations_of_other_images_are_refused(video: Video) -> None:
    with pytest.raises(InputError, match="the calibration is of images of"):
        calibrated_lens(replace(DISTORTED, size=(640, 480)), video, "a")
    with pytest.raises(InputError, match="cannot be inverted in"):
        calibrated_lens(replace(DISTORTED, distortion=(-3.0,)), video, "a")
    with pytest.raises(InputError, match="a principal point near the middle"):
        calibrated_lens(replace(DISTORTED, size=None, center=(640.0, 360.0)), video, "a")


def test_an_estimate_replaces_only_a_default_and_is_narrower() -> None:
    default = LensChoice(Lens.pinhole(1000.0, (1280, 720)), "default", 0.4)
    estimates = [LogNormal(2000.0, 0.2)]
    chosen = with_estimates(default, estimates)
    assert chosen.source == "estimate" and chosen.uncertainty < 0.2
    assert 1000 < chosen.focal_px < 2000 and chosen.focal_px > math.sqrt(2e6)  # Nearer to the narrower one.
    assert with_estimates(default, []) == default
    given = replace(default, source="option")
    assert with_estimates(given, estimates) == given
