"""Read a folder of recordings in any format as motions of the body."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
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
from selfmocap.datasets.recording_files import RecordingFile, find_recordings, with_skeleton
from selfmocap.datasets.retargeting.reference import drop_leading_pose, find_reference, reference_pose
from selfmocap.datasets.retargeting.repair import repair_recording
from selfmocap.datasets.retargeting.retarget import retarget
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.datasets.retargeting.straighten import straightened
from selfmocap.datasets.retargeting.tempo import PLAUSIBLE_SLOWNESS, slowness
from selfmocap.datasets.smpl_motion import SmplMotion
from selfmocap.datasets.three_dpw import read_three_dpw
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.io.progress import ProgressCallback, no_progress

_CACHE_VERSION = 4
_MAX_REPORTED = 20
_DECLARED_RATES = (".bvh", ".npz")
"""Formats whose files declare a frame rate."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded motion on the body."""

    name: str
    subject: str
    fps: float
    parameters: BodyParameters
    """One row of betas; rotations and root position per frame; y up, the ground at y = 0."""
    weight: float = 1.0
    """How often a second of it is drawn in training, relative to other recordings."""


def load_motions(
    folder: Path | str,
    body: Body,
    fps: float = 30.0,
    cache: Path | str | None = None,
    progress: ProgressCallback = no_progress,
) -> list[Recording]:
    """Read all recordings of a folder and its subfolders (BVH, ASF/AMC, AMASS `.npz`, 3DPW `.pkl`, and exponential-map
    `.txt` that `motions.csv` names), repaired, retargeted to the body and resampled, sorted by name.

    `motions.csv` has a row per file (file, skeleton, fps, subject, weight; empty if unknown) and overrides headers.
    `cache`, an `.npz` file, stores the result, and the result is the same bit for bit with and without it; it is valid
    until a file, the body or the rate changes. A file that cannot be read is left aside, and a warning says why. Raises
    FileNotFoundError for a missing or empty folder, ValueError for a wrong manifest, or if no file can be read: it
    names the file, the line or key, and the remedy."""
    sources, failures = _with_skeletons(find_recordings(Path(folder)))
    key = _cache_key(sources, body, fps)
    arrays = read_npz(Path(cache)) if cache is not None and Path(cache).is_file() else {}
    if str(arrays.get("key")) != key:
        clips, unreadable = _retargeted(sources, body, fps, progress)
        if not clips:
            raise ValueError(f"{folder}: no recording can be read. {_lines(failures + unreadable)}")
        arrays = _cache_arrays(key, clips, unreadable)
        if cache is not None:
            write_npz(Path(cache), arrays)
    failures += json.loads(str(arrays["failures"]))
    if failures:
        _log.warning(
            "%s: left aside %d of %d recordings. %s", folder, len(failures), len(sources), _lines(failures)
        )
    return _cached_clips(arrays, fps)


def _lines(failures: list[str]) -> str:
    more = len(failures) - _MAX_REPORTED
    return "\n".join([*failures[:_MAX_REPORTED], *([f"and {more} more"] if more > 0 else [])])


def _with_skeletons(files: list[RecordingFile]) -> tuple[list[RecordingFile], list[str]]:
    """Find the skeletons of AMC files. Return also the errors of those without one."""
    sources, failures = [], []
    for file in files:
        try:
            sources.append(with_skeleton(file))
        except ValueError as error:
            failures.append(str(error))
    return sources, failures


# ---- reading ---------------------------------------------------------------------------------------------------


def _retargeted(
    sources: list[RecordingFile], body: Body, fps: float, progress: ProgressCallback
) -> tuple[list[Recording], list[str]]:
    """Return the clips sorted by name, and the errors of the files that cannot be read."""
    clips: list[Recording] = []
    failures: list[str] = []
    waiting: list[tuple[RecordingFile, SkeletonMotion]] = []
    references: list[SkeletonMotion] = []
    for done, source in enumerate(sources):
        progress("read motions", done, len(sources))
        try:
            for recording in _read(source):
                if isinstance(recording, SmplMotion):
                    made = [_smpl_clip(recording, body, fps)]
                elif (reference := reference_pose(recording)) is None:
                    waiting.append((source, recording))
                    continue
                else:
                    made = _skeleton_clips(recording, reference, body, fps)
                    references.append(reference)
                clips += _plausible(source, made, body)
        except (ValueError, FileNotFoundError) as error:
            failures.append(_reason(source, error))
    for source, recording in waiting:
        try:
            made = _skeleton_clips(recording, _other_reference(recording, references), body, fps)
            clips += _plausible(source, made, body)
        except ValueError as error:
            failures.append(_reason(source, error))
    return sorted(clips, key=lambda clip: clip.name), failures


