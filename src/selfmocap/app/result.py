"""What the page shows of a finished capture, besides its report."""

from pathlib import Path
from typing import Any

from selfmocap.app.captures import RESULT, result_files
from selfmocap.app.worker import PEOPLE_BOXES, STILL
from selfmocap.io.files import read_json, read_json_object


def result_summary(place: Path) -> dict[str, Any]:
    """Return the warnings, people, assumptions and files of a capture. Raises ValueError for a damaged report, OSError
    without one."""
    report = read_json(place / RESULT / "report.json")
    boxes = read_json_object(place / RESULT / PEOPLE_BOXES)
    people = [
        {
            "number": number,
            "stature": person["stature"],
            "stature_from": person["stature_from"],
            "adapted": person["accepted"],
            "before": person["before"],
            "after": person["after"],
            "box": boxes.get(str(number)),
        }
        for number, person in enumerate(report["people"], start=1)
    ]
    files = {name: path.stat().st_size for name, path in result_files(place).items()}
    return {
        "warnings": report["warnings"],
        "people": people,
        "focal": report["focal"],
        "fps": report["video"]["fps"],
        "cameras": [shot["camera"] for shot in report["shots"] if shot["camera"]],
        "still": f"{RESULT}/{STILL}",
        "files": [{"name": name, "bytes": size} for name, size in files.items()],
    }
