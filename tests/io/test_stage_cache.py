"""The record of finished stages."""

import json
import logging
from pathlib import Path

import pytest

from selfmocap.io.stage_cache import StageCache, claim_folder, claim_scratch_folder, fingerprint


class Work:
    """Writes a file, and counts how often it had to."""

    def __init__(self, path: Path, text: str = "done") -> None:
        self.path, self.text, self.times = path, text, 0

    def __call__(self) -> tuple[dict, list[Path]]:
        self.times += 1
        self.path.write_text(self.text)
        return {"number": (self.times, 0.1)}, [self.path]


def test_a_stage_is_computed_once_and_again_when_its_inputs_change(tmp_path: Path) -> None:
    work, after = Work(tmp_path / "a.txt"), Work(tmp_path / "b.txt")

    def run(height: float, fps: int) -> tuple[dict, dict]:
        cache = StageCache(tmp_path / ".capture")
        first = cache.run("first", {"height": height}, [], work)
        second = cache.run("second", {"fps": fps}, [first], after)
        return first.result, second.result

    assert run(1.8, 30) == run(1.8, 30) == ({"number": [1, 0.1]}, {"number": [1, 0.1]})
    run(1.8, 60)
    assert (work.times, after.times) == (1, 2)
    run(1.7, 60)
    assert (work.times, after.times) == (2, 3)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("do")])
def test_a_stage_whose_file_is_lost_or_cut_short_is_done_again(tmp_path: Path, damage) -> None:
    work = Work(tmp_path / "a.txt")
    for _ in range(2):
        StageCache(tmp_path / ".capture").run("first", {}, [], work)
        damage(tmp_path / "a.txt")
    StageCache(tmp_path / ".capture").run("first", {}, [], work)
    assert work.times == 3
    assert work.path.read_text() == "done"


def test_a_stage_that_fails_leaves_no_old_result_that_looks_new(tmp_path: Path) -> None:
    StageCache(tmp_path / ".capture").run("first", {"height": 1.8}, [], Work(tmp_path / "a.txt"))

    def fail() -> tuple[dict, list[Path]]:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        StageCache(tmp_path / ".capture").run("first", {"height": 1.7}, [], fail)
    assert not (tmp_path / "a.txt").exists()
    assert not list((tmp_path / ".capture").iterdir())


def test_the_summary_is_there_only_when_all_cache_are_done(tmp_path: Path) -> None:
    summary = tmp_path / "report.json"
    for height, kept in ((1.8, False), (1.8, True), (1.7, False)):
        summary.write_text("{}")
        StageCache(tmp_path / ".capture", summary).run(
            "first", {"height": height}, [], Work(tmp_path / "a.txt")
        )
        assert summary.exists() == kept


def test_what_followed_cache_that_are_no_more_is_swept_and_nothing_outside(tmp_path: Path) -> None:
    home = tmp_path / "out"
    home.mkdir()
    (tmp_path / "outside.txt").write_text("kept")

    def run(quality: str, formats: list[str]) -> None:
        cache = StageCache(home / ".capture")
        clean = cache.run("clean", {"quality": quality}, [], Work(home / "motion.npz"))
        for name in formats:
            cache.run(f"export-{name}", {}, [clean], Work(home / f"motion.{name}"))
        cache.sweep()

    run("fast", ["bvh", "glb"])
    run("fast", ["csv"])
    assert {path.suffix for path in home.glob("motion.*")} == {".npz", ".bvh", ".glb", ".csv"}
    record = json.loads((home / ".capture" / "export-bvh.json").read_text())
    record["files"]["../outside.txt"] = 4
    (home / ".capture" / "export-bvh.json").write_text(json.dumps(record))
    run("best", ["csv"])
    assert {path.suffix for path in home.glob("motion.*")} == {".npz", ".csv"}
    assert (tmp_path / "outside.txt").read_text() == "kept"


def test_records_of_another_version_are_computed_again_with_a_sentence(tmp_path: Path, caplog) -> None:
    former, now = Work(tmp_path / "a.txt"), Work(tmp_path / "a.txt")
    StageCache(tmp_path / ".capture").run("first", {}, [], former)
    StageCache(tmp_path / ".capture").run("former-name", {}, [], Work(tmp_path / "b.txt"))
    for path in (tmp_path / ".capture").iterdir():
        record = json.loads(path.read_text())
        del record["version"]  # As records were before they had one.
        path.write_text(json.dumps(record))
    cache = StageCache(tmp_path / ".capture", version=2)
    with caplog.at_level(logging.WARNING):
        cache.discard_other_versions()
        cache.discard_other_versions()
    assert len(caplog.records) == 1
    assert not list(tmp_path.glob("*.txt"))
    cache.run("first", {}, [], now)
    StageCache(tmp_path / ".capture", version=2).run("first", {}, [], now)
    assert now.times == 1


def test_fingerprints_ignore_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})


def test_a_claimed_folder_refuses_other_settings(tmp_path: Path) -> None:
    for _ in range(2):
        claim_folder(tmp_path / "clips.json", {"seed": 1, "size": (2, 3)})
    with pytest.raises(ValueError, match="choose another folder"):
        claim_folder(tmp_path / "clips.json", {"seed": 2, "size": (2, 3)})


def test_a_scratch_folder_is_emptied_for_other_settings(tmp_path: Path) -> None:
    settings_file = tmp_path / "scratch" / "settings.json"
    claim_scratch_folder(settings_file, {"seed": 1})
    (settings_file.parent / "part.npz").touch()
    claim_scratch_folder(settings_file, {"seed": 1})
    assert (settings_file.parent / "part.npz").exists()
    claim_scratch_folder(settings_file, {"seed": 2})
    assert [path.name for path in settings_file.parent.iterdir()] == ["settings.json"]
