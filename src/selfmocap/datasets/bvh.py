"""Read Biovision hierarchies (`.bvh`)."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.datasets.text import MAX_SKELETON_JOINTS, parse_number_table, parse_numbers, read_text

_UNITS = (1.0, 0.01, 0.001, 0.0254, 0.0254 / 0.45)
"""Metres per unit: metre, centimetre, millimetre, inch, and CMU's. The format does not define the unit."""
_EXPECTED_EXTENT = 1.6
"""Metres: the unit is the one that brings the skeleton's extent nearest to this."""
_CHANNEL = re.compile("[XYZ](position|rotation)")


@dataclass
class _Joint:
    name: str
    parent: int
    offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    channels: list[str] = field(default_factory=list)


def read_bvh(path: Path | str, fps: float | None = None, subject: str = "") -> SkeletonMotion:
    """Read the motion of a BVH file.

    End sites become joints named after their parent with `_end`. The unit of length is recognised from the skeleton's
    size. `fps` overrides the header, which is often wrong. Raises ValueError that names the file, the line and the
    expected content."""
    path = Path(path)
    text = read_text(path)
    split = re.search(r"^[ \t]*MOTION[ \t]*\r?$", text, re.MULTILINE)
    if split is None:
        raise ValueError(f"{path}: no line MOTION; expected a BVH file with HIERARCHY and MOTION sections")
    joints = _hierarchy(path, text[: split.start()])
    table, frame_time = _frames(path, text, split.end(), sum(len(joint.channels) for joint in joints))
    R_parent_joint, positions = _channels(path, joints, torch.from_numpy(table))
    offsets = torch.tensor([joint.offset for joint in joints], dtype=torch.float64)
    root = positions.get(0, torch.zeros(len(table), 3, dtype=torch.float64))
    for index in positions.keys() - {0}:
        offsets[index] = _rigid_offset(path, joints[index].name, positions[index])
    root = offsets[0] + positions[0]
    offsets[0] = 0
    offsets = _restore_thorax(joints, offsets)
    unit = _unit(offsets, tuple(joint.parent for joint in joints), R_parent_joint[0])
    return SkeletonMotion(
        name=path.stem,
        subject=subject,
        fps=fps or 1 / frame_time,
        joint_names=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=offsets * unit,
        R_parent_joint=R_parent_joint,
        p_world_root=root * unit,
    )


def _hierarchy(path: Path, text: str) -> list[_Joint]:
    joints: list[_Joint] = []
    open_joints: list[int] = []
    for line, words in enumerate((row.split() for row in text.splitlines()), start=1):
        match words:
            case [] | ["HIERARCHY"] | ["{"]:
                continue
            case ["}"] if open_joints:
                open_joints.pop()
            case ["ROOT" | "JOINT" | "End", *name] if len(joints) < MAX_SKELETON_JOINTS and name:
                parent = open_joints[-1] if open_joints else -1
                if (parent < 0) != (words[0] == "ROOT") or (words[0] == "ROOT" and joints):
                    raise ValueError(
                        f"{path}, line {line}: expected one ROOT that contains all JOINTs, found {words[0]}"
                    )
                label = f"{joints[parent].name}_end" if words[0] == "End" else " ".join(name)
                open_joints.append(len(joints))
                joints.append(_Joint(label, parent))
            case ["OFFSET", *values] if open_joints:
                joints[open_joints[-1]].offset = parse_numbers(path, line, values, 3)
            case ["CHANNELS", count, *names] if open_joints and str(len(names)) == count:
                _check_channels(path, line, names)
                joints[open_joints[-1]].channels = names
            case _:
                raise ValueError(
                    f"{path}, line {line}: not valid in a BVH hierarchy: {' '.join(words)[:80]!r}"
                )
    if open_joints or not joints:
        raise ValueError(f"{path}: the hierarchy is not complete; export the file again")
    return joints


def _check_channels(path: Path, line: int, names: list[str]) -> None:
    kinds = [_CHANNEL.fullmatch(name) for name in names]
    rotations = [name for name in names if name.endswith("rotation")]
    if not all(kinds) or len(set(names)) < len(names) or len(rotations) != 3 or len(names) not in (3, 6):
        raise ValueError(
            f"{path}, line {line}: expected 3 rotation channels, or 3 position and 3 rotation channels, found "
            f"{' '.join(names)[:80]!r}"
        )


