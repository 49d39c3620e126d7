"""Accept former flags of this program and the flags of WHAM, GVHMR, VIBE and 4D-Humans as aliases.

Each alias is replaced by the present flag, and the replacement is announced once."""

from collections.abc import Callable, Iterator, Sequence

_FORMER_FLAGS = {
    "capture": {"--export": "--formats"},
    "capture-many": {"--export": "--formats"},
    "predict": {"--export": "--formats"},
    "export": {"--to": "--formats"},
    "evaluate": {"--json": "--json-out"},
    "adapt": {"--learn-from": "--init-from"},
    "train": {"--begin": "--init-from"},
    "train-temporal": {"--untold": "--unlabelled-fraction"},
    "validate": {"--frames": "--validation-frames"},
    "validate-temporal": {"--clips": "--validation-clips"},
    "doctor": {"--json": "--format json", "--no-json": "--format text"},
}
"""Present flags by command and former flag; with a value where the former flag had none."""
_FORMER_DETECTORS = {"mediapipe": "blazepose", "mediapipe-legacy": "blazepose"}
"""The same models, now run without MediaPipe."""
_OTHER_PROGRAMS_COMMANDS = ("capture", "observe")
_VIDEO_FLAGS = {"--video", "--input", "--vid-file", "--img-folder", "--image-folder", "--images"}
"""Flags whose value is the positional argument VIDEO."""
_OTHER_PROGRAMS_FLAGS = {
    "--output-folder": "--out",
    "--out-folder": "--out",
    "--output": "--out",
    "-s": "--static-camera yes",
    "--static-cam": "--static-camera yes",
}


def normalise_aliases(args: Sequence[str], announce: Callable[[str], None]) -> list[str]:
    """Replace aliases in the arguments of a command line, `args[0]` being the command. `announce` is called with one
    sentence per alias."""
    announced: set[str] = set()

    def announce_once(sentence: str) -> None:
        if sentence not in announced:
            announced.add(sentence)
            announce(sentence)

    command = args[0] if args else ""
    words = [word for arg in args for word in _replace(command, arg, announce_once)]
    for n, word in enumerate(words):
        flag, _, value = word.rpartition("=")
        if (flag or ("", *words)[n]) == "--detector" and value in _FORMER_DETECTORS:
            announce_once(f"--detector {value} is now --detector {_FORMER_DETECTORS[value]}")
            words[n] = word.removesuffix(value) + _FORMER_DETECTORS[value]
    return words


def _replace(command: str, arg: str, announce: Callable[[str], None]) -> Iterator[str]:
    flag, equals, value = arg.partition("=")
    name = flag.replace("_", "-") if flag.startswith("--") else flag
    former = _FORMER_FLAGS.get(command, {}).get(name)
    is_other = command in _OTHER_PROGRAMS_COMMANDS
    if is_other and name in _VIDEO_FLAGS:
        announce(f"{flag} is not needed: the video is a positional argument")
        yield from [value] if equals else []
    elif present := former or (_OTHER_PROGRAMS_FLAGS.get(name) if is_other else None):
        announce(f"{flag} is now {present}" if former else f"{flag} is {present} here")
        first, *more = present.split()
        yield from (first + equals + value, *more)
    else:
        yield arg
