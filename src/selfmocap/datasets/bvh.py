"""Read Biovision hierarchies (`.bvh`)."""

import logging
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.datasets.retargeting.rig_structure import trunk_root
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.datasets.retargeting.upright import turned_upright
from selfmocap.io.bvh_syntax import BvhJoint, BvhText, parse_bvh

_UNITS = (1.0, 0.01, 0.001, 0.0254, 0.0254 / 0.45)
"""Metres per unit: metre, centimetre, millimetre, inch, and CMU's. The format does not define the unit."""
_EXPECTED_EXTENT = 1.6
"""Metres: the unit is the one that brings the skeleton's extent nearest to this."""
_RIGID_FRACTION = 0.02
"""A bone whose end stays within this fraction of its length is rigid."""
_MIN_POSES_PER_SECOND = 10.0
"""No recording has fewer. A file that repeats its poses more slowly declares a wrong frame time."""
_MIN_RUNS = 5
_REGULAR_FRACTION = 0.9

_log = logging.getLogger(__name__)


def read_bvh(path: Path | str, fps: float | None = None, subject: str = "") -> SkeletonMotion:
    """Read the motion of a BVH file.

    End sites become joints named after their parent with `_end`. The unit of length is recognised from the skeleton's
    size, and a world that is z up is turned y up. Nodes above the hips are dropped where they move the hips. `fps`
    overrides the header, which is often wrong. Raises ValueError that names the file, the line and the expected
    content."""
    path = Path(path)
    text = parse_bvh(path)
    if fps is None:
        _check_repeats(path, text)
    parents = tuple(joint.parent for joint in text.joints)
    offsets = torch.tensor([joint.offset for joint in text.joints], dtype=torch.float64)
    R, positions = _channels(text.joints, torch.from_numpy(text.table))
    if not positions:
        raise ValueError(
            f"{path}, line {text.joints[0].line}: neither the root {text.joints[0].name} nor a joint below has "
            "position channels; export the file with root positions"
        )
    offsets, paths = _rigid_and_moving(offsets, positions)
    paths.setdefault(0, offsets[0].expand(len(R), 3))
    kept, R, root = _from_the_hips(text.joints, parents, offsets, R, paths)
    if flexible := sorted(paths.keys() & set(kept[1:])):
        joint = text.joints[flexible[0]]
        raise ValueError(
            f"{path}, line {joint.line}: the bone that ends at {joint.name} changes its length; export the file with "
            "rotations only, or with its bones' lengths fixed"
        )
    place = {joint: index for index, joint in enumerate(kept)}
    names = tuple(text.joints[joint].name for joint in kept)
    parents = (-1, *(place[parents[joint]] for joint in kept[1:]))
    offsets = offsets[kept]
    offsets[0] = 0
    offsets = _restore_thorax(names, parents, offsets)
    unit = _unit(offsets, parents, R[0])
    motion = SkeletonMotion(
        path.stem, subject, fps or 1 / text.frame_time, names, parents, offsets * unit, R, root * unit
    )
    upright = turned_upright(motion)
    if upright is not motion:
        _log.warning("%s: its world is z up; the motion was turned to y up", path)
    return upright


def _check_repeats(path: Path, text: BvhText) -> None:
    repeats = _rows_per_pose(text.table)
    poses_per_second = 1 / (text.frame_time * repeats)
    if repeats > 1 and poses_per_second < _MIN_POSES_PER_SECOND:
        raise ValueError(
            f"{path}, line {text.frame_time_line}: 'Frame Time: {text.frame_time}', but {repeats} rows repeat each "
            f"pose: {poses_per_second:.1f} poses per second; expected at least {_MIN_POSES_PER_SECOND:.0f}. Correct "
            "the line, or give the true rate as fps in motions.csv"
        )


def _rows_per_pose(table: np.ndarray) -> int:
    """Return how many equal rows follow each other throughout, 1 where that number varies."""
    starts = np.flatnonzero((table[1:] != table[:-1]).any(1))
    runs = np.diff(starts)
    if len(runs) < _MIN_RUNS:
        return 1
    usual = int(np.median(runs))
    return usual if (np.abs(runs - usual) <= 1).mean() > _REGULAR_FRACTION else 1


def _channels(
    joints: list[BvhJoint], table: Float[Tensor, "time channels"]
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
        if "Xposition" in place:
            positions[index] = table[:, [place[f"{axis}position"] for axis in "XYZ"]]
    for order, (members, columns) in by_order.items():
        angles = table[:, columns].unflatten(1, (len(members), len(order)))
        R[:, members] = roma.euler_to_rotmat(order, angles, degrees=True)
    return R, positions


def _rigid_and_moving(
    offsets: Float[Tensor, "joints 3"], positions: dict[int, Float[Tensor, "time 3"]]
) -> tuple[Float[Tensor, "joints 3"], dict[int, Float[Tensor, "time 3"]]]:
    """Return the joints' places in their parents, and the paths of the root and of those that move there.

    Position channels of the root are added to its offset. Those of other joints replace it in the files of some
    writers, and are added in those of others: the sum of their distances decides."""
    inner = {joint: p.median(0).values for joint, p in positions.items() if joint}
    added = sum(p.norm() for p in inner.values()) < sum(
        (p - offsets[joint]).norm() for joint, p in inner.items()
    )
    rigid, moving = offsets.clone(), {}
    for joint, p in positions.items():
        path = p + offsets[joint] if added or joint == 0 else p
        middle = path.median(0).values
        if joint == 0 or (path - middle).norm(dim=-1).max() > _RIGID_FRACTION * middle.norm() + 1e-6:
            moving[joint] = path
        else:
            rigid[joint] = middle
    return rigid, moving


def _from_the_hips(
    joints: list[BvhJoint],
    parents: tuple[int, ...],
    offsets: Float[Tensor, "joints 3"],
    R: Float[Tensor, "time joints 3 3"],
    paths: dict[int, Float[Tensor, "time 3"]],
) -> tuple[list[int], Float[Tensor, "time kept 3 3"], Float[Tensor, "time 3"]]:
    """Return the joints from the hips on, their rotations and the path of the first; all joints if no node above the
    hips moves them. `paths` holds the positions in the parent of the joints that move in it."""
    root = trunk_root(tuple(joint.name for joint in joints), parents, offsets)
    chain = [root]
    while parents[chain[0]] >= 0:
        chain.insert(0, parents[chain[0]])
    if not paths.keys() & set(chain[1:]):
        return list(range(len(joints))), R, paths[0]
    R_world, p_world = R[:, 0], paths[0]
    for joint in chain[1:]:
        step = paths.get(joint, offsets[joint].expand(len(R), 3))
        p_world = p_world + torch.einsum("tij,tj->ti", R_world, step)
        R_world = R_world @ R[:, joint]
    kept = [root]
    for joint, parent in enumerate(parents):
        if parent in kept:
            kept.append(joint)
    R = R[:, kept]
    R[:, 0] = R_world
    return kept, R, p_world


def _restore_thorax(
    names: tuple[str, ...], parents: tuple[int, ...], offsets: Float[Tensor, "joints 3"]
) -> Float[Tensor, "joints 3"]:
    """Restore the thorax bone that a common conversion of the CMU recordings lost, so that neck and collars stand where
    the chest rotates, 11 cm too low. The bone is as long as the one below it (to 1 % in CMU's own skeletons)."""
    place = {name: index for index, name in enumerate(names)}
    above = [place[name] for name in ("lowerneck", "LeftCollar", "RightCollar") if name in place]
    if "Chest2" in place and all(parents[i] == place["Chest2"] and not offsets[i].any() for i in above):
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
