"""The consoles of the command line: results go to standard output, messages and progress to standard error."""

from rich.console import Console

OUTPUT = Console(soft_wrap=True, highlight=False)
ERRORS = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
