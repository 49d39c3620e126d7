"""Text files of recordings: read with a bound, and with errors that name the file and the line."""

import io
from pathlib import Path

import numpy as np

from selfmocap.io.files import existing_file

MAX_TEXT_BYTES = 1 << 29
MAX_JOINTS = 1000
MAX_FRAMES = 1_000_000


def read_text(path: Path | str) -> str:
    """The text of a file of at most MAX_TEXT_BYTES; bytes that are not UTF-8 (names, comments) are replaced."""
    path = existing_file(path)
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise ValueError(
            f"{path}: {size} bytes, more than the {MAX_TEXT_BYTES} allowed; cut it into shorter clips"
        )
    return path.read_text(encoding="utf-8", errors="replace")


def numbers(path: Path | str, line: int, words: list[str], count: int) -> list[float]:
    """Exactly `count` finite numbers from words; a ValueError that names the line otherwise."""
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise ValueError(f"{path}, line {line}: {error}; expected {count} numbers") from error
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(
            f"{path}, line {line}: expected {count} finite numbers, found {' '.join(words)[:80]!r}"
        )
    return values


def number_table(
    path: Path | str, text: str, first_line: int, columns: int, delimiter: str | None
) -> np.ndarray:
    """(rows, columns) finite float64 from lines of numbers that begin at `first_line` of the file."""
    if not text.strip():
        raise ValueError(
            f"{path}: no frames after line {first_line - 1}; the recording was cut off: export it again"
        )
    try:
        table = np.loadtxt(
            io.StringIO(text), delimiter=delimiter, ndmin=2, comments=None, max_rows=MAX_FRAMES
        )
    except ValueError as error:
        raise ValueError(
            f"{path}: the rows of numbers from line {first_line} on are damaged ({error}); export it again"
        ) from error
    if table.shape[1] != columns:
        raise ValueError(
            f"{path}, line {first_line}: expected {columns} numbers a line, found {table.shape[1]}"
        )
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(1))[0])
        raise ValueError(f"{path}: the row {row} after line {first_line} holds a number that is not finite")
    return table
