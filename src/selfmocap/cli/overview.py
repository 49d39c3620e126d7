"""The help of the program itself: its commands in a line each.

This module imports neither the commands nor the parser of their options: that takes longer than starting Python."""

import ast
import difflib
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

_DESCRIPTION = "Markerless motion capture from one video."
_INDENT = 20
"""Columns before the text of a command."""


def overview(commands: Sequence[str]) -> str:
    """Return the help text of the program."""
    width = shutil.get_terminal_size().columns
    rows = [
        textwrap.fill(
            command_summary(name),
            width,
            initial_indent=f"  {name:{_INDENT - 2}}",
            subsequent_indent=" " * _INDENT,
        )
        for name in commands
    ]
    usage = "usage: selfmocap COMMAND ...\n       selfmocap COMMAND --help\n       selfmocap --version"
    return "\n".join([usage, "", _DESCRIPTION, "", "commands:", *rows, ""])


def command_summary(name: str) -> str:
    """Return the first line of the docstring of a command's function, from the source of its module."""
    module = name.replace("-", "_")
    tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    return (ast.get_docstring(functions[f"{module}_command"]) or "").splitlines()[0]


def unknown_command(args: Sequence[str], commands: Sequence[str]) -> str:
    """Return the message for arguments that do not begin with a command."""
    found = repr(args[0]) if args else "nothing"
    similar = difflib.get_close_matches(args[0], commands, n=1) if args else []
    meant = f"; did you mean {similar[0]}?" if similar else ""
    return f"expected a command ({', '.join(commands)}), found {found}{meant}; see selfmocap --help"
