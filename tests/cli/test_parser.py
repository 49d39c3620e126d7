"""Options that are built from config dataclasses, and errors in one line."""

import re
from dataclasses import MISSING, fields

import pytest

from selfmocap.cli.main import COMMANDS, load_command, main
from selfmocap.cli.parser import field_docs, summary_of_box
from selfmocap.evaluation.paper.config import BenchmarkConfig, HmmrTrainingConfig
from selfmocap.export.options import ExportOptions
from selfmocap.pipeline.config import (
    AdaptFolderConfig,
    BatchConfig,
    CaptureConfig,
    InferFolderConfig,
    PredictConfig,
)
from selfmocap.synthetic.config import SynthesizeConfig
from selfmocap.tracking.config import ObserveConfig
from selfmocap.training.config import (
    FrameDataConfig,
    FrameRunConfig,
    TemporalDataConfig,
    TemporalRunConfig,
    TemporalValidationConfig,
)

CONFIGS = [
    AdaptFolderConfig, BatchConfig, BenchmarkConfig, CaptureConfig, ExportOptions, FrameDataConfig, FrameRunConfig,
    HmmrTrainingConfig, InferFolderConfig, ObserveConfig, PredictConfig, SynthesizeConfig, TemporalDataConfig,
    TemporalRunConfig, TemporalValidationConfig,
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_has_a_docstring_and_a_default(config: type) -> None:
    docs = {name: text for base in config.__mro__[:-1] for name, text in field_docs(base).items()}
    for field in fields(config):
        assert docs[field.name].endswith("."), field.name
        assert field.default is not MISSING or field.default_factory is not MISSING


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([name, "--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: selfmocap {name} ")
    assert (load_command(name).__doc__ or "").splitlines()[0] in text
    rows = [row.strip("│ ") for row in text.splitlines()]
    options = [number for number, row in enumerate(rows) if re.match(r"-\w|--\w", row)]
    assert options
    for number in options:
        assert "  " in rows[number] or re.match(r"\w", rows[number + 1]), rows[number]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("capture", "Missing from selfmocap capture: VIDEO"),
        ("capture v --out o --peple 3", "Unrecognized options: --peple, 3; Perhaps you meant: --people STR"),
        ("capture v --out o --focal far", "Error parsing --focal"),
        ("capture v --out o --focal 3", "a focal length of 3.0 px; expected 10 to 1000000"),
        ("capture v --out o --fps 0", "fps: expected 1 to 1000"),
        ("capture v --out o --quality slow", "invalid choice 'slow' for argument '--quality'"),
        ("capture v --out o --formats obj", "no format 'obj'; choose from bvh"),
        ("reproduce table1 --out o --clips 0", "0 clips of 31 frames"),
        ("synthesize --out o --frames 0", "expected at least one"),
        ("train-temporal --out o --unlabelled-fraction 1", "fractions in [0, 1)"),
        ("fly", "found 'fly'; see selfmocap --help"),
        ("", "expected a command (capture, "),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    line: str, error: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(line.split())
    assert exit_info.value.code == 2
    output = capsys.readouterr()
    assert output.err.startswith("selfmocap: ") and error in output.err
    assert output.err.count("\n") == 1 and not output.out


def test_summary_of_a_box() -> None:
    box = "╭─ Title ─╮\n│ \x1b[1mWrong\x1b[0m value │\n│ of --x.  │\n│ ───── │\n│ See help │\n╰───╯"
    assert summary_of_box(box) == "Wrong value of --x"
    ascii_box = " Title       \n ----------- \n  Wrong value\n  of --x.    \n  -----------\n  See help   \n"
    assert summary_of_box(ascii_box) == "Wrong value of --x"
