"""Read Acclaim skeletons and motions (`.asf`, `.amc`), as the CMU database publishes them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.io.text import MAX_RECORDING_FRAMES, MAX_SKELETON_JOINTS, parse_numbers, read_text

CMU_FPS = 120.0
"""Frame rate of the CMU database; an AMC file does not contain it."""
_INCH = 0.0254
_ROOT_ORDER = ("tx", "ty", "tz", "rx", "ry", "rz")
_TURNS = ("rx", "ry", "rz")


@dataclass
class _Bone:
    """A bone of an ASF file; it rotates about its start, where its parent ends."""

    name: str
    direction: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    length: float = 0.0
    axis: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    dof: tuple[str, ...] = ()


@dataclass
class _Skeleton:
    unit: float
    """Metres per unit."""
    degrees: bool
    bones: dict[str, _Bone]
    """Parents precede their children; the root is first."""
    parent: dict[str, str]


def read_amc(
    path: Path | str, skeleton: Path | str, fps: float | None = None, subject: str = ""
) -> SkeletonMotion:
    """Read the motion of an AMC file on the skeleton of an ASF file.

    A joint has the name of the bone that begins there; the free end of a last bone is a joint with `_end`. The result
    is in metres: a unit of the file is an inch divided by the ASF's `length`. Raises ValueError that names the file,
    the line and the expected content."""
    path = Path(path)
    asf = _read_skeleton(Path(skeleton))
    values = _read_frames(path, asf)
    frames = len(values["root"])
    names = [*asf.bones]
    ends = [name for name in names[1:] if name not in asf.parent.values()]
    R = torch.eye(3, dtype=torch.float64).repeat(frames, len(names) + len(ends), 1, 1)
    for index, bone in enumerate(asf.bones.values()):
        if turns := [axis for axis in bone.dof if axis in _TURNS]:
            columns = [bone.dof.index(axis) for axis in turns]
            angles = torch.zeros(frames, 3, dtype=torch.float64)
            angles[:, [_TURNS.index(axis) for axis in turns]] = values[bone.name][:, columns]
            R_axis = _euler(torch.tensor(bone.axis, dtype=torch.float64), asf.degrees)
            R[:, index] = R_axis @ _euler(angles, asf.degrees) @ R_axis.mT
    tips = torch.tensor([bone.direction for bone in asf.bones.values()], dtype=torch.float64)
    tips *= torch.tensor([bone.length * asf.unit for bone in asf.bones.values()], dtype=torch.float64)[
        :, None
    ]
    parents = [
        -1,
        *(names.index(asf.parent[name]) for name in names[1:]),
        *(names.index(name) for name in ends),
    ]
    root = [asf.bones["root"].dof.index(axis) for axis in ("tx", "ty", "tz")]
    return SkeletonMotion(
        name=path.stem,
        subject=subject,
        fps=fps or CMU_FPS,
        joint_names=(*names, *(f"{name}_end" for name in ends)),
        parents=tuple(parents),
        offsets=torch.stack([torch.zeros_like(tips[0]), *(tips[parent] for parent in parents[1:])]),
        R_parent_joint=R,
        p_world_root=values["root"][:, root] * asf.unit,
    )


def _euler(angles: Float[Tensor, "*batch 3"], degrees: bool) -> Float[Tensor, "*batch 3 3"]:
    """Rotate about x first, then y, then z, of fixed axes."""
    return roma.euler_to_rotmat("xyz", angles, degrees=degrees)


def _read_skeleton(path: Path) -> _Skeleton:
    sections = _sections(path)
    units = {words[0]: (line, words[1:]) for line, words in sections["units"]}
    line, words = units.get("length", (1, []))
    (length,) = parse_numbers(path, line, words, 1)
    if length <= 0:
        raise ValueError(f"{path}, line {line}: expected a positive unit of length, found {length}")
    root = _root(path, sections["root"])
    bones = {"root": root} | _bones(path, sections["bonedata"])
    parent = _parents(path, sections["hierarchy"], bones)
    ordered = ["root"]
    for name in ordered:
        ordered += [child for child, above in parent.items() if above == name]
    if missing := bones.keys() - set(ordered):
        raise ValueError(
            f"{path}: not connected to the root: {', '.join(sorted(missing))}; add them to :hierarchy"
        )
    return _Skeleton(
        _INCH / length,
        units.get("angle", (0, ["deg"]))[1] == ["deg"],
        {name: bones[name] for name in ordered},
        parent,
    )


def _sections(path: Path) -> dict[str, list[tuple[int, list[str]]]]:
    sections: dict[str, list[tuple[int, list[str]]]] = {}
    rows: list[tuple[int, list[str]]] = []
    for line, row in enumerate(read_text(path).splitlines(), start=1):
        words = row.split("#", 1)[0].split()
        if words and words[0].startswith(":"):
            rows = sections.setdefault(words[0][1:].lower(), [])
        elif words:
            rows.append((line, words))
    if missing := {"units", "root", "bonedata", "hierarchy"} - sections.keys():
        raise ValueError(f"{path}: not an ASF skeleton; missing sections: {', '.join(sorted(missing))}")
    return sections


def _root(path: Path, rows: list[tuple[int, list[str]]]) -> _Bone:
    root = _Bone("root", dof=_ROOT_ORDER)
    for line, (key, *words) in rows:
        if key == "order":
            root.dof = tuple(word.lower() for word in words)
        elif key == "orientation":
            root.axis = parse_numbers(path, line, words, 3)
        elif key == "axis" and words != ["XYZ"]:
            raise ValueError(f"{path}, line {line}: axis order {' '.join(words)}; only XYZ is supported")
    if sorted(root.dof) != sorted(_ROOT_ORDER):
        raise ValueError(
            f"{path}: expected an order of TX TY TZ RX RY RZ for the root, found {' '.join(root.dof)}"
        )
    return root


def _bones(path: Path, rows: list[tuple[int, list[str]]]) -> dict[str, _Bone]:
    bones: dict[str, _Bone] = {}
    bone = _Bone("")
    for line, (key, *words) in rows:
        if key == "name" and words:
            bone = bones.setdefault(words[0], _Bone(words[0]))
        elif key == "direction":
            bone.direction = parse_numbers(path, line, words, 3)
        elif key == "length":
            (bone.length,) = parse_numbers(path, line, words, 1)
        elif key == "axis":
            if words[3:] != ["XYZ"]:
                raise ValueError(
                    f"{path}, line {line}: expected three angles and XYZ, found {' '.join(words)}"
                )
            bone.axis = parse_numbers(path, line, words[:3], 3)
        elif key == "dof":
            bone.dof = tuple(word.lower() for word in words)
            if not set(bone.dof) <= set(_TURNS):
                raise ValueError(
                    f"{path}, line {line}: dof {' '.join(words)}; only rx, ry and rz are supported"
                )
    if not 0 < len(bones) <= MAX_SKELETON_JOINTS:
        raise ValueError(f"{path}: {len(bones)} bones; expected 1 to {MAX_SKELETON_JOINTS}")
    return bones


def _parents(path: Path, rows: list[tuple[int, list[str]]], bones: dict[str, _Bone]) -> dict[str, str]:
    parent: dict[str, str] = {}
    for line, (above, *children) in rows:
        if above in ("begin", "end"):
            continue
        for child in children:
            if child in parent or child not in bones or above not in bones or child == "root":
                raise ValueError(
                    f"{path}, line {line}: {child} under {above}: unknown bone, or a second parent"
                )
            parent[child] = above
    return parent


def _read_frames(path: Path, asf: _Skeleton) -> dict[str, Float[Tensor, "time dof"]]:
    moving = {name: len(bone.dof) for name, bone in asf.bones.items() if bone.dof}
    found: dict[str, list[float]] = {name: [] for name in moving}
    frames = 0
    for line, row in enumerate(read_text(path).splitlines(), start=1):
        words = row.split()
        if not words or words[0][0] in "#:":
            if words == [":RADIANS"] and asf.degrees:
                raise ValueError(
                    f"{path}, line {line}: radians, but the skeleton uses degrees; convert one of them"
                )
            continue
        name = words[0]
        if name.isdigit() and len(words) == 1:
            _check_frame(path, line, frames, found, moving)
            frames += 1
        elif len(words) - 1 != moving.get(name, -1) or len(found[name]) != (frames - 1) * moving[name]:
            raise ValueError(
                f"{path}, line {line}: {row[:60]!r}: expected each bone of the skeleton once per frame with "
                f"{moving.get(name, 'its')} angles; is it the right .asf file?"
            )
        else:
            found[name] += (
                map(float, words[1:]) if _plain(words) else parse_numbers(path, line, words[1:], moving[name])
            )
    _check_frame(path, 0, frames, found, moving)
    if not 0 < frames <= MAX_RECORDING_FRAMES:
        raise ValueError(f"{path}: {frames} frames; expected 1 to {MAX_RECORDING_FRAMES}")
    return {name: torch.from_numpy(np.reshape(found[name], (frames, moving[name]))) for name in moving}


def _plain(words: list[str]) -> bool:
    """Test whether float() neither fails nor returns an infinite number: digits, at most a sign and a point, no
    exponent."""
    return len(words) > 1 and all(word.lstrip("-").replace(".", "", 1).isdecimal() for word in words[1:])


def _check_frame(
    path: Path, line: int, frames: int, found: dict[str, list[float]], moving: dict[str, int]
) -> None:
    lacks = [name for name, values in found.items() if len(values) != frames * moving[name]]
    if lacks:
        where = f"line {line}" if line else "the end"
        raise ValueError(
            f"{path}, {where}: frame {frames} lacks {', '.join(lacks[:3])}; the file was cut off"
        )
