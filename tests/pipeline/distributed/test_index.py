import csv
import json
from pathlib import Path
from typing import Any

from selfmocap.pipeline.distributed import index
from selfmocap.pipeline.distributed.index import COLUMNS, BatchIndex, scores


def done(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "done",
        "source": f"/videos/{name}.mp4",
        "warnings": [],
        "people": 1,
        **more,
    }


def rows(out: Path) -> list[dict[str, Any]]:
    """What the page's script is given, part after part."""
    found = []
    for number, path in enumerate(sorted((out / "index").glob("rows-*.js")), start=1):
        text = path.read_text().strip()
        assert text.startswith(prefix := f"addRows({number}, ") and text.endswith(");")
        found += [dict(zip(COLUMNS, row, strict=True)) for row in json.loads(text[len(prefix) : -2])]
    return found


def test_rows_come_in_files_that_are_not_written_again(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(index, "ROWS_PER_FILE", 3)
    header, shard = {"format": "x", "settings": {}}, {"name": "s", "state": "done", "clips": ["a"]}
    with BatchIndex(tmp_path, [header, *(done(f"clip-{n}") for n in range(4)), shard]) as batch:
        batch.flush()
        first = (tmp_path / "index" / "rows-0001.js").stat().st_mtime_ns
        batch.add({"name": "bad", "state": "failed", "source": "s3://b/<b>.mp4", "error": "not a video"})
        batch.add(done("clip-5", duration=2.5, scores={"jitter": 3.0}, warnings=["one", "two"]))
    assert [row["name"] for row in rows(tmp_path)] == [*(f"clip-{n}" for n in range(4)), "bad", "clip-5"]
    assert (tmp_path / "index" / "rows-0001.js").stat().st_mtime_ns == first
    failed, last = rows(tmp_path)[-2:]
    assert (failed["error"], failed["warnings"], failed["people"]) == ("not a video", [], None)
    assert (last["seconds"], last["jitter"], last["heldout_px"]) == (2.5, 3.0, None)
    with (tmp_path / "index.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == [row["name"] for row in rows(tmp_path)]
    assert table[-1]["warnings"] == "one; two"
    assert "addRows" in (tmp_path / "index.html").read_text()


def test_scores_are_those_of_the_worst_person() -> None:
    people = [
        {"after": {"heldout_reprojection_px": px, "jitter": 1.0, "foot_slide_mm": None}} for px in (0.5, 2.0)
    ]
    assert scores({"people": people}) == {"heldout_px": 2.0, "jitter": 1.0, "foot_slide_mm": None}
    assert scores({"people": []}) == {"heldout_px": None, "jitter": None, "foot_slide_mm": None}
