"""The command line: one file per command, and errors in one line.

This module imports only the standard library, so that `selfmocap doctor` works in an incomplete installation."""

import contextlib
import os
import sys
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper

from selfmocap._version import __version__
from selfmocap.cli.aliases import normalise_aliases
from selfmocap.cli.overview import overview, unknown_command

COMMANDS = (
    "capture",
    "app",
    "export",
    "retarget",
    "refine",
    "observe",
    "infer",
    "adapt",
    "evaluate",
    "compare",
    "train",
    "validate",
    "reproduce",
    "synthesize",
    "view",
    "body",
    "doctor",
    "capture-many",
    "train-temporal",
    "validate-temporal",
    "predict",
)
"""The command `capture-many` is the function `capture_many_command` of the module `cli.capture_many`."""


def load_command(name: str) -> Callable[..., int | None]:
    """Import the function of a command."""
    module = name.replace("-", "_")
    return getattr(import_module(f"selfmocap.cli.{module}"), f"{module}_command")


def main(args: list[str] | None = None) -> None:
    """Run one command and exit: code 0, 1 where a check failed, 2 for a usage error, 130 after Ctrl-C."""
    _complete_standard_streams()
    args = sys.argv[1:] if args is None else args
    if args == ["--version"]:
        sys.stdout.write(f"selfmocap {__version__}\n")
        sys.exit(0)
    if args in (["--help"], ["-h"]):
        sys.stdout.write(overview(COMMANDS))
        sys.exit(0)
    args = normalise_aliases(args, _print_error)
    if not args or args[0] not in COMMANDS:
        _print_error(unknown_command(args, COMMANDS))
        sys.exit(2)
    try:
        from selfmocap.cli.parser import UsageError, parse_command
    except ImportError as error:
        sys.exit(_run_without_parser(args, error))
    try:
        code = parse_command(load_command(args[0]), args[0], args[1:])()
    except (UsageError, ValueError, OSError, ImportError) as error:
        _print_error(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        _print_error("interrupted")
        sys.exit(130)
    sys.exit(code or 0)


def _complete_standard_streams() -> None:
    """Open the standard streams that the parent process has closed, and print characters that a console lacks as
    escapes.

    The next file that is opened would get a closed stream's descriptor, and be written to by every message."""
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run_without_parser(args: list[str], error: ImportError) -> int:
    if args[:1] != ["doctor"]:
        _print_error(f"{error}; run: selfmocap doctor")
        return 2
    return load_command("doctor")("json" if "json" in args else "text") or 0


def _print_error(text: str) -> None:
    """Print an error or a message in one line."""
    sys.stderr.write(f"selfmocap: {' '.join(text.splitlines())}\n")
