"""Lists and folders of videos as other systems write them."""

from pathlib import Path

import pytest

from selfmocap.pipeline.distributed.sources import find_videos

LISTS = {
    "crlf": b"{0}\r\n\r\n# a comment\r\n{1}\r\n",
    "utf-8 with a mark": b"\xef\xbb\xbf{0}\r\n{1}\r\n",
    "utf-16": "{0}\r\n{1}\r\n".encode("utf-16"),
    "utf-16 big-endian": b"\xfe\xff" + "{0}\r\n{1}\r\n".encode("utf-16-be"),
    "utf-16 without a mark": "{0}\r\n{1}\r\n".encode("utf-16-le"),
    "quoted": b"\"{0}\"\n'{1}'\n",
    "spaces": b"  {0}\t\n{1}",
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_any_encoding_are_read(tmp_path: Path, kind: str) -> None:
    names = ["one two.mp4", "drei.mp4"]
    data = LISTS[kind]
    for number, name in enumerate(names):
        (tmp_path / name).touch()
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            data = data.replace(f"{{{number}}}".encode(encoding), name.encode(encoding))
    (tmp_path / "list.txt").write_bytes(data)
    found = [Path(video.source).name for video in find_videos([str(tmp_path / "list.txt")])]
    assert found == names


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_names_with_accents_are_found_whatever_the_lists_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "café.mp4").touch()
    (tmp_path / "list.txt").write_bytes("café.mp4\n".encode(encoding))
    (video,) = find_videos([str(tmp_path / "list.txt")])
    assert Path(video.source).exists()


def test_a_line_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a" * 10_000)
    with pytest.raises(ValueError, match="longer than 8192"):
        list(find_videos([str(tmp_path / "list.txt")]))


def test_folders_give_videos_of_all_containers_and_no_stray_files(tmp_path: Path) -> None:
    wanted = ["a.MTS", "b.m2ts", "c.3gp", "d.vob", "e.wmv", "f.flv", "g.dv", "h.mp4"]
    for name in [*wanted, "._h.mp4", "notes.txt", "go.mod", "Thumbs.db"]:
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "i.mp4").touch()
    assert [Path(video.source).name for video in find_videos([str(tmp_path)])] == wanted


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.mp4").touch()
    (video,) = find_videos(["~/a.mp4"])
    assert video.source == str((tmp_path / "a.mp4").resolve())
