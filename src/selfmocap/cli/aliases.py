"""Arguments as users of other programs type them, in our words."""

from collections.abc import Iterator, Sequence

_VIDEO = {"--video", "--input", "--vid-file", "--img-folder", "--image-folder", "--images"}
_OURS = {"--output-folder": "--out", "--out-folder": "--out", "--output": "--out"}
_STATIC = {"-s", "--static-cam"}
"""Flags without a value."""


def ours(args: Sequence[str]) -> list[str]:
    """The arguments of `capture` and `observe` with the flags that demos of WHAM, GVHMR, VIBE or 4D-Humans have for the
    video, the folder and a camera that stands still; those of other commands as they are."""
    if not args or args[0] not in ("capture", "observe"):
        return list(args)
    return [word for arg in args for word in _in_our_words(arg)]


def _in_our_words(arg: str) -> Iterator[str]:
    flag, equals, value = arg.partition("=")
    name = flag.replace("_", "-") if flag.startswith("--") else flag
    if name in _VIDEO:
        yield from [value] if equals else []
    elif name in _STATIC:
        yield from ("--static-camera", "yes")
    else:
        yield _OURS.get(name, flag) + equals + value
