"""Find the recordings of a folder, and what its `motions.csv` says of them."""

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from selfmocap.io.stray_files import is_stray, warn_of_stray_files

RECORDINGS_MANIFEST = "motions.csv"
MAX_RECORDINGS = 100_000
_SUFFIXES = {".bvh", ".amc", ".npz", ".pkl"}
"""Formats that are always read; `.txt` files are read only if the manifest names them."""
_NO_MOTION = re.compile(r"shape\.npz|.*_stagei\.npz", re.IGNORECASE)
"""Files of AMASS that hold a body's shape only."""


@dataclass(frozen=True)
class RecordingFile:
    """The file of a recording, and its row of the manifest."""

    path: Path
    name: str
    """The path in the folder, without its suffix."""
    skeleton: Path | None = None
    fps: float | None = None
    subject: str = ""
    weight: float = 1.0
    """How often a second of it is drawn in training, relative to other recordings."""


def find_recordings(folder: Path) -> list[RecordingFile]:
    """Find all recordings of a folder and its subfolders, sorted by their paths.

    Logs one line that names the files with a recording's suffix that are none. Raises FileNotFoundError or ValueError
    for a missing folder, a folder without recordings or a wrong manifest."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected a folder of recordings")
    listed = _manifest(folder)
    found = [
        path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES and path.is_file()
    ]
    if len(found) > MAX_RECORDINGS:
        raise ValueError(f"{folder}: {len(found)} recordings, more than {MAX_RECORDINGS}; split the folder")
    stray = {path for path in found if is_stray(path, folder) or _NO_MOTION.fullmatch(path.name)}
    warn_of_stray_files(folder, sorted(stray - {source.path for source in listed.values()}))
    sources = {
        name: listed.get(name, RecordingFile(path, _without_suffix(name)))
        for path in found
        if path not in stray and (name := path.relative_to(folder).as_posix())
    } | listed
    if not sources:
        raise FileNotFoundError(
            f"{folder}: no recordings; expected {', '.join(sorted(_SUFFIXES))} files, or a {RECORDINGS_MANIFEST}"
        )
    return [sources[name] for name in sorted(sources)]


def with_skeleton(source: RecordingFile) -> RecordingFile:
    """Find the skeleton of an AMC file: the manifest's, or the one of its name beside it (as CMU's 01_05.amc and
    01.asf), or the only one beside it. Raises ValueError if there is none, or more than one."""
    if source.path.suffix.lower() != ".amc" or source.skeleton is not None:
        return source
    folder = source.path.parent
    skeletons = sorted(path for path in folder.glob("*.asf") if not is_stray(path, folder))
    named = [path for path in skeletons if path.stem in (source.path.stem, source.path.stem.split("_")[0])]
    if len(chosen := named or skeletons) != 1:
        raise ValueError(
            f"{source.path}: expected one .asf skeleton, found {len(skeletons)}; name it in "
            f"{RECORDINGS_MANIFEST} (file,skeleton)"
        )
    return replace(source, skeleton=chosen[0])


def _without_suffix(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


# ---- the manifest --------------------------------------------------------------------------------------------------


def _manifest(folder: Path) -> dict[str, RecordingFile]:
    path = folder / RECORDINGS_MANIFEST
    if not path.is_file():
        return {}
    sources = {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        try:
            if "file" not in (rows.fieldnames or ()):
                raise ValueError(
                    f"{path}: the header has no column `file`; expected file,skeleton,fps,subject"
                )
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                path_in_folder = _inside(folder, row["file"], where)
                name = path_in_folder.relative_to(folder).as_posix()
                sources[name] = RecordingFile(
                    path_in_folder,
                    _without_suffix(name),
                    _inside(folder, row["skeleton"], where) if row.get("skeleton") else None,
                    _rate(row.get("fps"), where),
                    row.get("subject") or "",
                    _weight(row.get("weight"), where),
                )
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {rows.line_num}: expected comma-separated text, found damaged text ({error})"
            ) from error
    return sources


def _inside(folder: Path, name: str | None, where: str) -> Path:
    if not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{where}: {name!r} is not the name of a file in this folder")
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{where}: {name} is not in the folder; add it, or remove the line")
    return folder / name


def _rate(text: str | None, where: str) -> float | None:
    if not text:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = float("nan")
    if not 1 <= rate <= 1000:
        raise ValueError(f"{where}: expected fps as a number from 1 to 1000 or empty, found {text!r}")
    return rate


def _weight(text: str | None, where: str) -> float:
    try:
        weight = float(text or 1.0)
    except ValueError:
        weight = float("nan")
    if not 0 < weight <= 1000:
        raise ValueError(
            f"{where}: expected weight as a number above 0, at most 1000, or empty, found {text!r}"
        )
    return weight
