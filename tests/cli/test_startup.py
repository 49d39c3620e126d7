"""What the command line imports before it runs a command: what is not imported costs no time."""

import subprocess
import sys

import pytest

from selfmocap.cli.main import COMMANDS
from selfmocap.cli.overview import overview, unknown_command


def imported_by(args: list[str]) -> set[str]:
    """Return the modules that a process has imported when it has printed help."""
    code = (
        "import sys; from selfmocap.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    ("args", "absent"),
    [
        (["--help"], {"tyro", "typeguard", "rich", "numpy", "torch", "selfmocap.cli.parser"}),
        (["capture", "--help"], {"rich.progress", "numba", "torch", "roma", "av", "scipy"}),
    ],
)
def test_help_does_not_import(args: list[str], absent: set[str]) -> None:
    assert not imported_by(args) & absent


@pytest.mark.slow
def test_a_capture_is_imported_without_the_compiler_of_torch() -> None:
    code = "import sys; import selfmocap.pipeline.capture; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch._dynamo", "sympy", "roma", "rich", "tyro", "ray"} & set(done.stdout.split())


def test_overview_names_every_command() -> None:
    text = overview(COMMANDS)
    assert text.startswith("usage: selfmocap COMMAND")
    for name in COMMANDS:
        (row,) = (line for line in text.splitlines() if line.startswith(f"  {name} "))
        assert row.split(maxsplit=1)[1][0].isupper()


def test_a_misspelt_command_is_corrected() -> None:
    assert "found 'captur'; did you mean capture?" in unknown_command(["captur"], COMMANDS)
    assert "found nothing" in unknown_command([], COMMANDS)