def _reason(source: RecordingFile, error: Exception) -> str:
    return str(error) if str(source.path) in str(error) else f"{source.path}: {error}"


def _plausible(source: RecordingFile, clips: list[Recording], body: Body) -> list[Recording]:
    """Return the clips, weighted. Raises ValueError if their steps are slower or faster than those of people: then the
    frame rate that the file declares is wrong."""
    clips = [replace(clip, weight=source.weight) for clip in clips]
    if source.fps is not None or source.path.suffix.lower() not in _DECLARED_RATES:
        return clips
    low, high = PLAUSIBLE_SLOWNESS
    for clip in clips:
        slow = slowness(clip.parameters, body, clip.fps)
        if slow is not None and not low < slow < high:
            raise ValueError(
                f"{source.path}: at the frame rate that it declares, its steps are {max(slow, 1 / slow):.1f} times as "
                f"{'slow' if slow > 1 else 'fast'} as those of people; give the true rate as fps in motions.csv"
            )
    return clips


def _read(source: RecordingFile) -> Sequence[SkeletonMotion | SmplMotion]:
    match source.path.suffix.lower():
        case ".bvh":
            recordings = [read_bvh(source.path, source.fps, source.subject)]
        case ".amc":
            assert source.skeleton is not None
            recordings = [read_amc(source.path, source.skeleton, source.fps, source.subject)]
        case ".txt":
            recordings = [read_cmu_exponential(source.path, source.fps, source.subject)]
        case ".npz":
            recordings = [read_amass(source.path, source.fps, source.subject)]
        case ".pkl":
            return [person.motion for person in read_three_dpw(source.path)]
        case suffix:
            raise ValueError(f"{source.path}: the format {suffix or 'without suffix'} is not supported")
    return [replace(recording, name=source.name) for recording in recordings]


def _skeleton_clips(
    recording: SkeletonMotion, reference: SkeletonMotion, body: Body, fps: float
) -> list[Recording]:
    pieces = [piece.resampled(fps) for piece in repair_recording(drop_leading_pose(recording))]
    if not pieces:
        raise ValueError(
            f"{recording.name}: no half second of it moves like a person; its joints jump, or its frames repeat: "
            "export it again"
        )
    return [Recording(piece.name, piece.subject, fps, retarget(piece, reference, body)) for piece in pieces]


def _other_reference(recording: SkeletonMotion, references: list[SkeletonMotion]) -> SkeletonMotion:
    """Return the reference pose of another recording of the same skeleton, or else one made from the motion."""
    try:
        return find_reference(recording, references)
    except ValueError:
        made = straightened(recording)
        if made is None:
            raise
        return made


def _smpl_clip(motion: SmplMotion, body: Body, fps: float) -> Recording:
    return Recording(motion.name, motion.subject, fps, motion.resampled(fps).on_body(body))


# ---- the cache -------------------------------------------------------------------------------------------------


def _cache_key(sources: list[RecordingFile], body: Body, fps: float) -> str:
    facts = [_CACHE_VERSION, body.identity, fps]
    for source in sources:
        stats = [path.stat() for path in (source.path, source.skeleton) if path is not None]
        facts.append(
            [
                source.name,
                source.path.suffix,
                source.fps,
                source.subject,
                source.weight,
                [[s.st_size, s.st_mtime_ns] for s in stats],
            ]
        )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _cache_arrays(key: str, clips: list[Recording], failures: list[str]) -> dict[str, Any]:
    parameters = [clip.parameters for clip in clips]
    names = [[clip.name, clip.subject, clip.weight, len(clip.parameters.p_world_root)] for clip in clips]
    return {
        "key": key,
        "failures": json.dumps(failures),
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
        Recording(name, subject, fps, BodyParameters(torch.from_numpy(betas), R, p), weight)
        for (name, subject, weight, _), betas, R, p in zip(
            names, arrays["betas"], rotations, roots, strict=True
        )
    ]
