"""From a video to the observations of its people."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.atomic import atomic_write
from selfmocap.io.memory import peak_memory_gb
from selfmocap.io.prefetch import prefetched
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.spool import write_npz_from_spools
from selfmocap.io.stopwatch import Stopwatch
from selfmocap.io.video import InputError, Video, open_video
from selfmocap.tracking import optical_flow as flows
from selfmocap.tracking.crop_pass import Images, Measures, Person, images, measure, person_of
from selfmocap.tracking.detectors.protocol import Detector
from selfmocap.tracking.detectors.registry import detector_named
from selfmocap.tracking.left_right_swaps import STATES
from selfmocap.tracking.observations import FORMAT, VERSION
from selfmocap.tracking.overlay import Drawn, write_overlay
from selfmocap.tracking.precomputed import PrecomputedFlow, PrecomputedKeypoints, PrecomputedMasks
from selfmocap.tracking.tracking_pass import Box, Followed, follow_video

_VERSION = 2
"""Of the intermediate files: another version's are not gone on with."""


@dataclass(frozen=True)
class Settings:
    """What decides the observations of a video."""

    people: str = "largest"
    """`largest`, `all`, or the number of people, most visible first."""
    person_box: Box | None = None
    """Left, top, right, bottom (px) around the one person wanted, in the first frame."""
    detector: str = "mediapipe"
    """`mediapipe`, `mediapipe-legacy` or `rtmpose`."""
    flow: str = "dis"
    """`dis` or `raft`."""
    keypoints: Path | None = None
    """OpenPose or COCO JSON, used instead of a detector."""
    masks: Path | None = None
    """Mask pictures, used instead of the detector's."""
    flow_folder: Path | None = None
    """Flow files, used instead of measuring it."""


def observe(
    video_path: Path | str,
    out: Path | str,
    settings: Settings | None = None,
    progress: ProgressCallback = no_progress,
) -> list[Path]:
    """Finds, follows and measures the people of a video; the paths of their `person-N/observations.npz`.

    Writes `observations.mp4` (the video with all of it drawn in) and, last, `observations.json` (counts, timings)
    beside them. Called again after an interruption, it goes on; after the end, with the same video and settings, it
    has nothing to do. Memory does not grow with the video beyond a kilobyte a frame and person.

    Raises FileNotFoundError or InputError where the video or a file given instead of a measurement cannot be read, or
    nobody is seen; ImportError where an optional detector is not installed."""
    settings = settings or Settings()
    wanted = _number_wanted(settings.people)
    video, out = open_video(video_path), Path(out)
    fingerprint = {"format": _VERSION, "video": _sha256(video.path), **_plain(settings)}
    if (done := _finished(out, fingerprint)) is not None:
        return done
    measures = Measures(
        masks=PrecomputedMasks(settings.masks) if settings.masks else None,
        flow=PrecomputedFlow(settings.flow_folder) if settings.flow_folder else _flow_named(settings.flow),
    )
    detector = (
        PrecomputedKeypoints(settings.keypoints) if settings.keypoints else detector_named(settings.detector)
    )
    parts, watch = _parts_folder(out, fingerprint), Stopwatch()
    try:
        found = follow_video(video, detector, parts, settings.person_box, watch, progress)
    except InputError:
        shutil.rmtree(parts)  # Going on would end here again.
        raise
    chosen = found.people[:wanted]
    people = [person_of(n, tracks, parts, detector.points) for n, tracks in enumerate(chosen, start=1)]
    masked = (
        settings.masks is not None or settings.keypoints is None and detector.name.startswith("mediapipe")
    )
    spools = [images(parts, person, masked) for person in people]
    both = list(zip(people, spools, strict=True))
    measure(video, both, parts, measures, watch, progress)
    with ThreadPoolExecutor(1) as pool:
        writing = [pool.submit(_write, parts, video, *of_one, detector.points) for of_one in both]
        with watch.stage("overlay"):
            drawn = _drawn(video, both, detector.points, progress)
            write_overlay(out / "observations.mp4", drawn, detector.points, video.fps)
        with watch.stage("write"):
            written = [path.result() for path in writing]
    paths = [
        _placed(path, out / f"person-{person.number}")
        for path, (person, _) in zip(written, both, strict=True)
    ]
    _write_report(out, fingerprint, video, found, both, detector, watch)
    shutil.rmtree(parts)
    return paths


def _number_wanted(people: str) -> int | None:
    if people in ("largest", "all"):
        return 1 if people == "largest" else None
    if not people.isdigit() or int(people) < 1:
        raise ValueError(f"people: {people!r}; expected 'largest', 'all' or a number from 1 on")
    return int(people)


def _flow_named(name: str) -> flows.FlowMethod:
    if name not in ("dis", "raft"):
        raise ValueError(f"flow: {name!r}; expected 'dis' or 'raft'")
    return flows.dis if name == "dis" else flows.raft()


# ---- going on, and being done ---------------------------------------------------------------------------------


