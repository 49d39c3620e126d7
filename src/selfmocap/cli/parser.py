"""Build the parser of a command from its signature and its config dataclasses.

The docstrings below the fields of a config are the help texts, and its defaults are the defaults."""

import ast
import contextlib
import dataclasses
import functools
import inspect
import io
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

_REGISTRY = ConstructorRegistry()
_CONFIG = (tyro.conf.OmitArgPrefixes,)


_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_HELP_INDENT = " " * 8

Command = Callable[..., int | None]


class UsageError(Exception):
    """The arguments do not fit the command."""


def parse_command(command: Command, name: str, args: Sequence[str]) -> Callable[[], int | None]:
    """Parse the arguments of one command; return the call of the command. Raises UsageError."""
    with _one_line_errors(f"selfmocap {name} --help"):
        return tyro.cli(
            _deferred(command), prog=f"selfmocap {name}", args=args, config=_CONFIG, registry=_REGISTRY
        )


def _deferred(command: Command) -> Callable[..., Callable[[], int | None]]:
    """Separate parsing from running."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], int | None]:
        return functools.partial(command, *args, **kwargs)

    return bind


@contextlib.contextmanager
def _one_line_errors(help_command: str) -> Iterator[None]:
    """Replace the boxes of tyro's errors by a UsageError of one line."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SystemExit as stop:
        if stop.code != 2:
            sys.stderr.write(printed.getvalue())
            raise
        raise UsageError(f"{summary_of_box(printed.getvalue())}; see {help_command}") from None


def summary_of_box(text: str) -> str:
    """Return the message of a box that tyro prints, and the option that it suggests, in one line."""
    lines = _ANSI.sub("", text).splitlines()
    if text.lstrip().startswith("╭"):
        rows = [line.strip("│")[1:].rstrip() for line in lines if line.startswith("│")]
    else:  # Without UTF-8: a title, a rule, and rows without borders.
        rows = [line[2:].rstrip() for line in lines[2:]]
    sections: list[list[str]] = [[]]
    for row in rows:
        if not row.strip(" ─-"):
            sections.append([])
        elif not row.startswith(_HELP_INDENT):
            sections[-1].append(row.strip())
    messages = [" ".join(section) for section in sections]
    suggestions = [message for message in messages[1:] if message.startswith("Perhaps you meant")]
    return "; ".join([messages[0].rstrip("."), *suggestions[:1]])


@_REGISTRY.struct_rule
def _config_rule(info: StructTypeInfo) -> StructConstructorSpec | None:
    if not (dataclasses.is_dataclass(info.type) and info.type.__module__.startswith("selfmocap.")):
        return None
    given = info.default if isinstance(info.default, info.type) else None
    hints = get_type_hints(info.type, include_extras=True)
    fields = [
        StructFieldSpec(
            name=field.name,
            type=_without_heading(hints[field.name]),
            default=_default(field) if given is None else getattr(given, field.name),
            helptext=functools.partial(_help_text, info.type, field.name),
        )
        for field in dataclasses.fields(info.type)
    ]
    return StructConstructorSpec(functools.partial(_construct, info.type), tuple(fields))


def _without_heading(annotation: Any) -> Any:
    """List the options of a nested config among those of the command."""
    return (
        Annotated[annotation, tyro.conf.arg(name="")] if dataclasses.is_dataclass(annotation) else annotation
    )


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return tyro.MISSING if field.default is dataclasses.MISSING else field.default


def _construct(config_type: type, **values: Any) -> Any:
    """Make the config. tyro would print a ValueError in a box of several lines."""
    try:
        return config_type(**values)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _help_text(config_type: type, field: str) -> str | None:
    for base in config_type.__mro__:
        if dataclasses.is_dataclass(base) and field in (docs := field_docs(base)):
            return docs[field]
    return None


@functools.cache
def field_docs(config_type: type) -> dict[str, str]:
    """Return the docstrings below the fields of a dataclass, each in one line without code marks."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(config_type))).body
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            docs[statement.target.id] = " ".join(str(following.value.value).split()).replace("`", "")
    return docs
