import math
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from selfmocap.io.focal_metadata import QUICKTIME_KEY, quicktime_values, read_focal_metadata
from tests.helpers.quicktime import meta, with_box
from tests.helpers.videos import write_video

DIAGONAL_MM = math.hypot(36, 24)
IMAGES = [np.full((36, 64, 3), 20 * n, np.uint8) for n in range(4)]


@pytest.mark.parametrize("in_track", [True, False])
@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [(b"\x1a", 21, 26), (struct.pack(">i", 26), 21, 26), (struct.pack(">H", 24), 22, 24), (b"28", 1, 28),
     (struct.pack(">f", 26.5), 23, 26.5), (struct.pack(">d", 13.25), 24, 13.25)],
)  # fmt: skip
def test_a_phones_equivalent_is_read_from_movie_and_track(
    tmp_path: Path, value: bytes, kind: int, expected: float, in_track: bool
) -> None:
    plain = write_video(tmp_path / "plain.mov", IMAGES)
    tagged = with_box(plain, tmp_path / "tagged.mov", meta(value, kind, full=in_track), in_track)
    found, note = read_focal_metadata(tagged)
    assert found is not None and note is None
    assert found.diagonals * DIAGONAL_MM == pytest.approx(expected)
    assert 0 < found.log_spread < 0.2 and f"{expected:g} mm" in found.origin


def test_videos_without_the_key_or_with_nonsense_give_nothing(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mov", IMAGES)
    assert read_focal_metadata(plain) == (None, None)
    for number, (value, kind) in enumerate(
        [
            (struct.pack(">i", -13), 21),
            (b"0", 1),
            (b"wide", 1),
            (b"", 23),
            (struct.pack(">f", math.nan), 23),
            (b"\xff" * 8, 22),
        ]
    ):
        tagged = with_box(plain, tmp_path / f"{number}.mov", meta(value, kind), True)
        assert read_focal_metadata(tagged) == (None, None), (value, kind)
    other = with_box(plain, tmp_path / "other.mov", meta(b"\x1a", 21, key="com.example.focal"), True)
    assert read_focal_metadata(other) == (None, None)


def test_damaged_boxes_end_the_search(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mov", IMAGES)
    whole = with_box(plain, tmp_path / "tagged.mov", meta(b"\x1a", 21), True).read_bytes()
    path, random = tmp_path / "damaged.mov", np.random.default_rng(0)
    start = whole.index(b"moov")
    for _ in range(300):
        damaged = bytearray(whole[: random.integers(start, len(whole) + 1)])
        for place in random.integers(start, len(damaged), 8) if len(damaged) > start else []:
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        assert all(value >= 0 for value in quicktime_values(path, QUICKTIME_KEY))


def picture(path: Path, tags: dict[int, object], size: tuple[int, int] = (60, 40)) -> Path:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update(tags)
    Image.new("RGB", size, (90, 120, 150)).save(path, exif=exif)
    return path


def test_pictures_give_the_equivalent_or_the_lens_on_its_sensor(tmp_path: Path) -> None:
    equivalent, _ = read_focal_metadata(
        picture(tmp_path / "a.jpg", {0xA405: 26, 0x920A: IFDRational(57, 10)})
    )
    assert equivalent is not None and equivalent.diagonals == pytest.approx(26 / DIAGONAL_MM)
    # A sensor 36 mm wide with 6000 px, of which the file shows a smaller copy.
    tags = {
        0x920A: 50.0,
        0xA002: 6000,
        0xA003: 4000,
        0xA20E: IFDRational(Fraction(6000 * 254, 360)),
        0xA210: 2,
    }
    sensor, _ = read_focal_metadata(picture(tmp_path / "b.jpg", tags))
    assert sensor is not None and sensor.diagonals == pytest.approx(50 / DIAGONAL_MM, rel=1e-3)
    upright, _ = read_focal_metadata(
        picture(tmp_path / "c.jpg", {0xA405: 26, 0xA002: 60, 0xA003: 40}, (40, 60))
    )
    assert upright is not None


def test_pictures_that_say_nothing_or_were_cropped(tmp_path: Path) -> None:
    for number, tags in enumerate(
        [{}, {0x920A: 4.2}, {0xA405: 0}, {0xA405: 65535}, {0x920A: IFDRational(1, 0), 0xA20E: 1}]
    ):
        assert read_focal_metadata(picture(tmp_path / f"{number}.jpg", tags)) == (None, None)
    found, note = read_focal_metadata(
        picture(tmp_path / "crop.jpg", {0xA405: 26, 0xA002: 60, 0xA003: 40}, (40, 40))
    )
    assert found is None and note is not None and "cropped" in note


def test_a_folder_must_agree(tmp_path: Path) -> None:
    for number, mm in enumerate((26, 26, 52)):
        picture(tmp_path / f"{number}.jpg", {0xA405: mm})
    found, note = read_focal_metadata(tmp_path)
    assert found is None and note is not None and "several focal lengths" in note
    (tmp_path / "2.jpg").unlink()
    assert read_focal_metadata(tmp_path)[0] is not None
