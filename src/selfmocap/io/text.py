"""Read text files of recordings with a bound, and with errors that name the file and the line."""

import io
import re
import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np

from selfmocap.io.files import existing_file

MAX_TEXT_BYTES = 1 << 29
MAX_SKELETON_JOINTS = 1000
MAX_RECORDING_FRAMES = 1_000_000
MAX_RECORDING_NUMBERS = 1 << 26
_JOINED_NUMBERS = re.compile(r"(?<=[0-9.])(?=[+-])")
"""Writers with columns of fixed width leave no space before a minus."""
_AT_END = " \t\r\n\0\x1a"
"""Spaces, and the end-of-file mark of DOS."""


def read_text(path: Path | str) -> str:
    """Read a file of at most MAX_TEXT_BYTES in UTF-8, or in UTF-16 with a byte-order mark. Other bytes (in names,
    comments) are replaced. Lines end with `\\n`."""
    path = existing_file(path)
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise ValueError(
            f"{path}: {size} bytes; at most {MAX_TEXT_BYTES} are allowed: split it into shorter clips"
        )
    with path.open("rb") as file:
        utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    return path.read_text(encoding="utf-16" if utf16 else "utf-8-sig", errors="replace")


def split_numbers(text: str) -> str:
    """Put a space before each sign that follows a number without one."""
    return _JOINED_NUMBERS.sub(" ", text) if _JOINED_NUMBERS.search(text) else text


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
    # loadtxt allocates `max_rows` rows before it reads them.
    rows = min(text.count("\n") + 1, MAX_RECORDING_FRAMES)
    try:
        table = np.loadtxt(io.StringIO(text), delimiter=delimiter, ndmin=2, comments=None, max_rows=rows)
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


def parse_number_stream(path: Path | str, text: str, first_line: int, columns: int) -> np.ndarray:
    """Parse (rows, columns) finite float64 from numbers that begin at `first_line` of the file. A row may take several
    lines. Raises ValueError that names the line."""
    text = split_numbers(text.rstrip(_AT_END))
    if not text.strip():
        raise ValueError(
            f"{path}: no frames after line {first_line - 1}; the recording is truncated: export it again"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            values = np.fromstring(text, dtype=np.float64, sep=" ")
    except (DeprecationWarning, ValueError):
        values = np.empty(0)
    if not len(values) or len(values) % columns or not np.isfinite(values).all():
        _raise_damaged(path, text, first_line, columns)
    if len(values) > MAX_RECORDING_NUMBERS or len(values) > columns * MAX_RECORDING_FRAMES:
        raise ValueError(
            f"{path}: {len(values) // columns} frames of {columns} numbers; at most {MAX_RECORDING_FRAMES} frames and "
            f"{MAX_RECORDING_NUMBERS} numbers are allowed: split it into shorter clips"
        )
    return values.reshape(-1, columns)


def _raise_damaged(path: Path | str, text: str, first_line: int, columns: int) -> NoReturn:
    one_line_a_row = len(text.lstrip("\n").split("\n", 1)[0].split()) == columns
    line = first_line
    for line, row in enumerate(text.split("\n"), start=first_line):
        words = row.split()
        parse_numbers(path, line, words, len(words))
        if one_line_a_row and len(words) not in (0, columns):
            raise ValueError(f"{path}, line {line}: expected {columns} numbers, found {len(words)}")
    raise ValueError(
        f"{path}, line {line}: expected {columns} numbers for each frame; the last frame is not complete: export the "
        "file again"
    )
