"""Pictures as cameras, phones and other systems write them."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from selfmocap.io.files import InputError
from selfmocap.io.pictures import natural_sort_key, picture_paths, read_image
from selfmocap.io.video import open_video
from tests.conftest import SHARED_DATA

TROUBLES = SHARED_DATA / "troubles"


def grey(value: int, side: int = 32) -> Image.Image:
    return Image.fromarray(np.full((side, side, 3), value, np.uint8))


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    for index in range(3):
        grey(50 * index).save(tmp_path / f"{index}.png")
        (tmp_path / f"._{index}.png").write_bytes(b"\0\5\x16\7" + bytes(100))
    (tmp_path / "Thumbs.db").write_bytes(b"thumbs")
    (tmp_path / "__MACOSX").mkdir()
    video = open_video(tmp_path)
    assert [int(frame.image.mean()) for frame in video.frames()] == [0, 50, 100]
    assert len(video.warnings) == 1 and "--input-fps" in video.warnings[0]


def test_a_damaged_picture_leaves_a_gap_and_a_warning(tmp_path: Path) -> None:
    for index in range(5):
        grey(50 * index).save(tmp_path / f"{index}.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    video = open_video(tmp_path)
    assert [int(frame.image.mean()) for frame in video.frames()] == [0, 50, 150, 200]
    np.testing.assert_allclose(video.times, np.array([0, 1, 3, 4]) / 30)
    assert any("1 of the 5 pictures" in warning and "2.png" in warning for warning in video.warnings)


def test_names_are_sorted_by_their_numbers_whatever_their_characters(tmp_path: Path) -> None:
    names = ["5²1.png", "5²2.png", "5²10.png", "٣.png", os.fsdecode(b"caf\xe9.png")]
    for name in names:
        grey(10).save(tmp_path / name)
    assert [path.name for path in picture_paths(tmp_path)][:3] == names[:3]
    assert sorted([Path("a10"), Path("a9")], key=natural_sort_key) == [Path("a9"), Path("a10")]


def test_the_first_of_a_cameras_two_pictures_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    grey(200, 64).save(path, format="MPO", save_all=True, append_images=[grey(10, 16)])
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert read_image(path).shape == (64, 64, 3) and read_image(path).mean() == pytest.approx(200, abs=2)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_scaled_to_8(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.full((8, 8), 25_700, np.uint16)).save(path)
    assert (read_image(path) == 100).all()


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    rgba = np.full((8, 8, 4), 200, np.uint8)
    rgba[..., 3] = 255
    rgba[:4, :, 3] = 0
    rgba[4:6, :, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image[:4] == 0).all() and (image[4:6] == 100).all() and (image[6:] == 200).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_are_applied(tmp_path: Path, orientation: int) -> None:
    image = np.full((32, 48, 3), 40, np.uint8)
    image[:8, :8] = 220
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    rows, columns = np.nonzero(read_image(tmp_path / "a.png")[..., 0] > 130)
    low, right = rows.mean() > 16, columns.mean() > 16
    expected = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
    assert (int(low), int(right)) == expected[orientation]


@pytest.mark.skipif(not TROUBLES.is_dir(), reason="needs shared/data/troubles")
@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_all_tiles_of_an_avif_are_read() -> None:
    folder = TROUBLES / "heic_and_tiles"
    image, expected = read_image(folder / "tiles_2x2.avif"), read_image(folder / "as_it_should_be.jpg")
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 4


def test_a_heic_without_its_reader_gives_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    for call in (read_image, open_video):
        with pytest.raises(InputError, match=r"pip install 'selfmocap\[heic\]', or convert them to JPEG"):
            call(path)
    grey(10).save(tmp_path / "b.jpg")
    assert any("selfmocap[heic]" in warning for warning in open_video(tmp_path).warnings)


def test_a_heic_is_read(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif")
    pillow_heif.register_heif_opener()
    grey(200, 64).save(tmp_path / "a.heic", quality=95)
    assert read_image(tmp_path / "a.heic").mean() == pytest.approx(200, abs=3)
