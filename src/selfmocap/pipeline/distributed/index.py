"""`index.html` and `index.csv`: all clips of a batch at a glance, made from the manifest.

The page reads its rows from `index/rows-0001.js` and so on, which it loads as scripts: a page that was opened from disk
may load nothing else. A full file of rows is never written again. A later row of a clip replaces its earlier one.
"""

import csv
import json
from collections.abc import Iterable
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.io.atomic import atomic_write
from selfmocap.io.video import Video
from selfmocap.pipeline.distributed.manifest import is_of_part

INDEX = "index"
"""Folder of the rows and pictures, beside `index.html` and `index.csv`."""
ROWS_PER_FILE = 1000
THUMBNAIL_HEIGHT = 90
COLUMNS = (
    "name", "state", "source", "seconds", "people", "heldout_px", "jitter", "foot_slide_mm", "warnings", "error",
)  # fmt: skip
"""Of a row. `seconds` is the clip's length; the scores are those of the worst person."""


def scores(report: dict[str, Any]) -> dict[str, float | None]:
    """Return the scores of a `report.json` for the manifest: of each the largest over the people, None if unknown."""
    keys = {"heldout_px": "heldout_reprojection_px", "jitter": "jitter", "foot_slide_mm": "foot_slide_mm"}
    after = [person["after"] for person in report["people"]]
    known = {name: [one[key] for one in after if one.get(key) is not None] for name, key in keys.items()}
    return {name: max(values, default=None) for name, values in known.items()}


def write_thumbnail(video: Video, out: Path, name: str) -> None:
    """Write the middle frame of a video into the index of the batch in `out`."""
    from PIL import Image

    frame = next(islice(video.frames(), video.declared_frames // 2, None))
    image = Image.fromarray(np.ascontiguousarray(frame.image))
    image.thumbnail((4 * THUMBNAIL_HEIGHT, THUMBNAIL_HEIGHT))
    (out / INDEX).mkdir(exist_ok=True)
    with atomic_write(out / INDEX / f"{name}.jpg") as partial:
        image.save(partial, "JPEG", quality=80)


class BatchIndex:
    """The index of a batch's folder, which grows with the manifest."""

    def __init__(self, out: Path, lines: Iterable[dict[str, Any]], clip_page: str = "report.html") -> None:
        """Write the page, and the rows of the manifest's `lines` of earlier runs. `clip_page` is the file of a result
        that the page links to."""
        self.out, self.num_rows, self.is_flushed = out, 0, True
        self.tail: list[list[Any]] = []
        """The rows of the last file, which is not full."""
        (out / INDEX).mkdir(exist_ok=True)
        page = (files("selfmocap.visualization") / "batch_index.html").read_text(encoding="utf-8")
        with atomic_write(out / "index.html") as partial:
            partial.write_text(page.replace("CLIP_PAGE", clip_page), encoding="utf-8")
        self.csv = (out / "index.csv").open("w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.csv)
        self.writer.writerow(COLUMNS)
        for line in lines:
            self.add(line)

    def __enter__(self) -> "BatchIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        self.csv.close()

    def add(self, line: dict[str, Any]) -> None:
        """Add a line of the manifest, if it is of a clip; a reader sees it after `flush`."""
        if "state" not in line or "clips" in line or is_of_part(line):
            return
        row = _row(line)
        self.writer.writerow([*row[:-2], "; ".join(row[-2]), row[-1]])
        if len(self.tail) == ROWS_PER_FILE:
            self.flush()
            self.tail = []
        self.tail.append(row)
        self.num_rows, self.is_flushed = self.num_rows + 1, False

    def flush(self) -> None:
        """Write what was added since the last call."""
        if self.is_flushed:
            return
        number = (self.num_rows - 1) // ROWS_PER_FILE + 1
        with atomic_write(self.out / INDEX / f"rows-{number:04}.js") as partial:
            partial.write_text(f"addRows({number}, {json.dumps(self.tail)});\n")
        self.csv.flush()
        self.is_flushed = True


def _row(line: dict[str, Any]) -> list[Any]:
    values = {"warnings": []} | line | line.get("scores", {}) | {"seconds": line.get("duration")}
    return [values.get(column) for column in COLUMNS]
