"""The content of `report.json`, and a reader of its versions."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from selfmocap.body_model.frame_rates import LONGEST_GAP
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.geometry.tensors import runs_between
from selfmocap.io.files import read_json_object
from selfmocap.io.stage_cache import StageRecord
from selfmocap.pipeline.lens_choice import LensChoice
from selfmocap.pipeline.moving_camera import ShotCamera, camera_warnings
from selfmocap.pipeline.plausibility import CheckedPerson, plausibility_warnings
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.pipeline.solve import PersonChoice
from selfmocap.tracking.confidence import VISIBLE

REPORT_VERSION = 3
FORMER_STAGE_NAMES = {"clean": "postprocess", "whole": "total"}
"""Names of stages in version 1, and their present names."""
_FORMER_PERSON_KEYS = {"untrusted": "low_confidence_ranges"}
_FORMER_SCORE_KEYS = {"self_check_px": "heldout_reprojection_px"}
_LIMBS = {"leg": ("knee", "ankle"), "arm": ("elbow", "wrist")}
_MIN_SMOOTHED_FRAMES = 4


def capture_report(
    video: str,
    observed: StageRecord,
    stages: Collection[StageRecord],
    people: Sequence[CapturedPerson],
    choices: Sequence[PersonChoice],
    measured: Sequence[StageRecord],
    motions: Sequence[Motion],
    cameras: Sequence[ShotCamera],
    lens: LensChoice,
) -> dict[str, Any]:
    """Build `report.json`: the video and its shots, its focal length and how it is known, the duration of each stage,
    the scores of each person's motion before and after adaptation and refinement, the unreliable frames, and warnings.

    `cameras` are those of the shots with people."""
    observed_video, shots = observed.result["video"], observed.result["shots"]
    shot_of = [one["shot"] for one in observed.result["people"]]
    camera_of = {camera.shot: camera for camera in cameras}
    checked = [
        CheckedPerson(
            person.number,
            motion,
            person.observations,
            stage.result["after"].get("mask_iou"),
            shots[shot - 1]["last_frame"],
            camera_of[shot].is_path_known,
        )
        for person, motion, stage, shot in zip(people, motions, measured, shot_of, strict=True)
    ]
    each = [
        {
            "shot": seen["shot"],
            "perhaps_person": seen["perhaps_person"],
            "frames": len(person.observations),
            "segments": _segments(person),
            "accepted": choice.accepted,
            "refined": choice.refined,
            "before": {**stage.result["before"], "heldout_reprojection_px": _rounded(choice.before_px)},
            "after": {**stage.result["after"], "heldout_reprojection_px": _rounded(choice.after_px)},
            "pops": stage.result["pops"],
            "floor": "soles" in motion.provenance.get("postprocessing", {}).get("stages", {}),
            **{name: stage.result[name] for name in ("stature", "stature_from", "low_confidence_ranges")},
        }
        for person, choice, stage, motion, seen in zip(
            people, choices, measured, motions, observed.result["people"], strict=True
        )
    ]
    return {
        "version": REPORT_VERSION,
        "video": {
            "path": video,
            **{name: observed_video[name] for name in ("sha256", "frames", "fps")},
            "start": observed_video.get("start", 0.0),
        },
        "focal": lens.as_report(),
        "shots": [
            shot | {"camera": camera_of[number].measured if number in camera_of else None}
            for number, shot in enumerate(shots, start=1)
        ],
        "stages": _durations([observed, *stages], observed_video["frames"]),
        "people": each,
        "warnings": [
            *_video_warnings(observed_video),
            *lens.notes,
            *(warning for camera in cameras for warning in camera_warnings(camera.measured)),
            *plausibility_warnings(checked, shot_of),
            *(w for person, one in zip(people, each, strict=True) for w in _person_warnings(person, one)),
        ],
    }


def read_report(path: Path) -> dict[str, Any]:
    """Read a `report.json`. Keys and stages of version 1 get their present names; `shots`, and `shot` and
    `perhaps_person` of people, are missing before version 3. Raises ValueError where the file is missing, damaged or of
    a later version."""
    report = read_json_object(path)
    version = report.get("version", 1)
    if not {"stages", "people", "warnings"} <= report.keys() or version not in (1, 2, REPORT_VERSION):
        raise ValueError(
            f"{path}: expected a report.json of version 1 to {REPORT_VERSION}; capture the video again"
        )
    if version > 1:
        return report | {"version": REPORT_VERSION}
    stages = [
        stage | {"name": FORMER_STAGE_NAMES.get(stage["name"], stage["name"])} for stage in report["stages"]
    ]
    people = [_renamed(person, _FORMER_PERSON_KEYS) for person in report["people"]]
    for person in people:
        person |= {when: _renamed(person[when], _FORMER_SCORE_KEYS) for when in ("before", "after")}
    return report | {"version": REPORT_VERSION, "stages": stages, "people": people}


def _segments(person: CapturedPerson) -> list[list[float]]:
    """Return the first and the last time of each part without long gaps, s: those of the numbered exports."""
    times = person.observations.frame_times
    runs = runs_between(times.diff() > LONGEST_GAP + 1e-6)
    return [[round(float(times[first]), 3), round(float(times[end - 1]), 3)] for first, end in runs]


def _renamed(record: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in record.items()}


def _durations(stages: Sequence[StageRecord], frames: int) -> list[dict[str, Any]]:
    """Sum the duration of each stage over people and formats; the last entry is the total."""
    seconds: dict[str, float] = {}
    for stage in stages:
        name = stage.name.split("-")[0]
        seconds[name] = seconds.get(name, 0.0) + stage.seconds
    seconds["total"] = sum(seconds.values())
    return [
        {"name": name, "seconds": round(value, 3), "frames_per_second": round(frames / max(value, 1e-3), 2)}
        for name, value in seconds.items()
    ]


def _video_warnings(video: dict[str, Any]) -> Iterator[str]:
    yield from video.get("warnings", ())
    if damaged := len(video["corrupt_frames"]):
        yield f"{damaged} of the {video['frames']} frames are damaged"


def _person_warnings(person: CapturedPerson, entry: dict[str, Any]) -> Iterator[str]:
    who, frames = f"person {person.number}", len(person.observations)
    if frames < _MIN_SMOOTHED_FRAMES:
        yield f"{who}: observed in {frames} frames only; the motion is not smoothed"
    names = keypoint_set(person.observations.keypoint_set).names
    for limb, parts in _LIMBS.items():
        columns = [name.endswith(parts) for name in names]
        if float(person.observations.keypoint_confidence[:, columns].mean()) < VISIBLE:
            yield f"{who}: {limb}s are rarely visible; {limb} pose is unreliable"
    unreliable = sum(last - first + 1 for first, last, _ in entry["low_confidence_ranges"])
    if 2 * unreliable > frames:
        yield (
            f"{who}: {min(unreliable, frames)} of {frames} frames are unreliable; "
            "see low_confidence_ranges in report.json"
        )


def _rounded(px: float | None) -> float | None:
    return None if px is None else round(px, 4)