def _plain(settings: Settings) -> dict[str, Any]:
    values = asdict(settings)
    for name in ("keypoints", "masks", "flow_folder"):
        values[name] = _sha256(Path(values[name])) if values[name] else None
    return values | {"person_box": list(settings.person_box) if settings.person_box else None}


def _sha256(path: Path) -> str:
    """Of a file's bytes, or of the names and bytes of the files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(file.name.encode() + b"\0")
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _finished(out: Path, fingerprint: dict[str, Any]) -> list[Path] | None:
    report = _read_json(out / "observations.json")
    if report.get("settings") != fingerprint:
        return None
    paths = [out / f"person-{n}" / "observations.npz" for n in range(1, len(report["people"]) + 1)]
    return paths if all(path.is_file() for path in paths) else None


def _parts_folder(out: Path, fingerprint: dict[str, Any]) -> Path:
    """The folder of intermediate files; emptied unless they are of the same video and settings."""
    parts = out / ".observe"
    if parts.exists() and _read_json(parts / "settings.json") != fingerprint:
        shutil.rmtree(parts)
    parts.mkdir(parents=True, exist_ok=True)
    _write_json(parts / "settings.json", fingerprint)
    return parts


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _write_json(path: Path, data: dict[str, Any]) -> None:
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(data, indent=2) + "\n")


# ---- results --------------------------------------------------------------------------------------------------


def _write(parts: Path, video: Video, person: Person, spools: Images, points: KeypointSet) -> Path:
    """Among the intermediate files, as long as not all is done."""
    path = parts / f"observations-{person.number}.npz"
    arrays = {
        "format": FORMAT,
        "version": VERSION,
        "frame_index": person.frame_index,
        "frame_times": person.frame_times,
        "image_size": np.array(video.size),
        "boxes": person.boxes,
        "keypoint_set": points.name,
        "keypoints": person.keypoints.astype(np.float32),
        "keypoint_confidence": person.confidence.astype(np.float32),
    }
    fields = {
        name: spool for name, spool in spools._asdict().items() if spool is not None and name != "flow_error"
    }
    write_npz_from_spools(path, arrays, fields)
    return path


def _placed(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return path.replace(folder / "observations.npz")


def _drawn(
    video: Video, people: list[tuple[Person, Images]], points: KeypointSet, progress: ProgressCallback
) -> Iterator[tuple[Any, list[Drawn]]]:
    for frame in prefetched(video.frames()):
        yield frame, [_draw(p, s, row) for p, s in people if (row := p.row(frame.index)) is not None]
        progress("overlay", frame.index + 1, video.declared_frames)


def _draw(person: Person, spools: Images, row: int) -> Drawn:
    mask = (
        None
        if spools.masks is None
        else np.unpackbits(spools.masks.read(row, row + 1)[0], axis=-1).astype(bool)
    )
    return Drawn(
        number=person.number,
        box=person.boxes[row],
        keypoints=person.keypoints[row],
        confidence=person.confidence[row],
        swapped=bool(person.swaps[row]),
        mask=mask,
        flow=spools.flow.read(row, row + 1)[0],
        flow_confidence=spools.flow_confidence.read(row, row + 1)[0],
    )


def _write_report(
    out: Path,
    fingerprint: dict[str, Any],
    video: Video,
    found: Followed,
    people: list[tuple[Person, Images]],
    detector: Detector,
    watch: Stopwatch,
) -> None:
    seconds = watch.seconds | {"whole": sum(watch.seconds.values())}
    report = {
        "settings": fingerprint,
        "video": {
            "name": video.path.name,
            "sha256": fingerprint["video"],
            "frames": found.frames,
            "fps": video.fps,
            "size": list(video.size),
            "rotation": video.rotation,
            "corrupt_frames": found.corrupt,
        },
        "detector": detector.name,
        "people_found": len(found.people),
        "people": [_person_report(person, spools) for person, spools in people],
        "stages": [
            {
                "name": name,
                "seconds": round(value, 3),
                "frames_per_second": round(found.frames / max(value, 1e-6), 1),
            }
            for name, value in seconds.items()
        ],
        "peak_memory_gb": peak_memory_gb(),
    }
    _write_json(out / "observations.json", report)
    for stale in out.glob("person-*/observations.npz"):
        if stale.parent.name not in {f"person-{person.number}" for person, _ in people}:
            stale.unlink()


def _person_report(person: Person, spools: Images) -> dict[str, Any]:
    errors = spools.flow_error.read(0, len(spools.flow_error))
    known = errors[np.isfinite(errors[:, 0])]
    return {
        "frames": len(person.frame_index),
        "first_frame": int(person.frame_index[0]),
        "last_frame": int(person.frame_index[-1]),
        "mean_box_side_px": round(float(2 * person.boxes[:, 2].mean()), 1),
        "tracks_joined": len(person.tracks),
        "swapped_frames": {
            name: int((person.swaps == state).sum()) for state, name in enumerate(STATES) if state
        },
        "flow_error_grey_levels": round(float(known[:, 0].mean()), 3) if len(known) else None,
        "still_error_grey_levels": round(float(known[:, 1].mean()), 3) if len(known) else None,
    }
