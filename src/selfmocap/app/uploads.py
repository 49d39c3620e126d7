"""Receive files from the page: streamed to disk, bounded in size and number, refused before the disk is full."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from selfmocap.app.strings import text

MAX_UPLOADS = 8
"""Number of uploads at a time."""
RESERVED_BYTES = 1_000_000_000
"""Space on the disk that stays free, for the results."""
_BLOCK_BYTES = 1 << 18


class RefusedUploadError(Exception):
    """An upload is refused; `status` is that of the response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Uploads:
    """The uploads in progress, and their limits."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.expected: list[int] = []
        """Sizes of the uploads in progress, bytes."""

    def free_bytes(self) -> int:
        """Return how large an upload may be now."""
        free = shutil.disk_usage(self.folder).free - RESERVED_BYTES - sum(self.expected)
        return max(min(free, self.max_bytes), 0)

    @contextmanager
    def admit(self, size: int | None, max_bytes: int) -> Iterator[int]:
        """Check the size that a request declares, bytes, and count it among the uploads for as long as it lasts.

        Raises RefusedUploadError for no size, a too large one, too many uploads, or a disk that would be full."""
        if not size:
            raise RefusedUploadError(411, text("no_size"))
        if size > max_bytes:
            raise RefusedUploadError(413, text("too_large", size=_gb(size), limit=_gb(max_bytes)))
        if len(self.expected) >= MAX_UPLOADS:
            raise RefusedUploadError(429, text("too_many_uploads", limit=MAX_UPLOADS))
        if size > self.free_bytes():
            raise RefusedUploadError(507, text("disk_full", size=_gb(size), free=_gb(self.free_bytes())))
        self.expected.append(size)
        try:
            yield size
        finally:
            self.expected.remove(size)

    async def receive(self, request: web.Request, path: Path, size: int) -> None:
        """Write the body of a request to a file. Raises RefusedUploadError if it ends early."""
        received = 0
        with path.open("xb") as file:
            async for block in request.content.iter_chunked(_BLOCK_BYTES):
                received += len(block)
                await asyncio.to_thread(file.write, block)
        if received != size:
            raise RefusedUploadError(400, text("cut_off"))


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e7 else f"{count / 1e6:.2f} MB"
