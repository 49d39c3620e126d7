"""Read the focal length that a camera wrote into its file: EXIF of pictures, QuickTime keys of videos.

Metadata is untrusted input: boxes are read by their declared lengths within the file, and values are range-checked.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from selfmocap.io.lens_options import MAX_LENS_MM, MIN_LENS_MM
from selfmocap.io.pictures import is_picture, open_image, picture_paths

_FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""Diagonal of a frame of 35 mm film."""

QUICKTIME_KEY = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
_MAX_HEADER_BYTES = 1 << 26
"""Part of the movie box that is read; that of a video of three hours has some 20 MB."""
_MAX_BOXES = 4096
_PICTURE_SPREAD, _VIDEO_SPREAD = 0.03, 0.08
"""Equivalents are whole millimetres; those of videos do not count the crop of the stabilisation."""
_ASPECT_TOLERANCE = 0.01
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""By EXIF's FocalPlaneResolutionUnit: inch, cm, mm, micrometre."""
_EXIF_IFD, _FOCAL_MM, _FOCAL_35, _WIDTH, _HEIGHT, _PLANE_X, _PLANE_UNIT = (
    0x8769, 0x920A, 0xA405, 0xA002, 0xA003, 0xA20E, 0xA210,
)  # fmt: skip


@dataclass(frozen=True)
class FocalMetadata:
    """A focal length from a file's metadata."""

    diagonals: float
    """Focal length as a fraction of the diagonal of the image."""
    log_spread: float
    """Its relative uncertainty: the standard deviation of the logarithm."""
    origin: str
    """The value as written, for people."""


