"""From a video to the observations of its people: track them, extract their crops, write files and an overlay."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.body_model.skeleton import HAND_SIDES, KeypointSet
from selfmocap.io.files import InputError, printable_path, read_json_object, sha256_of_path, write_json
from selfmocap.io.memory import peak_memory_gb
from selfmocap.io.npz import write_npz
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.spool import write_npz_from_spools
from selfmocap.io.stopwatch import Stopwatch
from selfmocap.io.video import Video, open_video
from selfmocap.io.video_source import VideoInput, local_video
from selfmocap.tracking.config import ObserveConfig
from selfmocap.tracking.crop_pass import (
    CropSources,
    PersonSpools,
    TrackedPerson,
    assemble_person,
    extract_crops,
    open_spools,
)
from selfmocap.tracking.detectors.hands import HandDetector
from selfmocap.tracking.detectors.protocol import Detector, RoiDetector
from selfmocap.tracking.detectors.registry import create_detector
from selfmocap.tracking.hand_pass import has_hand_places
from selfmocap.tracking.left_right_swaps import SWAP_STATES
from selfmocap.tracking.observations import OBSERVATIONS_FORMAT, OBSERVATIONS_VERSION
from selfmocap.tracking.optical_flow import FlowMethod, dis_flow, raft_flow
from selfmocap.tracking.overlay import write_overlay
from selfmocap.tracking.precomputed import PrecomputedFlow, PrecomputedKeypoints, PrecomputedMasks
from selfmocap.tracking.shots import Shot, shots_between
from selfmocap.tracking.stitching import min_track_frames
from selfmocap.tracking.tracking_pass import SHOTS_FILE, TrackingResult, find_shot_starts, track_video

OVERLAY_FILE = "observations.mp4"
PEOPLE_FILE = "people.npz"
"""Visibility (see `TrackingResult`) and appearance of the people of a part of a film."""
_INTERMEDIATE_VERSION = 5
"""Version of the intermediate files in `.observe`; a run does not resume after files of another version."""
_REPORT_VERSION = 4
"""Version of `observations.json`. Version 3 had no `shots`. Version 2 was of another tracker and other confidences; it
had no `quality` in its `settings`. Version 1 had no `version`, and the `format` 2 in its `settings`. It called the
stage `total` `whole`, `tracks` `tracks_joined`, and `zero_flow_error_grey_levels` `still_error_grey_levels`."""

_log = logging.getLogger(__name__)


def observe(
    video: VideoInput,
    out: Path | str,
    settings: ObserveConfig | None = None,
    progress: ProgressCallback = no_progress,
    overwrite: bool = False,
) -> list[Path]:
    """Detect and track the people of a video, and return the paths of their `person-N/observations.npz`.

    The video is a path, an open binary file, or `-` for standard input.

    Also writes `observations.mp4` (the video with the observations drawn on it, if asked for) and, last,
    `observations.json` (counts, timings). An interrupted run is resumed; a finished one with the same video and
    settings is not repeated. Memory does not grow with the video beyond a kilobyte per frame and person. `overwrite`
    allows to replace the observations of another video.

    Raises FileNotFoundError or InputError if the video or a precomputed file cannot be read, no person is tracked, or
    `out` holds the observations of another video;
    ImportError if an optional detector is not installed."""
    settings, out = settings or ObserveConfig(), Path(out).expanduser()
    max_people(settings)
    with local_video(video, out) as path:
        opened = open_video(path, settings.input)
        fingerprint = observed_fingerprint(path, settings)
        if not overwrite:
            _refuse_other_video(out, fingerprint["video"])
        drawn = not settings.overlay or (out / OVERLAY_FILE).is_file()
        if drawn and (finished := _finished(out, fingerprint)) is not None:
            return finished
        return _observe(opened, out, settings, fingerprint, progress)


def find_shots(
    video: Path, out: Path, settings: ObserveConfig, progress: ProgressCallback = no_progress
) -> list[Shot]:
    """Find the shots of a video; `observe` with the same `out` and settings does not search for them again."""
    opened = open_video(video, settings.input)
    folder = _parts_folder(out, observed_fingerprint(video, settings))
    starts = find_shot_starts(opened, folder, progress)
    return shots_between(starts, opened.first_frame + opened.declared_frames)


def observe_part(
    video: Path,
    out: Path,
    settings: ObserveConfig,
    shot_starts: Sequence[int],
    progress: ProgressCallback = no_progress,
) -> None:
    """Observe the part of a film between the start and the end of `settings.input`, as `observe` does.

    `shot_starts` are the first frames of its shots. It may have no people. `people.npz` holds in addition what
    `film.join_parts` compares people of several parts by."""
    fingerprint = observed_fingerprint(video, settings)
    if _finished(out, fingerprint) is None:
        write_json(_parts_folder(out, fingerprint) / SHOTS_FILE, list(shot_starts))
        _observe(open_video(video, settings.input), out, settings, fingerprint, progress, is_part=True)


def _observe(
    video: Video,
    out: Path,
    settings: ObserveConfig,
    fingerprint: dict[str, Any],
    progress: ProgressCallback,
    is_part: bool = False,
) -> list[Path]:
    (out / OVERLAY_FILE).unlink(missing_ok=True)
    detector = (
        PrecomputedKeypoints(settings.keypoints)
        if settings.keypoints
        else create_detector(settings.detector, settings.quality)
    )
    sources = CropSources(
        masks=PrecomputedMasks(settings.masks) if settings.masks else None,
        flow=PrecomputedFlow(settings.flow_folder) if settings.flow_folder else _flow_method(settings.flow),
        flow_frames=settings.flow_frames,
        hands=HandDetector() if has_hand_places(detector.points) else None,
    )
    parts, watch = _parts_folder(out, fingerprint), Stopwatch()
    try:
        result = track_video(video, detector, parts, settings.person_box, watch, progress)
        if not result.people and not is_part:
            raise no_person_error(video, settings)
    except InputError:
        shutil.rmtree(parts)  # A resumed run would end here again.
        raise
    people = [
        assemble_person(number, tracks, result.last_frames, parts, detector.points)
        for number, tracks in enumerate(result.people[: max_people(settings)], start=1)
    ]
    has_masks = settings.masks is not None or settings.keypoints is None and isinstance(detector, RoiDetector)
    people = [(person, open_spools(parts, person, has_masks, sources.hands is not None)) for person in people]
    starts = {shot.first_frame for shot in result.shots}
    extract_crops(video, people, parts, sources, watch, progress, starts)
    with watch.stage("write"):
        written = [_write(parts, video, *person, detector.points) for person in people]
    if settings.overlay:
        with watch.stage("overlay"):
            write_overlay(out / OVERLAY_FILE, video, written, progress)
    paths = [
        _move(path, out / f"person-{person.number}")
        for path, (person, _) in zip(written, people, strict=True)
    ]
    if is_part:
        write_npz(
            out / PEOPLE_FILE,
            {
                "visibility": np.array(result.visibility),
                "appearance": np.array(result.appearance, np.float32),
            },
        )
    _write_report(out, fingerprint, video, result, people, detector, watch)
    shutil.rmtree(parts)
    return paths


def max_people(settings: ObserveConfig) -> int | None:
    """Return the number of people to observe; None for all. Raises ValueError for an invalid setting."""
    people = settings.people
    if people in ("largest", "all"):
        return 1 if people == "largest" else None
    if not people.isdigit() or int(people) < 1:
        raise ValueError(f"people: {people!r}; expected 'largest', 'all' or a number from 1 on")
    return int(people)


def no_person_error(video: Video, settings: ObserveConfig) -> InputError:
    """Return the error of a video without people who are tracked for long enough."""
    frames = video.declared_frames
    remedy = "try" if settings.person_box is None else "choose another"
    return InputError(
        f"{video.path}: no person was tracked for at least {min_track_frames(video.fps, frames)} of the {frames} "
        f"frames; {remedy} --person-box"
    )


def _flow_method(name: str) -> FlowMethod:
    if name not in ("dis", "raft"):
        raise ValueError(f"flow: {name!r}; expected 'dis' or 'raft'")
    return dis_flow if name == "dis" else raft_flow()


# ---- resuming -------------------------------------------------------------------------------------------------


def observed_fingerprint(video: Path, settings: ObserveConfig) -> dict[str, Any]:
    """Return what the observations depend on: the hash of the video, and the settings as JSON data, with paths as the
    hashes of their files."""
    values = {"video": sha256_of_path(video), **asdict(settings)}
    del values["overlay"]
    # Former versions had none of these.
    for name in ("input", "flow_frames"):
        if getattr(settings, name) == getattr(ObserveConfig(), name):
            del values[name]
    if "input" in values and (settings.input.start, settings.input.end) == (0.0, None):
        del values["input"]["start"], values["input"]["end"]
    for name in ("keypoints", "masks", "flow_folder"):
        values[name] = sha256_of_path(values[name]) if values[name] else None
    return values | {"person_box": list(settings.person_box) if settings.person_box else None}


def _refuse_other_video(out: Path, sha256: str) -> None:
    report = read_json_object(out / "observations.json")
    settings = report.get("settings") or read_json_object(out / ".observe" / "settings.json")
    if settings.get("video", sha256) != sha256:
        name = report.get("video", {}).get("name") or "another video"
        raise InputError(
            f"{printable_path(out)}: expected an empty folder or results of this video, found those of {name}; choose "
            "another output folder, or replace them with --overwrite"
        )


def _finished(out: Path, fingerprint: dict[str, Any]) -> list[Path] | None:
    """Return the paths that a finished run with the same video and settings wrote; None if there is none."""
    report = read_json_object(out / "observations.json")
    if report and report.get("version") != _REPORT_VERSION:
        _log.warning("%s: these observations are of another version of selfmocap; observing again", out)
        return None
    if report.get("settings") != fingerprint:
        return None
    paths = [out / f"person-{n}" / "observations.npz" for n in range(1, len(report["people"]) + 1)]
    return paths if all(path.is_file() for path in paths) else None


def _parts_folder(out: Path, fingerprint: dict[str, Any]) -> Path:
    """Return the folder of intermediate files, emptied unless they are of the same version, video and settings."""
    parts = out / ".observe"
    expected = {"version": _INTERMEDIATE_VERSION, **fingerprint}
    if parts.exists() and (found := read_json_object(parts / "settings.json")) != expected:
        if found.get("version") != _INTERMEDIATE_VERSION:
            _log.warning(
                "%s: the unfinished run is of another version of selfmocap and cannot be resumed; starting again",
                out,
            )
        shutil.rmtree(parts)
    parts.mkdir(parents=True, exist_ok=True)
    write_json(parts / "settings.json", expected, indent=2)
    return parts


# ---- results --------------------------------------------------------------------------------------------------


def _write(
    parts: Path, video: Video, person: TrackedPerson, spools: PersonSpools, points: KeypointSet
) -> Path:
    """Write a person's observations among the intermediate files, until the whole run is finished."""
    path = parts / f"observations-{person.number}.npz"
    arrays = {
        "format": OBSERVATIONS_FORMAT,
        "version": OBSERVATIONS_VERSION,
        "frame_index": person.frame_index,
        "frame_times": person.frame_times,
        "image_size": np.array(video.size),
        "boxes": person.boxes,
        "keypoint_set": points.name,
        "keypoints": person.keypoints.astype(np.float32),
        "keypoint_confidence": person.confidence.astype(np.float32),
        "swapped": person.swaps > 0,
    }
    write_npz_from_spools(path, arrays, spools.observed())
    return path


