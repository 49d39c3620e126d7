"""Check that a file exists, hash it, and read and write JSON."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from selfmocap.io.atomic import atomic_write

_BLOCK_BYTES = 1 << 20


class InputError(ValueError):
    """A video or a related input that cannot be used; its message is one line with the cause and the remedy."""


def existing_file(path: Path | str) -> Path:
    """Return the path if it is a file that is not empty; else raise FileNotFoundError or ValueError."""
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"{path}: expected a file, found a folder; give the path of a file in it")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; check the path")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file, found a pipe or a device; save it as a file first")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; write or download it again")
    return path


def printable_path(path: Path | str) -> str:
    """Return a path as text that can be written as UTF-8; bytes in other encodings become replacement characters."""
    return os.fsencode(path).decode(errors="replace")


def sha256_of_path(path: Path | str) -> str:
    """Compute the SHA-256 of a file's bytes, or of the names and bytes of the files in a folder, as hex digits.

    Memory does not grow with the size of the files."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(os.fsencode(file.name) + b"\0")
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def read_json(path: Path | str) -> Any:
    """Read a JSON file. A ValueError names the file if its content is not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, found other or damaged content ({error})") from error


def read_json_object(path: Path | str) -> dict[str, Any]:
    """Read a JSON object that the program can write again: empty if the file is absent, damaged or no object."""
    try:
        data = read_json(path)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_json(path: Path | str, data: Any, indent: int | None = None) -> None:
    """Write data as JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=indent) + "\n")
