"""What `report.json` says of a capture."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.io.atomic import atomic_write
from selfmocap.io.stage_cache import StageRecord
from selfmocap.pipeline.samples import Person

_HARDLY = 0.3
"""Mean confidence."""
_LIMBS = {"legs": ("knee", "ankle"), "arms": ("elbow", "wrist")}
_FEW = 4
"""Frames: of fewer nothing is smoothed."""


def summarised(
    video: Path,
    seen: StageRecord,
    stages: Collection[StageRecord],
    people: Sequence[Person],
    choices: Sequence[dict[str, Any]],
    measured: Sequence[StageRecord],
) -> dict[str, Any]:
    """`report.json`: the video, what each stage took, how well each person's motion explains what was seen before
    and after, what is not to be trusted, and `warnings` for whoever asked for the capture."""
    of_video = seen.result["video"]
    each = [
        {
            "frames": len(person.seen),
            "accepted": choice["accepted"],
            "refined": choice["refined"],
            "before": {**done.result["before"], "self_check_px": _rounded(choice["before_px"])},
            "after": {**done.result["after"], "self_check_px": _rounded(choice["after_px"])},
            "untrusted": done.result["untrusted"],
        }
        for person, choice, done in zip(people, choices, measured, strict=True)
    ]
    return {
        "video": {"path": str(video), **{name: of_video[name] for name in ("sha256", "frames", "fps")}},
        "stages": _times([seen, *stages], of_video["frames"]),
        "people": each,
        "warnings": [
            *_of_video(of_video),
            *(w for p, of_p in zip(people, each, strict=True) for w in _of(p, of_p)),
        ],
    }


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(data, indent=1) + "\n")


def _times(stages: Sequence[StageRecord], frames: int) -> list[dict[str, Any]]:
    """What the stages took, those of all people and formats together, and the whole."""
    seconds: dict[str, float] = {}
    for stage in stages:
        name = stage.name.split("-")[0]
        seconds[name] = seconds.get(name, 0.0) + stage.seconds
    seconds["whole"] = sum(seconds.values())
    return [
        {"name": name, "seconds": round(value, 3), "frames_per_second": round(frames / max(value, 1e-3), 2)}
        for name, value in seconds.items()
    ]


def _of_video(video: dict[str, Any]) -> Iterator[str]:
    if damaged := len(video["corrupt_frames"]):
        yield f"{damaged} of the {video['frames']} frames are damaged"


def _of(person: Person, summary: dict[str, Any]) -> Iterator[str]:
    who, frames = f"person {person.number}", len(person.seen)
    if frames < _FEW:
        yield f"{who} is seen in {frames} frames only: its motion is not smoothed"
    names = keypoint_set(person.seen.keypoint_set).names
    for limbs, parts in _LIMBS.items():
        shown = [name.endswith(parts) for name in names]
        if float(person.seen.keypoint_confidence[:, shown].mean()) < _HARDLY:
            yield f"{who} is hardly ever seen whole: its {limbs} are guessed"
    doubtful = sum(last - first + 1 for first, last, _ in summary["untrusted"])
    if 2 * doubtful > frames:
        yield f"{who} is not to be trusted in {min(doubtful, frames)} of its {frames} frames: see report.json"


def _rounded(px: float | None) -> float | None:
    return None if px is None else round(px, 4)