def _move(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return path.replace(folder / "observations.npz")


def _write_report(
    out: Path,
    fingerprint: dict[str, Any],
    video: Video,
    result: TrackingResult,
    people: list[tuple[TrackedPerson, PersonSpools]],
    detector: Detector,
    watch: Stopwatch,
) -> None:
    """Write `observations.json`, and remove the observations of people whom a former run observed in addition."""
    seconds = watch.seconds | {"total": sum(watch.seconds.values())}
    report = {
        "version": _REPORT_VERSION,
        "settings": fingerprint,
        "video": {
            "name": printable_path(video.path.name),
            "sha256": fingerprint["video"],
            "frames": result.frames,
            "fps": video.fps,
            "start": float(video.times[video.first_frame]),
            "size": list(video.size),
            "rotation": video.rotation,
            "mirrored": video.mirrored,
            "pixel_aspect": video.pixel_aspect,
            "warnings": list(video.warnings),
            "corrupt_frames": result.corrupt,
        },
        "detector": detector.name,
        "shots": [asdict(shot) for shot in result.shots],
        "people_found": len(result.people),
        "people": [
            _person_report(person, spools) | _shot_report(person.number - 1, len(people), result)
            for person, spools in people
        ],
        "stages": [
            {
                "name": name,
                "seconds": round(value, 3),
                "frames_per_second": round(result.frames / max(value, 1e-6), 1),
            }
            for name, value in seconds.items()
        ],
        "peak_memory_gb": peak_memory_gb(),
    }
    write_json(out / "observations.json", report, indent=2)
    for stale in out.glob("person-*/observations.npz"):
        if stale.parent.name not in {f"person-{person.number}" for person, _ in people}:
            stale.unlink()


def _shot_report(person: int, people: int, result: TrackingResult) -> dict[str, Any]:
    """Return the number of a person's shot, and of the person of an earlier shot whom they may be; `person` is an
    index among the `people` that are observed."""
    earlier = result.same_person.get(person, people)
    return {"shot": result.shot_of[person] + 1, "perhaps_person": earlier + 1 if earlier < people else None}


def _person_report(person: TrackedPerson, spools: PersonSpools) -> dict[str, Any]:
    errors = spools.flow_error.read(0, len(spools.flow_error))
    known = errors[np.isfinite(errors[:, 0])]
    confidence = None if spools.hands is None else spools.hands.hand_confidence.read(0, len(errors))
    return {
        "frames": len(person.frame_index),
        "first_frame": int(person.frame_index[0]),
        "last_frame": int(person.frame_index[-1]),
        "mean_box_side_px": round(float(2 * person.boxes[:, 2].mean()), 1),
        "tracks": len(person.tracks),
        "swapped_frames": {
            name: int((person.swaps == state).sum()) for state, name in enumerate(SWAP_STATES) if state
        },
        "hand_frames": None
        if confidence is None
        else {side: int((confidence[:, index] > 0).sum()) for index, side in enumerate(HAND_SIDES)},
        "flow_error_grey_levels": round(float(known[:, 0].mean()), 3) if len(known) else None,
        "zero_flow_error_grey_levels": round(float(known[:, 1].mean()), 3) if len(known) else None,
    }
