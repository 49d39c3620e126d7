"""A folder of recordings in any of the formats, as motions of the body."""

import csv
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.datasets.amass import read_amass
from selfmocap.datasets.asf_amc import read_amc
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.cmu_exponential import read_cmu_exponential
from selfmocap.datasets.retargeting.reference import borrowed_reference, reference_pose, without_first_pose
from selfmocap.datasets.retargeting.repair import repaired
from selfmocap.datasets.retargeting.retarget import retarget
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.datasets.smpl_motion import SmplMotion
from selfmocap.datasets.three_dpw import read_threedpw
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.io.progress import ProgressCallback, no_progress

MANIFEST = "motions.csv"
MAX_FILES = 100_000
_CACHE_VERSION = 2
_ALONE = {".bvh", ".amc", ".npz", ".pkl"}
"""Read wherever they are found; `.txt` only where the manifest names it."""

"""Called with how many files are done, how many there are, and the one that comes."""


@dataclass(frozen=True, eq=False)
class MotionClip:
    """A recorded motion on the body."""

    name: str
    subject: str
    fps: float
    parameters: BodyParameters
    """One betas, and rotations and root position a frame; y up, the ground at y = 0."""


@dataclass(frozen=True)
class _Source:
    """A recording's file, and what the manifest says of it."""

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
) -> list[MotionClip]:
    """All recordings in a folder (BVH, ASF/AMC, AMASS `.npz`, 3DPW `.pkl`, and exponential-map `.txt` that
    `motions.csv` names), repaired, retargeted to the body and resampled, in the order of their names.

    `motions.csv`, with a row a file (file, skeleton, fps, subject; empty where unknown), overrules what headers say.
    `cache`, an `.npz` file, keeps the result: it serves until a file, the body or the rate changes. Raises
    FileNotFoundError, or ValueError naming the file, the line or key, and the remedy."""
    sources = _sources(Path(folder))
    key = _cache_key(sources, body, fps)
    if (
        cache is not None
        and Path(cache).is_file()
        and (clips := _read_cache(Path(cache), key, fps)) is not None
    ):
        return clips
    clips = _retargeted(sources, body, fps, progress)
    if cache is not None:
        _write_cache(Path(cache), key, clips)
    return clips


# ---- which files -----------------------------------------------------------------------------------------------


def _sources(folder: Path) -> list[_Source]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected one that holds recordings")
    listed = _manifest(folder)
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _ALONE and path.is_file()]
    if len(found) > MAX_FILES:
        raise ValueError(f"{folder}: {len(found)} recordings, more than {MAX_FILES}; split the folder")
    sources = {path.name: listed.get(path.name, _Source(path)) for path in found} | listed
    if not sources:
        raise FileNotFoundError(
            f"{folder}: no recordings; expected {', '.join(sorted(_ALONE))} files, or a {MANIFEST}"
        )
    return [_with_skeleton(folder, sources[name]) for name in sorted(sources)]


def _manifest(folder: Path) -> dict[str, _Source]:
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    sources = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "file" not in (rows.fieldnames or ()):
            raise ValueError(
                f"{path}: its first line has no column `file`; expected file,skeleton,fps,subject"
            )
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            sources[row["file"]] = _Source(
                _inside(folder, row["file"], place),
                _inside(folder, row["skeleton"], place) if row.get("skeleton") else None,
                _rate(row.get("fps"), place),
                row.get("subject") or "",
            )
    return sources


def _inside(folder: Path, name: str, place: str) -> Path:
    if not name or Path(name).name != name:
        raise ValueError(f"{place}: {name!r} is not the name of a file in the folder itself")
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{place}: {name} is not in the folder; add it, or remove the line")
    return folder / name


def _rate(text: str | None, place: str) -> float | None:
    if not text:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = float("nan")
    if not 1 <= rate <= 1000:
        raise ValueError(f"{place}: fps is {text!r}; expected a number of frames a second, or nothing")
    return rate


def _with_skeleton(folder: Path, source: _Source) -> _Source:
    """An AMC's skeleton: the manifest's, or that of its name (as CMU's 01_05.amc and 01.asf), or the only one."""
    if source.path.suffix.lower() != ".amc" or source.skeleton is not None:
        return source
    skeletons = sorted(folder.glob("*.asf"))
    named = [path for path in skeletons if path.stem in (source.path.stem, source.path.stem.split("_")[0])]
    if len(chosen := named or skeletons) != 1:
        raise ValueError(
            f"{source.path}: which of {len(skeletons)} .asf skeletons is its? Name it in {MANIFEST} (file,skeleton)"
        )
    return replace(source, skeleton=chosen[0])


# ---- reading ---------------------------------------------------------------------------------------------------


def _retargeted(
    sources: list[_Source], body: Body, fps: float, progress: ProgressCallback
) -> list[MotionClip]:
    clips: list[MotionClip] = []
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
        clips += _skeleton_clips(recording, borrowed_reference(recording, references), body, fps)
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
            return [person.motion for person in read_threedpw(source.path)]
        case suffix:
            raise ValueError(f"{source.path}: recordings as {suffix or 'files without suffix'} are not read")


def _skeleton_clips(
    recording: SkeletonMotion, reference: SkeletonMotion, body: Body, fps: float
) -> list[MotionClip]:
    pieces = [piece.resampled(fps) for piece in repaired(without_first_pose(recording))]
    return [MotionClip(piece.name, piece.subject, fps, retarget(piece, reference, body)) for piece in pieces]


def _smpl_clip(motion: SmplMotion, body: Body, fps: float) -> MotionClip:
    return MotionClip(motion.name, motion.subject, fps, motion.resampled(fps).on_another_body(body))


# ---- the cache -------------------------------------------------------------------------------------------------


def _cache_key(sources: list[_Source], body: Body, fps: float) -> str:
    facts = [_CACHE_VERSION, body.identity, fps]
    for source in sources:
        stats = [path.stat() for path in (source.path, source.skeleton) if path is not None]
        facts.append(
            [source.path.name, source.fps, source.subject, [[s.st_size, s.st_mtime_ns] for s in stats]]
        )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _write_cache(path: Path, key: str, clips: list[MotionClip]) -> None:
    parameters = [clip.parameters for clip in clips]
    write_npz(
        path,
        {
            "key": key,
            "clips": json.dumps(
                [[clip.name, clip.subject, len(clip.parameters.p_world_root)] for clip in clips]
            ),
            "betas": torch.stack([p.betas for p in parameters]).numpy(),
            "quaternions": roma.rotmat_to_unitquat(torch.cat([p.R_parent_joint for p in parameters])).numpy(),
            "p_world_root": torch.cat([p.p_world_root for p in parameters]).numpy(),
        },
    )


def _read_cache(path: Path, key: str, fps: float) -> list[MotionClip] | None:
    """The clips, or None if they were made from something else."""
    arrays = read_npz(path)
    if str(arrays.get("key")) != key:
        return None
    names = json.loads(str(arrays["clips"]))
    lengths = [length for *_, length in names]
    rotations = roma.unitquat_to_rotmat(torch.from_numpy(arrays["quaternions"])).split(lengths)
    roots = torch.from_numpy(arrays["p_world_root"]).split(lengths)
    return [
        MotionClip(name, subject, fps, BodyParameters(torch.from_numpy(betas), R, p))
        for (name, subject, _), betas, R, p in zip(names, arrays["betas"], rotations, roots, strict=True)
    ]
