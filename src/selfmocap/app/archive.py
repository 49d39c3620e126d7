"""Stream a zip archive of files, without a copy of it on the disk."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_BLOCK_BYTES = 1 << 18


class _Collector(io.RawIOBase):
    """A file that cannot be read or seeked; what is written is taken out again."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block: object, /) -> int:
        data = bytes(block)  # pyright: ignore[reportArgumentType]
        self.written += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self.written)
        self.written.clear()
        return data


def iterate_zip(paths: Mapping[str, Path]) -> Iterator[bytes]:
    """Give the blocks of a zip archive of files by their names in it, without compression: videos and GLB have their
    own."""
    collector = _Collector()
    with zipfile.ZipFile(collector, "w", zipfile.ZIP_STORED) as archive:
        for name, path in paths.items():
            with (
                path.open("rb") as source,
                archive.open(zipfile.ZipInfo.from_file(path, name), "w") as target,
            ):
                while block := source.read(_BLOCK_BYTES):
                    target.write(block)
                    yield collector.take()
    yield collector.take()
