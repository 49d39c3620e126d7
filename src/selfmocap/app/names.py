"""Names of files that come from a browser."""

import re
import secrets
import unicodedata

_MAX_STEM, _MAX_SUFFIX, _MAX_TITLE = 60, 6, 200


def safe_name(name: str) -> str:
    """Return a name of a file in one folder: letters, digits, `-`, `_` and one dot before the suffix."""
    stem, dot, suffix = unicodedata.normalize("NFKC", name).rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    stem = re.sub(r"[^\w-]+", "_", stem).strip("_")[:_MAX_STEM]
    suffix = re.sub(r"[^A-Za-z0-9]", "", suffix)[:_MAX_SUFFIX].lower()
    return f"{stem or 'video'}.{suffix}" if suffix else stem or "video"


def title_of(name: str) -> str:
    """Return a name to show: printable, and of limited length."""
    return "".join(c for c in name if c.isprintable())[:_MAX_TITLE].strip() or "video"


def unused_id(name: str) -> str:
    """Return an id for a capture, which is also the name of its folder: ASCII, with a random end."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", safe_name(name).rpartition(".")[0] or name).strip("-").lower()[:40]
    return f"{stem or 'video'}-{secrets.token_hex(4)}"
