"""Read a folder of recordings in any format as motions of the body."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.datasets.amass import read_amass
from selfmocap.datasets.asf_amc import read_amc
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.cmu_exponential import read_cmu_exponential
from selfmocap.datasets.retargeting.reference import drop_leading_pose, find_reference, reference_pose
from selfmocap.datasets.retargeting.repair import repair_recording
from selfmocap.datasets.retargeting.retarget import retarget
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.datasets.smpl_motion import SmplMotion
from selfmocap.datasets.three_dpw import read_three_dpw
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.io.progress import ProgressCallback, no_progress

RECORDINGS_MANIFEST = "motions.csv"
MAX_RECORDINGS = 100_000
_CACHE_VERSION = 2
_SUFFIXES = {".bvh", ".amc", ".npz", ".pkl"}
"""Formats that are always read; `.txt` files are read only if the manifest names them."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded motion on the body."""

    name: str
    subject: str
    fps: float
    parameters: BodyParameters
    """One row of betas; rotations and root position per frame; y up, the ground at y = 0."""


@dataclass(frozen=True)
class _Source:
    """The file of a recording, and its row of the manifest."""

    path: Path
    skeleton: Path | None = None
    fps: float | None = None
    subject: str = ""


def load_motions(
    folder: Path | str,
    body: Body,
    fps: float = 30.0,
    cache: Path | str | None = None,
    progress: ProgressCallback = no_progress,
) -> list[Recording]:
    """Read all recordings of a folder (BVH, ASF/AMC, AMASS `.npz`, 3DPW `.pkl`, and exponential-map `.txt` that
    `motions.csv` names), repaired, retargeted to the body and resampled, sorted by name.

    `motions.csv` has a row per file (file, skeleton, fps, subject; empty if unknown) and overrides headers. `cache`, an
    `.npz` file, stores the result, and the result is the same bit for bit with and without it; it is valid until a
    file, the body or the rate changes. Raises FileNotFoundError, or ValueError that names the file, the line or key,
    and the remedy."""
    sources = _sources(Path(folder))
    key = _cache_key(sources, body, fps)
    if (
        cache is not None
        and Path(cache).is_file()
        and str((arrays := read_npz(Path(cache))).get("key")) == key
    ):
        return _cached_clips(arrays, fps)
    clips = _retargeted(sources, body, fps, progress)
    if not clips:
        raise ValueError(
            f"{folder}: expected at least one usable recording, found none in {len(sources)} files: all frames jump or "
            "are frozen; choose other recordings"
        )
    arrays = _cache_arrays(key, clips)
    if cache is not None:
        write_npz(Path(cache), arrays)
    return _cached_clips(arrays, fps)


# ---- which files -----------------------------------------------------------------------------------------------


def _sources(folder: Path) -> list[_Source]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected a folder of recordings")
    listed = _manifest(folder)
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES and path.is_file()]
    if len(found) > MAX_RECORDINGS:
        raise ValueError(f"{folder}: {len(found)} recordings, more than {MAX_RECORDINGS}; split the folder")
    sources = {path.name: listed.get(path.name, _Source(path)) for path in found} | listed
    if not sources:
        raise FileNotFoundError(
            f"{folder}: no recordings; expected {', '.join(sorted(_SUFFIXES))} files, or a {RECORDINGS_MANIFEST}"
        )
    return [_with_skeleton(folder, sources[name]) for name in sorted(sources)]


def _manifest(folder: Path) -> dict[str, _Source]:
    path = folder / RECORDINGS_MANIFEST
    if not path.is_file():
        return {}
    sources = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "file" not in (rows.fieldnames or ()):
            raise ValueError(f"{path}: the header has no column `file`; expected file,skeleton,fps,subject")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            sources[row["file"]] = _Source(
                _inside(folder, row["file"], where),
                _inside(folder, row["skeleton"], where) if row.get("skeleton") else None,
                _rate(row.get("fps"), where),
                row.get("subject") or "",
            )
    return sources


def _inside(folder: Path, name: str, where: str) -> Path:
    if not name or Path(name).name != name:
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


