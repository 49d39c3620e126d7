"""The consoles of the command line: results go to standard output, messages and progress to standard error."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from selfmocap.io.files import printable_path

OUTPUT = Console(soft_wrap=True, highlight=False)
ERRORS = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def bold(path: Path | str) -> str:
    """Return rich markup of a path in bold; brackets in it are no markup."""
    return f"[bold]{escape(printable_path(path))}[/]"
