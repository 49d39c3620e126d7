"""Write files atomically: a file appears complete or not at all."""

import contextlib
import re
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` on success, delete it on any failure."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path}: the folder {path.parent} does not exist; create it or write elsewhere"
        )
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path, stems: str = "*") -> None:
    """Delete the temporary files that killed processes left in a folder.

    `stems` is a glob pattern for the stems of the files that `atomic_write` was asked for."""
    for path in folder.glob(f".{stems}-*"):
        if re.fullmatch(r"\..+-[a-z0-9_]{8}(\.\w+)?", path.name) and path.is_file():
            path.unlink()