def read_focal_metadata(path: Path) -> tuple[FocalMetadata | None, str | None]:
    """Return the focal length of a video, a picture or a folder of pictures, and a sentence where it was not taken.

    A 35 mm equivalent is by the diagonal (CIPA DCG-001). Both are None for a file that says nothing."""
    if path.is_dir() or is_picture(path):
        paths = picture_paths(path)
        return _agreeing(
            [_picture_focal(p) for p in dict.fromkeys((paths[0], paths[len(paths) // 2], paths[-1]))]
        )
    values = quicktime_values(path, QUICKTIME_KEY)
    valid = [value for value in values if MIN_LENS_MM <= value <= MAX_LENS_MM]
    if not valid:
        return None, None
    return FocalMetadata(
        valid[0] / _FILM_DIAGONAL_MM, _VIDEO_SPREAD, f"{valid[0]:g} mm (35 mm equivalent)"
    ), None


def _agreeing(
    found: list[tuple[FocalMetadata | None, str | None]],
) -> tuple[FocalMetadata | None, str | None]:
    focal, note = found[0]
    if len({one.diagonals for one, _ in found if one}) > 1:
        return None, "the pictures were taken with several focal lengths; their metadata is not used"
    return focal, note


# ---- pictures -------------------------------------------------------------------------------------------------


def _picture_focal(path: Path) -> tuple[FocalMetadata | None, str | None]:
    """Read EXIF. A picture whose shape differs from the one in its EXIF was cropped after it was taken."""
    try:
        with open_image(path) as image:
            width, height = image.size
            exif = dict(image.getexif().get_ifd(_EXIF_IFD))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return None, None  # A picture that cannot be read is reported where its pixels are needed.
    sides = sorted((_number(exif.get(_WIDTH)), _number(exif.get(_HEIGHT))))
    written, shown = sides[1] / max(sides[0], 1), max(width, height) / min(width, height)
    equivalent, focal_mm = _number(exif.get(_FOCAL_35)), _number(exif.get(_FOCAL_MM))
    per_mm = _number(exif.get(_PLANE_X)) / _MM_PER_UNIT.get(
        int(_number(exif.get(_PLANE_UNIT))) or 2, math.inf
    )
    if not (
        MIN_LENS_MM <= equivalent <= MAX_LENS_MM or (0 < focal_mm <= MAX_LENS_MM and per_mm > 0 and sides[0])
    ):
        return None, None
    if sides[0] and abs(written / shown - 1) > _ASPECT_TOLERANCE:
        return (
            None,
            "the picture was cropped after it was taken; its focal length in the metadata is not used",
        )
    if MIN_LENS_MM <= equivalent <= MAX_LENS_MM:
        origin = f"{equivalent:g} mm (35 mm equivalent)"
        return FocalMetadata(equivalent / _FILM_DIAGONAL_MM, _PICTURE_SPREAD, origin), None
    diagonals = focal_mm * per_mm / math.hypot(*sides)
    if not MIN_LENS_MM <= diagonals * _FILM_DIAGONAL_MM <= MAX_LENS_MM:
        return None, None
    return FocalMetadata(
        diagonals, _PICTURE_SPREAD, f"{focal_mm:g} mm on a sensor of {per_mm:g} px a mm"
    ), None


def _number(value: Any) -> float:
    """Convert an EXIF value; 0 for an absent or damaged one."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


# ---- QuickTime and MP4 ----------------------------------------------------------------------------------------


def quicktime_values(path: Path, key: str) -> list[float]:
    """Return the numbers under a QuickTime metadata key, of the movie and of its tracks, in the order of the file.

    Phones write the lens into the metadata of the video track, which FFmpeg does not give. An empty list for a file of
    another kind, or a damaged one."""
    with path.open("rb") as file:
        if file.read(8)[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return []
        file.seek(0)
        try:
            movie = _read_movie(file)
        except (struct.error, OSError):
            return []
    holders = [movie, *(box for kind, box in _boxes(movie) if kind == b"trak")]
    metas = [_boxes_of_meta(box) for holder in holders for kind, box in _boxes(holder) if kind == b"meta"]
    return [value for boxes in metas for value in _values(boxes, key.encode())]


def _read_movie(file: BinaryIO) -> bytes:
    """Return the content of the box `moov`; empty if there is none."""
    for _ in range(_MAX_BOXES):
        head = file.read(8)
        if len(head) < 8:
            return b""
        size, kind = struct.unpack(">I4s", head)
        start = 8
        if size == 1:
            (size,), start = struct.unpack(">Q", file.read(8)), 16
        if kind == b"moov":
            return file.read(min(size - start, _MAX_HEADER_BYTES)) if size > start else b""
        if size < start:
            return b""
        file.seek(size - start, 1)
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the boxes in a box, until one does not fit."""
    start = 0
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > len(data):
            return
        yield kind, data[start + 8 : start + size]
        start += size


def _boxes_of_meta(data: bytes) -> dict[bytes, bytes]:
    """Return the boxes of `meta`, which MP4 begins with a version and flags, and QuickTime does not."""
    return dict(_boxes(data if data[4:8] == b"hdlr" else data[4:]))


def _values(boxes: dict[bytes, bytes], wanted: bytes) -> Iterator[float]:
    """Yield the values of a key: `keys` names the items of `ilst` by their number, from 1."""
    names = [name for _, name in _boxes(boxes.get(b"keys", b"")[8:])]
    for number, item in _boxes(boxes.get(b"ilst", b"")):
        index = int.from_bytes(number, "big") - 1
        if 0 <= index < len(names) and names[index] == wanted:
            yield from (value for kind, data in _boxes(item) if kind == b"data" and (value := _value(data)))


def _value(data: bytes) -> float:
    """Decode a well-known type: text (1), signed (21) or unsigned (22) integer, float32 (23), float64 (24); else 0."""
    kind, content = int.from_bytes(data[:4], "big"), data[8:]
    if kind == 1:
        return _number(content.decode(errors="replace"))
    if kind in (21, 22) and len(content) <= 8:
        return _number(int.from_bytes(content, "big", signed=kind == 21))
    if (kind, len(content)) in ((23, 4), (24, 8)):
        return _number(struct.unpack(">f" if kind == 23 else ">d", content)[0])
    return 0.0