def _with_skeleton(folder: Path, source: _Source) -> _Source:
    """Find the skeleton of an AMC file: the manifest's, or the one of its name (as CMU's 01_05.amc and 01.asf), or the
    only one."""
    if source.path.suffix.lower() != ".amc" or source.skeleton is not None:
        return source
    skeletons = sorted(folder.glob("*.asf"))
    named = [path for path in skeletons if path.stem in (source.path.stem, source.path.stem.split("_")[0])]
    if len(chosen := named or skeletons) != 1:
        raise ValueError(
            f"{source.path}: expected one .asf skeleton, found {len(skeletons)}; name it in "
            f"{RECORDINGS_MANIFEST} (file,skeleton)"
        )
    return replace(source, skeleton=chosen[0])


# ---- reading ---------------------------------------------------------------------------------------------------


def _retargeted(
    sources: list[_Source], body: Body, fps: float, progress: ProgressCallback
) -> list[Recording]:
    clips: list[Recording] = []
    waiting: list[SkeletonMotion] = []
    references: list[SkeletonMotion] = []
    for done, source in enumerate(sources):
        progress("read motions", done, len(sources))
        for recording in _read(source):
            if isinstance(recording, SmplMotion):
                clips.append(_smpl_clip(recording, body, fps))
            elif (reference := reference_pose(recording)) is None:
                waiting.append(recording)
            else:
                references.append(reference)
                clips += _skeleton_clips(recording, reference, body, fps)
    for recording in waiting:
        clips += _skeleton_clips(recording, find_reference(recording, references), body, fps)
    return sorted(clips, key=lambda clip: clip.name)


def _read(source: _Source) -> list[SkeletonMotion | SmplMotion]:
    match source.path.suffix.lower():
        case ".bvh":
            return [read_bvh(source.path, source.fps, source.subject)]
        case ".amc":
            assert source.skeleton is not None
            return [read_amc(source.path, source.skeleton, source.fps, source.subject)]
        case ".txt":
            return [read_cmu_exponential(source.path, source.fps, source.subject)]
        case ".npz":
            motion = read_amass(source.path, source.subject)
            return [motion if source.fps is None else replace(motion, fps=source.fps)]
        case ".pkl":
            return [person.motion for person in read_three_dpw(source.path)]
        case suffix:
            raise ValueError(f"{source.path}: the format {suffix or 'without suffix'} is not supported")


def _skeleton_clips(
    recording: SkeletonMotion, reference: SkeletonMotion, body: Body, fps: float
) -> list[Recording]:
    pieces = [piece.resampled(fps) for piece in repair_recording(drop_leading_pose(recording))]
    return [Recording(piece.name, piece.subject, fps, retarget(piece, reference, body)) for piece in pieces]


def _smpl_clip(motion: SmplMotion, body: Body, fps: float) -> Recording:
    return Recording(motion.name, motion.subject, fps, motion.resampled(fps).on_body(body))


# ---- the cache -------------------------------------------------------------------------------------------------


def _cache_key(sources: list[_Source], body: Body, fps: float) -> str:
    facts = [_CACHE_VERSION, body.identity, fps]
    for source in sources:
        stats = [path.stat() for path in (source.path, source.skeleton) if path is not None]
        facts.append(
            [source.path.name, source.fps, source.subject, [[s.st_size, s.st_mtime_ns] for s in stats]]
        )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _cache_arrays(key: str, clips: list[Recording]) -> dict[str, Any]:
    parameters = [clip.parameters for clip in clips]
    names = [[clip.name, clip.subject, len(clip.parameters.p_world_root)] for clip in clips]
    return {
        "key": key,
        "clips": json.dumps(names),
        "betas": torch.stack([p.betas for p in parameters]).numpy(),
        "quaternions": roma.rotmat_to_unitquat(torch.cat([p.R_parent_joint for p in parameters])).numpy(),
        "p_world_root": torch.cat([p.p_world_root for p in parameters]).numpy(),
    }


def _cached_clips(arrays: Mapping[str, Any], fps: float) -> list[Recording]:
    names = json.loads(str(arrays["clips"]))
    lengths = [length for *_, length in names]
    rotations = roma.unitquat_to_rotmat(torch.from_numpy(arrays["quaternions"])).split(lengths)
    roots = torch.from_numpy(arrays["p_world_root"]).split(lengths)
    return [
        Recording(name, subject, fps, BodyParameters(torch.from_numpy(betas), R, p))
        for (name, subject, _), betas, R, p in zip(names, arrays["betas"], rotations, roots, strict=True)
    ]
