"""Parse the text of Biovision hierarchies (`.bvh`) as their many writers lay it out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from selfmocap.io.text import (
    MAX_SKELETON_JOINTS,
    parse_number_stream,
    parse_numbers,
    read_text,
    split_numbers,
)

_MOTION = re.compile(r"^[ \t}]*MOTION\b[ \t]*(?=\n|Frames)", re.MULTILINE | re.IGNORECASE)
_HEADER = re.compile(r"\s*Frames\s*:?\s*(\d+)\s+Frame\s*Time\s*:?\s*([^\s:]+)[ \t]*\n", re.IGNORECASE)
_CHANNEL = re.compile("([XYZ])(position|rotation)", re.IGNORECASE)
_KEYWORDS = {"HIERARCHY", "ROOT", "JOINT", "END", "OFFSET", "CHANNELS", "{", "}"}
_NAMED = ("ROOT", "JOINT", "END")
_MAX_HIERARCHY_CHARACTERS = 1 << 22


@dataclass
class BvhJoint:
    """A joint of the hierarchy, or the end of a last bone."""

    name: str
    parent: int
    line: int
    offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    channels: list[str] = field(default_factory=list)
    """`Xposition` to `Zrotation`, in the order of their columns."""


@dataclass(frozen=True, eq=False)
class BvhText:
    """The content of a file."""

    joints: list[BvhJoint]
    """A parent precedes its children; names are unique."""
    table: np.ndarray
    """(frames, channels of all joints)."""
    frame_time: float
    """Seconds, as the header declares them."""
    frame_time_line: int


def parse_bvh(path: Path) -> BvhText:
    """Read a file's hierarchy and frames.

    Keywords may be in any case, braces and numbers on any line; names may contain spaces. Raises ValueError that names
    the file, the line and the expected content."""
    text = read_text(path)
    split = _MOTION.search(text)
    if split is None:
        raise ValueError(f"{path}: no line MOTION; expected a BVH file with HIERARCHY and MOTION sections")
    joints = _hierarchy(path, text[: split.end()].rstrip()[: -len("MOTION")])
    header = _HEADER.match(text, split.end())
    if header is None:
        line = text.count("\n", 0, split.end()) + 1
        raise ValueError(
            f"{path}, line {line}: after MOTION, expected 'Frames: N' and 'Frame Time: seconds'; export the file again"
        )
    first_line = text.count("\n", 0, header.end()) + 1
    (frame_time,) = parse_numbers(path, first_line - 1, [header[2]], 1)
    if not 1e-4 <= frame_time <= 10:
        raise ValueError(
            f"{path}, line {first_line - 1}: expected a frame time of about 0.01 to 0.04 s, found {frame_time}; "
            "correct it"
        )
    columns = sum(len(joint.channels) for joint in joints)
    if columns == 0:
        raise ValueError(f"{path}: no joint has CHANNELS; export the file with its motion")
    table = parse_number_stream(path, text[header.end() :], first_line, columns)
    declared = int(header[1])
    # Writers disagree on whether the rest pose that they put first is counted, and some count from 0.
    if abs(declared - len(table)) > 1:
        raise ValueError(
            f"{path}, line {first_line - 2}: 'Frames: {declared}', but {len(table)} follow; the file is truncated or "
            "edited: export it again, or correct the number"
        )
    return BvhText(joints, table, frame_time, first_line - 1)


def _hierarchy(path: Path, text: str) -> list[BvhJoint]:
    if len(text) > _MAX_HIERARCHY_CHARACTERS:
        raise ValueError(f"{path}: a hierarchy of {len(text)} characters; expected a skeleton of a person")
    joints: list[BvhJoint] = []
    open_joints: list[int] = []
    before = ""
    for line, keyword, words in _entries(text):
        if (before in _NAMED) != (keyword == "{"):
            raise ValueError(
                f"{path}, line {line}: expected a brace after the name of a joint, and only there"
            )
        before = keyword
        if (keyword == "HIERARCHY" or (keyword == "{" and joints)) and not words:
            continue
        if keyword in _NAMED and words and len(joints) < MAX_SKELETON_JOINTS:
            if (keyword == "ROOT") != (not joints) or (joints and not open_joints):
                raise ValueError(
                    f"{path}, line {line}: expected one ROOT that contains all JOINTs, found {keyword}"
                )
            parent = open_joints[-1] if open_joints else -1
            label = f"{joints[parent].name}_end" if keyword == "END" else " ".join(words)
            open_joints.append(len(joints))
            joints.append(BvhJoint(_unique(label, joints), parent, line))
        elif keyword == "}" and open_joints and not words:
            open_joints.pop()
        elif keyword == "OFFSET" and open_joints:
            joints[open_joints[-1]].offset = parse_numbers(
                path, line, split_numbers(" ".join(words)).split(), 3
            )
        elif keyword == "CHANNELS" and open_joints:
            joints[open_joints[-1]].channels = _channels(path, line, words)
        else:
            found = " ".join([keyword, *words])
            raise ValueError(f"{path}, line {line}: not valid in a BVH hierarchy: {found[:80]!r}")
    if open_joints or not joints:
        raise ValueError(f"{path}: the hierarchy is not complete; export the file again")
    return joints


def _entries(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Split the hierarchy at its keywords: the line and the keyword, in capitals, and the words up to the next one."""
    line, keyword = 0, ""
    words: list[str] = []
    for number, row in enumerate(text.split("\n"), start=1):
        for word in row.replace("{", " { ").replace("}", " } ").split():
            if word in "{}" or (keyword not in _NAMED and word.upper() in _KEYWORDS) or not keyword:
                if keyword:
                    yield line, keyword, words
                line, keyword, words = number, word.upper(), []
            else:
                words.append(word)
    if keyword:
        yield line, keyword, words


def _unique(label: str, joints: list[BvhJoint]) -> str:
    names = {joint.name for joint in joints}
    number, unique = 1, label
    while unique in names:
        number += 1
        unique = f"{label}_{number}"
    return unique


def _channels(path: Path, line: int, words: list[str]) -> list[str]:
    found = [_CHANNEL.fullmatch(word) for word in words[1:]]
    names = [f"{match[1].upper()}{match[2].lower()}" for match in found if match is not None]
    positions = sum(name.endswith("position") for name in names)
    if (
        not words
        or words[0] != str(len(names))
        or len(names) != len(found)
        or len(set(names)) != len(names)
        or positions not in (0, 3)
    ):
        raise ValueError(
            f"{path}, line {line}: expected the number of channels and then 3 rotation channels, or 3 position and "
            f"3 rotation channels, found {' '.join(words)[:80]!r}"
        )
    return names
