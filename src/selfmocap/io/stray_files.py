"""Recognise files that systems and programs leave beside a user's files."""

import logging
from collections.abc import Iterable
from pathlib import Path

_log = logging.getLogger(__name__)
_MAX_NAMED = 5


def is_stray(path: Path, folder: Path) -> bool:
    """Test whether a file of a folder is hidden (`._walk.bvh` beside `walk.bvh`, `.DS_Store`, `.git`), or from the
    resource forks that macOS packs into archives (`__MACOSX`)."""
    parts = path.relative_to(folder).parts
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def warn_of_stray_files(folder: Path, paths: Iterable[Path]) -> None:
    """Log one line that names the files of a folder that are left aside; nothing without any."""
    names = [path.relative_to(folder).as_posix() for path in paths]
    if names:
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        _log.warning("%s: left aside %s%s", folder, ", ".join(names[:_MAX_NAMED]), more)