def _frames(path: Path, text: str, start: int, columns: int) -> tuple[np.ndarray, float]:
    header = re.compile(r"\s*Frames:\s*(\d+)\s*Frame Time:\s*(\S+)[ \t]*\r?\n").match(text, start)
    if header is None:
        raise ValueError(f"{path}: after MOTION, expected 'Frames: N' and 'Frame Time: seconds'")
    first_line = text.count("\n", 0, header.end()) + 1
    (frame_time,) = parse_numbers(path, first_line - 1, [header[2]], 1)
    if not 1e-4 <= frame_time <= 10:
        raise ValueError(
            f"{path}, line {first_line - 1}: expected a frame time of about 0.01 to 0.04 s, found {frame_time}"
        )
    table = parse_number_table(path, text[header.end() :], first_line, columns, None)
    declared = int(header[1])
    # Writers disagree on whether the rest pose they put first is counted.
    if not declared <= len(table) <= declared + 1:
        raise ValueError(
            f"{path}: 'Frames: {declared}', but {len(table)} follow; the file is truncated or edited"
        )
    return table, frame_time


def _channels(
    path: Path, joints: list[_Joint], table: Float[Tensor, "time channels"]
) -> tuple[Float[Tensor, "time joints 3 3"], dict[int, Float[Tensor, "time 3"]]]:
    """Compute the rotations of all joints, and the positions (in the file's unit) of joints with position channels."""
    R = torch.eye(3, dtype=torch.float64).repeat(len(table), len(joints), 1, 1)
    positions: dict[int, Tensor] = {}
    by_order: dict[str, tuple[list[int], list[int]]] = {}
    column = 0
    for index, joint in enumerate(joints):
        place = {name: column + k for k, name in enumerate(joint.channels)}
        column += len(joint.channels)
        turns = [name for name in joint.channels if name.endswith("rotation")]
        if turns:
            members, columns = by_order.setdefault("".join(name[0] for name in turns), ([], []))
            members.append(index)
            columns.extend(place[name] for name in turns)
        if len(place) == 6:
            positions[index] = table[:, [place[f"{axis}position"] for axis in "XYZ"]]
    for order, (members, columns) in by_order.items():
        angles = table[:, columns].unflatten(1, (len(members), 3))
        R[:, members] = roma.euler_to_rotmat(order, angles, degrees=True)
    if 0 not in positions:
        raise ValueError(
            f"{path}: the root {joints[0].name} has no position channels; export the file with root positions"
        )
    return R, positions


def _rigid_offset(path: Path, name: str, position: Float[Tensor, "time 3"]) -> Float[Tensor, "3"]:
    mean = position.median(0).values
    if (position - mean).norm(dim=-1).max() > 0.02 * mean.norm() + 1e-6:
        raise ValueError(
            f"{path}: the bone that ends at {name} changes length; export rotations only, or bake them"
        )
    return mean


def _restore_thorax(joints: list[_Joint], offsets: Float[Tensor, "joints 3"]) -> Float[Tensor, "joints 3"]:
    """Restore the thorax bone that a common conversion of the CMU recordings lost, so that neck and collars stand where
    the chest rotates, 11 cm too low. The bone is as long as the one below it (to 1 % in CMU's own skeletons)."""
    place = {joint.name: index for index, joint in enumerate(joints)}
    above = [place[name] for name in ("lowerneck", "LeftCollar", "RightCollar") if name in place]
    if "Chest2" in place and all(joints[i].parent == place["Chest2"] and not offsets[i].any() for i in above):
        offsets[above, 1] = offsets[place["Chest2"]].norm()
    return offsets


def _unit(
    offsets: Float[Tensor, "joints 3"], parents: tuple[int, ...], R_first: Float[Tensor, "joints 3 3"]
) -> float:
    still = SkeletonMotion(
        "",
        "",
        1.0,
        ("",) * len(parents),
        parents,
        offsets,
        R_first[None],
        torch.zeros(1, 3, dtype=torch.float64),
    )
    extent = max(float(np.ptp(still.world()[1][0].numpy(), axis=0).max()), 1e-9)
    return min(_UNITS, key=lambda unit: abs(np.log(extent * unit / _EXPECTED_EXTENT)))
