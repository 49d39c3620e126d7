import pytest

from selfmocap.cli.aliases import ours


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["capture", "--video", "a.mp4", "--output_folder", "o"], ["a.mp4", "--out", "o"]),
        (["capture", "a.mp4", "-s", "--out", "o"], ["a.mp4", "--static-camera", "yes", "--out", "o"]),
        (["capture", "--input=a b.mp4", "--out=o"], ["a b.mp4", "--out=o"]),
        (["observe", "--vid_file", "a.mp4", "--out_folder=o_p"], ["a.mp4", "--out=o_p"]),
        (["capture", "my_clip=1.mp4", "-o", "out"], ["my_clip=1.mp4", "-o", "out"]),
    ],
)  # fmt: skip
def test_what_users_of_other_programs_type(typed: list[str], meant: list[str]) -> None:
    assert ours(typed)[1:] == meant


def test_other_commands_keep_their_words() -> None:
    assert ours(["train", "--video", "x", "-s"]) == ["train", "--video", "x", "-s"]
    assert ours([]) == []
