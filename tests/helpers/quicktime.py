"""Write QuickTime metadata into videos."""

import struct
from pathlib import Path

from selfmocap.io.focal_metadata import QUICKTIME_KEY


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def meta(value: bytes, kind: int, full: bool = False, key: str = QUICKTIME_KEY) -> bytes:
    """A QuickTime metadata box with two keys; MP4's (`full`) begins with a version."""
    handler = box(b"hdlr", bytes(8), b"mdta", bytes(13))
    names = [b"com.apple.quicktime.make", key.encode()]
    keys = box(b"keys", struct.pack(">II", 0, 2), *(box(b"mdta", name) for name in names))
    items = [box(struct.pack(">I", n), box(b"data", struct.pack(">II", *d))) for n, d in ((1, (1, 0)),)]
    items.append(box(struct.pack(">I", 2), box(b"data", struct.pack(">II", kind, 0), value)))
    return box(b"meta", bytes(4) if full else b"", handler, keys, box(b"ilst", *items))


def with_box(source: Path, path: Path, added: bytes, in_track: bool) -> Path:
    """Add a box at the end of the movie box, or of its first track, which must lie behind the pictures."""
    data = source.read_bytes()
    start = data.index(b"moov") - 4
    assert start > data.index(b"mdat")
    places = [start] + ([data.index(b"trak") - 4] if in_track else [])
    end = places[-1] + struct.unpack_from(">I", data, places[-1])[0]
    grown = bytearray(data[:end] + added + data[end:])
    for place in places:
        (size,) = struct.unpack_from(">I", grown, place)
        struct.pack_into(">I", grown, place, size + len(added))
    path.write_bytes(grown)
    return path
