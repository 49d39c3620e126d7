"""Write the reference of the command line from the program's own help texts, in Markdown.

MkDocs calls `on_page_markdown` at every build (see mkdocs.yml), so that the page cannot go stale.

python scripts/cli_reference.py
"""

import contextlib
import io
import os
import re
from typing import Any

MARK = "<!-- command-line -->"
"""The place in a page where the reference goes."""


def help_of(*command: str) -> str:
    """Return what `selfmocap COMMAND --help` prints, without colours, in lines that are not wrapped."""
    from selfmocap.cli.main import main

    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR", "TERM")}
    os.environ.update(COLUMNS="2000", NO_COLOR="1", TERM="dumb")
    text = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    try:
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main([*command, "--help"])
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    text.seek(0)
    return re.sub(r"\x1b\[[0-9;]*m", "", text.read())


def sections_of(text: str) -> dict[str, list[tuple[str, str]]]:
    """Return the boxes of a help text by title: rows of an argument and its explanation."""
    sections: dict[str, list[tuple[str, str]]] = {}
    rows: list[tuple[str, str]] = []
    for line in text.splitlines():
        if title := re.match(r"[╭┌]─+ (.+?) ─+[╮┐]", line):
            rows = sections.setdefault(title[1], [])
        elif line.startswith("│"):
            text = line.strip("│").rstrip()
            if row := re.match(r" (?:  • )?(\S.*?)(?:\s{2,}(.*))?$", text):
                rows.append((row[1], row[2] or ""))
            elif text and rows:
                rows[-1] = rows[-1][0], f"{rows[-1][1]} {text.strip()}".strip()
    return sections


def table_of(rows: list[tuple[str, str]]) -> list[str]:
    """Return a Markdown table of arguments, explanations and default values."""
    lines = ["| argument | default | meaning |", "|---|---|---|"]
    for head, meaning in rows:
        default = re.search(r"\((?:default: (.*?)|(required))\)$", meaning)
        meaning = meaning[: default.start()].strip() if default else meaning
        value = (default[1] or "") if default else ""
        shown = "required" if default and default[2] else f"`{value}`" if value not in ("", "None") else ""
        lines.append(f"| `{escaped(head)}` | {shown} | {escaped(meaning)} |")
    return lines


def escaped(text: str) -> str:
    """Return `text` for a cell of a Markdown table."""
    return text.replace("{None}|", "").replace("|", "\\|").replace("<", "&lt;")


def description_of(text: str) -> str:
    """Return the sentences between the usage line and the first box of a help text."""
    before = re.split(r"^[╭┌]", text, maxsplit=1, flags=re.MULTILINE)[0]
    return "\n".join(line for line in before.splitlines() if not line.startswith("usage:")).strip()


def reference() -> str:
    """Return the whole reference in Markdown: each command with its arguments."""
    lines = []
    for command in commands_of(help_of()):
        text = help_of(*command.split())
        usage = re.search(r"^usage: (.*)", text, re.MULTILINE)
        assert usage, f"selfmocap {command} --help prints no usage"
        lines += [f"## {command}", "", description_of(text), "", "```text", usage[1], "```", ""]
        rows = [row for section in sections_of(text).values() for row in section]
        lines += [*table_of([row for row in rows if not row[0].startswith("-h,")]), ""]
    return "\n".join(lines)


def commands_of(text: str) -> list[str]:
    """Return the names of the commands in the help text of the program."""
    return re.findall(r"^  ([a-z][a-z-]*) ", text, re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the reference in its place in a page of the documentation (an event of MkDocs)."""
    return markdown.replace(MARK, reference()) if MARK in markdown else markdown


if __name__ == "__main__":
    print(reference())
