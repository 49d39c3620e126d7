"""Read pictures, and folders of pictures in the order of the numbers in their names.

Pictures are untrusted input: only known formats are opened, and none larger than MAX_PIXELS is decoded.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from selfmocap.io.files import InputError

MAX_PIXELS = 1 << 26
"""Maximum number of pixels of a frame: 8192 x 8192."""

PICTURE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif",
    ".hif",
)  # fmt: skip

_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "HEIF")
_FIRST_OF_SEVERAL = ("JPEG", "MPO", "HEIF")
"""Formats whose first picture is the picture; the others are previews, depth or a burst."""
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1"}


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """Open an image of a known format without decoding its pixels. Raises InputError if it is too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_installed_formats(path))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(
            f"{path}: expected an image of at most {MAX_PIXELS} pixels, found a larger one; scale it down"
        ) from None
    except RuntimeError as error:  # The decoder of AVIF.
        raise InputError(f"{path}: {_damaged(error)}") from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise InputError(f"{path}: {too_large(image.width, image.height)}")
        yield image


def too_large(width: int, height: int) -> str:
    """Describe a frame that is larger than MAX_PIXELS."""
    return f"expected frames of at most {MAX_PIXELS} pixels, found {width} x {height}; scale them down"


def _installed_formats(path: Path) -> tuple[str, ...]:
    """Return the formats that can be read here, HEIC with the optional pillow-heif. Raises InputError where the picture
    needs a reader that is not installed."""
    kind = _iso_brand(path)
    if kind in _HEIF_BRANDS:
        try:
            from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports] (optional)
        except ImportError:
            raise InputError(
                f"{path}: HEIC pictures need pillow-heif; run: pip install 'selfmocap[heic]', or convert them to JPEG"
            ) from None
        register_heif_opener()
    Image.init()
    if kind == b"avif" and "AVIF" not in Image.OPEN:
        raise InputError(
            f"{path}: AVIF pictures need Pillow 11.3 or later; upgrade it, or convert them to JPEG"
        )
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _iso_brand(path: Path) -> bytes:
    """Return the brand of an ISO base media file, by which HEIC and AVIF differ from mp4; else nothing."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] != b"ftyp":
        return b""
    return b"avif" if head[8:12] == b"mif1" and b"avif" in head[16:] else head[8:12]


def is_picture(path: Path) -> bool:
    """Return true for a picture, false for a video; GIFs and animated PNGs are videos.

    Raises InputError for a picture that needs a reader that is not installed, or is too large."""
    try:
        with open_image(path) as image:
            return image.format != "PNG" or getattr(image, "n_frames", 1) == 1
    except (Image.UnidentifiedImageError, OSError):
        return False


def picture_paths(path: Path) -> list[Path]:
    """List the pictures of a folder in the order of the numbers in their names; a picture is a list of one. Hidden
    files, such as the `._` files of a Mac, are no pictures. Raises InputError if there is none."""
    if not path.is_dir():
        return [path]
    paths = [
        p
        for p in path.iterdir()
        if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith(".") and p.is_file()
    ]
    if not paths:
        raise InputError(
            f"{path}: expected a folder with images ({', '.join(PICTURE_SUFFIXES)}), found none in it; give the folder "
            "that holds them, or a video file, or folders of videos to capture-many"
        )
    return sorted(paths, key=natural_sort_key)


def natural_sort_key(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts `frame10` after `frame9`."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if number % 2 else (-1, part) for number, part in enumerate(parts)]


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Read an image as RGB, upright; transparent pixels are black. Raises InputError if it is damaged."""
    try:
        with open_image(path) as image:
            count = getattr(image, "n_frames", 1)
            if image.format not in _FIRST_OF_SEVERAL and count > 1:
                raise InputError(
                    f"{path}: expected an image with one frame, found {count}; convert it to mp4 or gif"
                )
            return _rgb(path, ImageOps.exif_transpose(image))
    except InputError:
        raise
    except (OSError, RuntimeError, SyntaxError, ValueError, TypeError) as error:
        raise InputError(f"{path}: {_damaged(error)}") from None


def _damaged(error: Exception) -> str:
    return f"expected an image, found damaged data ({' '.join(str(error).split())}); save it again"


def _rgb(path: Path, image: Any) -> UInt8[np.ndarray, "height width 3"]:
    if image.mode == "F":
        raise InputError(f"{path}: expected 8 or 16 bits a pixel, found floating point; convert it to PNG")
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip to 255.
        grey = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return over_black(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def over_black(image: UInt8[np.ndarray, "height width 4"]) -> UInt8[np.ndarray, "height width 3"]:
    """Lay an RGBA image over black, as video players do."""
    colour, alpha = image[..., :3], image[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(colour)
    return ((colour.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
