"""Former flags and the flags of other programs."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfmocap.cli import main as cli
from selfmocap.cli.aliases import normalise_aliases
from selfmocap.pipeline.config import CaptureConfig


def ignore(sentence: str) -> None:
    pass


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["capture", "--video", "a.mp4", "--output_folder", "o"], ["a.mp4", "--out", "o"]),
        (["capture", "a.mp4", "-s", "--out", "o"], ["a.mp4", "--static-camera", "yes", "--out", "o"]),
        (["capture", "--input=a b.mp4", "--out=o"], ["a b.mp4", "--out=o"]),
        (["observe", "--vid_file", "a.mp4", "--out_folder=o_p"], ["a.mp4", "--out=o_p"]),
        (["capture", "my_clip=1.mp4", "-o", "out"], ["my_clip=1.mp4", "-o", "out"]),
        (["train-temporal", "--untold=0.5"], ["--unlabelled-fraction=0.5"]),
        (["adapt", "--learn_from", "a"], ["--init-from", "a"]),
        (["doctor", "--json"], ["--format", "json"]),
        (["observe", "a.mp4", "--detector", "mediapipe"], ["a.mp4", "--detector", "blazepose"]),
        (["observe", "a.mp4", "--detector=mediapipe-legacy"], ["a.mp4", "--detector=blazepose"]),
        (["observe", "mediapipe", "--out", "o"], ["mediapipe", "--out", "o"]),
        (["train", "--video", "x", "-s"], ["--video", "x", "-s"]),
    ],
)  # fmt: skip
def test_aliases_become_present_flags(typed: list[str], expected: list[str]) -> None:
    assert normalise_aliases(typed, ignore) == [typed[0], *expected]
    assert normalise_aliases([], ignore) == []


def test_each_alias_is_announced_once() -> None:
    sentences: list[str] = []
    normalise_aliases(["train-temporal", "--untold", "0.5", "--untold", "0.2"], sentences.append)
    normalise_aliases(["capture", "--vid_file", "a.mp4", "-s", "--export", "bvh"], sentences.append)
    assert sentences == [
        "--untold is now --unlabelled-fraction",
        "--vid_file is not needed: the video is a positional argument",
        "-s is --static-camera yes here",
        "--export is now --formats",
    ]


def parsed(monkeypatch: pytest.MonkeyPatch, line: str) -> dict[str, Any]:
    """Parse a command line without running it; return the arguments of the command's function."""
    arguments: dict[str, Any] = {}
    load = cli.load_command

    def load_recorder(name: str) -> Callable[..., int]:
        command = load(name)

        @functools.wraps(command)
        def record(**values: Any) -> int:
            arguments.update(values)
            return 0

        return record

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as exit_info:
        patch.setattr(cli, "load_command", load_recorder)
        cli.main(line.split())
    assert exit_info.value.code == 0
    return arguments


@pytest.mark.parametrize(
    "line",
    [
        "capture v.mp4 --out o --people 2 --quality fast --focal 1000 --network frame --weights w --height 1.8 "
        "--static-camera no --export bvh csv --fps 60 --device cuda",
        "capture --video v.mp4 --output-folder o -s",
        "capture --images v -o o",
        "capture v.mp4 -o o --export",
        "export m.npz --to bvh glb --out o --names mixamo --up-axis z --unit cm --fps 24 --smpl-model s",
        "export m.npz --to trc -o o",
        "observe v.mp4 --out o --people all --person-box 1 2 3 4 --detector rtmpose --flow raft --keypoints k "
        "--masks m --flow-folder f",
        "observe --vid_file v.mp4 --output-folder o",
        "infer o --out m --focal 900 --weights w",
        "adapt o --out m --focal 900 --learn-from w --save-weights s",
        "evaluate e t --json scores.json --smpl-model s",
        "reproduce table1 --out o --clips 2 --frames 9 --seed 1 --motions m --backgrounds b --held-out a b --weights w",
        "reproduce hmmr --out o --train --seeds 2",
        "reproduce experience -o o --no-train",
        "synthesize --out o --clips 2 --frames 9 --seed 1 --motions m --backgrounds b --layout surreal --workers 0",
        "view o --port 9000",
        "body --out b.png --pose sit --betas 1 -0.5 --model s --yaw 10",
        "predict i.jpg --out o --people 1 --focal 900 --weights w --export bvh",
        "train --out o --preset keypoints --steps 9 --batch 64 --motions m --backgrounds b --held-out a "
        "--validation-frames 64 --begin w --resume --workers 2",
        "validate --motions m --backgrounds b --held-out a --frames 64 --weights w",
        "train-temporal --out o --preset paper --steps 9 --motions m --backgrounds b --held-out a --untold 0.5 "
        "--unlabelled-share 0.5 --validation-clips 4 --weights w --seed 1 --resume --workers 2",
        "train-temporal --out o --unlabelled v --no-resume",
        "validate-temporal --motions m --backgrounds b --held-out a --clips 4 --weights w",
        "capture-many a b --out o --address auto --workers 2 --pseudo-labels --retry --people all --quality best "
        "--focal 900 --network temporal --weights w --static-camera auto --export glb",
        "capture-many a -o o --no-pseudo-labels --no-retry",
        "doctor --json",
        "doctor --no-json",
        "doctor",
    ],
)  # fmt: skip
def test_former_command_lines_are_valid(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    assert parsed(monkeypatch, line)


def test_values_of_former_flags_reach_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "capture --vid_file v.mp4 --output_folder o -s --export csv --fps 60 --quality fast"
    arguments = parsed(monkeypatch, line)
    config: CaptureConfig = arguments["config"]
    assert arguments["video"] == Path("v.mp4") and arguments["out"] == Path("o")
    assert config == CaptureConfig(
        quality="fast", static_camera="yes", formats=("csv",), options=config.options
    )
    assert config.options.fps == 60
    arguments = parsed(monkeypatch, "train-temporal --out o --untold 0.25 --seed 3")
    assert arguments["data"].unlabelled_fraction == 0.25 and arguments["run"].seed == 3
    assert parsed(monkeypatch, "train --out o --begin w")["run"].init_from == Path("w")
    assert parsed(monkeypatch, "adapt o --out m --learn-from w")["config"].init_from == Path("w")
    assert parsed(monkeypatch, "doctor --json") == {"format": "json"}
    assert parsed(monkeypatch, "evaluate a b --json c")["json_out"] == Path("c")


def test_defaults_differ_between_commands_where_they_did(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed(monkeypatch, "observe v --out o")["config"].people == "all"
    assert parsed(monkeypatch, "train --out o")["data"].validation_frames == 640
    assert parsed(monkeypatch, "validate")["data"].validation_frames == 2000
    assert parsed(monkeypatch, "train-temporal --out o")["data"].validation_clips == 32
    assert parsed(monkeypatch, "validate-temporal")["data"].validation_clips == 64
