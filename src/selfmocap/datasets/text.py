"""Read text files of recordings with a bound, and with errors that name the file and the line."""

import io
from pathlib import Path

import numpy as np

from selfmocap.io.files import existing_file

MAX_TEXT_BYTES = 1 << 29
MAX_SKELETON_JOINTS = 1000
MAX_RECORDING_FRAMES = 1_000_000


def read_text(path: Path | str) -> str:
    """Read a file of at most MAX_TEXT_BYTES. Bytes that are not UTF-8 (in names, comments) are replaced."""
    path = existing_file(path)
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise ValueError(
            f"{path}: {size} bytes; at most {MAX_TEXT_BYTES} are allowed: split it into shorter clips"
        )
    return path.read_text(encoding="utf-8", errors="replace")


def parse_numbers(path: Path | str, line: int, words: list[str], count: int) -> list[float]:
    """Parse exactly `count` finite numbers from words. Raises ValueError that names the line."""
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise ValueError(f"{path}, line {line}: {error}; expected {count} numbers") from error
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(
            f"{path}, line {line}: expected {count} finite numbers, found {' '.join(words)[:80]!r}"
        )
    return values


def parse_number_table(
    path: Path | str, text: str, first_line: int, columns: int, delimiter: str | None
) -> np.ndarray:
    """Parse (rows, columns) finite float64 from lines of numbers that begin at `first_line` of the file."""
    if not text.strip():
        raise ValueError(
            f"{path}: no frames after line {first_line - 1}; the recording is truncated: export it again"
        )
    try:
        table = np.loadtxt(
            io.StringIO(text), delimiter=delimiter, ndmin=2, comments=None, max_rows=MAX_RECORDING_FRAMES
        )
    except ValueError as error:
        raise ValueError(
            f"{path}: the rows of numbers from line {first_line} on are damaged ({error}); export it again"
        ) from error
    if table.shape[1] != columns:
        raise ValueError(
            f"{path}, line {first_line}: expected {columns} numbers per line, found {table.shape[1]}"
        )
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(1))[0])
        raise ValueError(f"{path}: row {row} after line {first_line} contains a number that is not finite")
    return table
