"""The last lines of a capture: what to open, what was written, what not to trust."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfmocap.cli.console import ERRORS, OUTPUT, bold

_FILES = (
    "overlay.mp4",
    "report.json",
    "scene.*",
    "person-*/motion*",
    "person-*/character*",
    "person-*/camera.json",
)


def print_results(out: Path) -> None:
    """Print the warnings of the capture in a folder, and its last lines."""
    from selfmocap.io.files import printable_path, read_json

    report = read_json(out / "report.json")
    for warning in report["warnings"]:
        ERRORS.print(f"selfmocap: warning: {warning}")
    written = [path.relative_to(out) for pattern in _FILES for path in sorted(out.glob(pattern))]
    OUTPUT.print(f"{len(report['people'])} people in {bold(out)}")
    OUTPUT.print(f"open: {bold(out / 'report.html')}")
    OUTPUT.print("wrote: " + ", ".join(map(printable_path, written)), markup=False)
    doubts = list(_doubts(report["people"]))
    otherwise = "see the warnings above" if report["warnings"] else "nothing stands out"
    OUTPUT.print("do not trust: " + ("; ".join(doubts) or otherwise), markup=False)


def _doubts(people: list[dict[str, Any]]) -> Iterator[str]:
    """Yield for each person the number of unreliable frames, and the longest range of them."""
    for number, person in enumerate(people, start=1):
        ranges = person["low_confidence_ranges"]
        if ranges:
            frames = {frame for first, last, _ in ranges for frame in range(first, last + 1)}
            first, last, reason = max(ranges, key=lambda one: one[1] - one[0])
            yield f"person {number} in {len(frames)} frames, such as {first} to {last} ({reason})"
        if not person["floor"]:
            yield f"person {number}'s height above the floor (no floor was found)"
