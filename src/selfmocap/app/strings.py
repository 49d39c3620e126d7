"""The English sentences of the page and of its server: all are in `page/strings.en.json`."""

import functools
import json
from importlib.resources import files
from typing import Any


@functools.cache
def sentences() -> dict[str, str]:
    """Return the sentences by their keys."""
    return json.loads((files("selfmocap.app") / "page" / "strings.en.json").read_text(encoding="utf-8"))


def text(key: str, **values: Any) -> str:
    """Return a sentence with its values filled in."""
    return sentences()[key].format(**values)
