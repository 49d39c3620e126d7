"""Recognise a person's skeleton by the structure of its tree, whatever its joints are named."""

import os
import re
from dataclasses import dataclass
from itertools import combinations, permutations

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.datasets.retargeting.rigs import RIG_NAMINGS, RigNaming
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion

_PAIR_TOLERANCE = 0.15
"""Relative difference in length of the bones of a left and a right limb."""
_COMPARED_BONES = 3
_MIN_LIMB_FRACTION = 0.2
"""A limb is at least this part of the longest way from the root to an end: fingers are not."""
_MIN_SHOULDER_WIDTH = 0.35
"""Distance of the shoulders, by the length of upper arm and forearm: 0.44 to 0.86 in the known rigs, and at most 0.3
between the inner ends of long collar bones, which would pass for upper arms."""
_COINCIDENT_FRACTION = 0.01
"""Joints nearer to each other than this part of a limb are at one place."""
_TWIST = re.compile("twist|roll", re.IGNORECASE)
_HEAD = re.compile("head", re.IGNORECASE)


@dataclass(frozen=True)
class _Tree:
    names: tuple[str, ...]
    parents: tuple[int, ...]
    children: list[list[int]]
    length: list[float]
    """Of the bone that ends at each joint."""
    reach: list[float]
    """The longest way from the parent of each joint through it to an end."""

    def above(self, joint: int) -> list[int]:
        """Return the joint and its ancestors, up to the root."""
        chain = [joint]
        while self.parents[chain[-1]] >= 0:
            chain.append(self.parents[chain[-1]])
        return chain


@dataclass(frozen=True)
class _Pair:
    """The first joints of two equal limbs, and the joint that they hang on."""

    parent: int
    first: int
    second: int


@dataclass(frozen=True)
class _Limb:
    """The joints of an arm or a leg."""

    collar: int
    proximal: int
    middle: int
    distal: int
    tip: int | None
    """The joint beyond the ankle or the wrist."""


def identify_rig(motion: SkeletonMotion) -> RigNaming:
    """Find the parts of a person in a skeleton: by the joint names of the known rigs, with any namespace or prefix that
    ends with a colon, or else by the structure of the tree. Raises ValueError if neither is that of a person."""
    plain = {_plain(name): name for name in reversed(motion.joint_names)}
    for rig in RIG_NAMINGS:
        if rig.joints() <= set(motion.joint_names):
            return rig
    for rig in RIG_NAMINGS:
        if {_plain(name) for name in rig.joints()} <= plain.keys():
            return rig.renamed(lambda name: plain[_plain(name)])
    inferred = infer_rig(motion)
    if inferred is None:
        raise ValueError(
            f"{motion.name}: a skeleton of an unknown kind; expected two legs, a trunk with two arms and a head, or "
            f"the joint names of {', '.join(rig.name for rig in RIG_NAMINGS)}, found "
            f"{', '.join(motion.joint_names[:6])}"
        )
    return inferred


def _plain(name: str) -> str:
    return re.split(r"[:|]", name)[-1]


def trunk_root(names: tuple[str, ...], parents: tuple[int, ...], offsets: Float[Tensor, "joints 3"]) -> int:
    """Return the lowest joint that moves the legs and the arms; 0 if the tree is not that of a person."""
    tree = _tree(names, parents, offsets)
    pairs = _legs_and_arms(tree)
    if pairs is None:
        return 0
    above_legs = tree.above(pairs[0].parent)
    return next(joint for joint in tree.above(pairs[1].parent) if joint in above_legs)


def infer_rig(motion: SkeletonMotion) -> RigNaming | None:
    """Find the parts of a person: two legs, a trunk, two arms and a head, by lengths and branches.

    The bones of a limb are its two longest neighbours. Left and right are read from the names, or else from the
    direction of the feet in the first frame. None if the tree is not that of a person."""
    tree = _tree(motion.joint_names, motion.parents, motion.offsets)
    pairs = _legs_and_arms(tree)
    if pairs is None:
        return None
    p = motion.frames(slice(1)).world()[1][0]
    legs, arms = _limbs(tree, p, pairs[0], 0.0), _limbs(tree, p, pairs[1], _MIN_SHOULDER_WIDTH)
    hips, chest = pairs[0].parent, pairs[1].parent
    sides = _sides(tree, p, legs, arms) if legs and arms else None
    if sides is None:
        return None
    (left_leg, right_leg), (left_arm, right_arm) = sides
    above_hips = tree.above(hips)
    spine = [joint for joint in tree.above(chest) if joint not in above_hips][::-1] or [chest]
    feet = (left_leg.tip, right_leg.tip)
    parts = {
        "hip": (left_leg.proximal, right_leg.proximal),
        "knee": (left_leg.middle, right_leg.middle),
        "ankle": (left_leg.distal, right_leg.distal),
        "collar": (left_arm.collar, right_arm.collar),
        "shoulder": (left_arm.proximal, right_arm.proximal),
        "elbow": (left_arm.middle, right_arm.middle),
        "wrist": (left_arm.distal, right_arm.distal),
    }
    if feet[0] is not None and feet[1] is not None and tree.children[feet[0]] and tree.children[feet[1]]:
        parts["foot"] = (feet[0], feet[1])
    return RigNaming(
        "inferred from the structure",
        tree.names[hips],
        tuple(tree.names[joint] for joint in spine),
        tuple(tree.names[joint] for joint in _neck(tree, pairs[1])),
        {part: (tree.names[left], tree.names[right]) for part, (left, right) in parts.items()},
    )


def _tree(names: tuple[str, ...], parents: tuple[int, ...], offsets: Float[Tensor, "joints 3"]) -> _Tree:
    children: list[list[int]] = [[] for _ in parents]
    length = [0.0, *offsets[1:].norm(dim=-1).tolist()]
    reach = list(length)
    for joint in range(len(parents) - 1, 0, -1):
        children[parents[joint]].insert(0, joint)
        reach[parents[joint]] = max(reach[parents[joint]], length[parents[joint]] + reach[joint])
    return _Tree(names, parents, children, length, reach)


# ---- the tree ------------------------------------------------------------------------------------------------------


def _legs_and_arms(tree: _Tree) -> tuple[_Pair, _Pair] | None:
    """Find the pairs of limbs: the arms hang on a joint that also carries the head, the legs on one not above them."""
    candidates = [pair for joint in range(len(tree.parents)) if (pair := _longest_pair(tree, joint))]
    found = [pairs for pairs in permutations(candidates, 2) if _is_person(tree, *pairs)]
    return max(
        found,
        key=lambda pairs: sum(
            tree.reach[joint] for joint in (*(pair.first for pair in pairs), _head(tree, pairs[1]))
        ),
        default=None,
    )


def _is_person(tree: _Tree, legs: _Pair, arms: _Pair) -> bool:
    """Test whether the arms hang on a joint that carries a head, and neither pair belongs to the other's limbs."""
    above_legs, above_arms = tree.above(legs.parent), tree.above(arms.parent)
    return (
        arms.parent not in above_legs
        and not {legs.first, legs.second} & set(above_arms)
        and _head(tree, arms) >= 0
    )


def _longest_pair(tree: _Tree, parent: int) -> _Pair | None:
    longest = sorted(tree.children[parent], key=lambda joint: -tree.reach[joint])
    longest = [joint for joint in longest if tree.reach[joint] > _MIN_LIMB_FRACTION * tree.reach[0]]
    pairs = (
        _Pair(parent, min(a, b), max(a, b))
        for a, b in combinations(longest, 2)
        if _alike(tree, _chain(tree, a)[1], _chain(tree, b)[1])
    )
    return next(pairs, None)


def _alike(tree: _Tree, bones: list[float], others: list[float]) -> bool:
    slack = _COINCIDENT_FRACTION * tree.reach[0]
    compared = list(zip(bones, others, strict=False))[:_COMPARED_BONES]
    return len(compared) == _COMPARED_BONES and all(
        abs(a - b) <= _PAIR_TOLERANCE * max(a, b) + slack for a, b in compared
    )


def _chain(tree: _Tree, start: int) -> tuple[list[int], list[float]]:
    """Return the joints along the longest way to an end, and the lengths of the bones that end at them. Joints at one
    place count as the last of them, twist joints as a part of their bone."""
    joints, bones = [start], [tree.length[start]]
    joint, carried = start, 0.0
    while tree.children[joint]:
        joint = max(tree.children[joint], key=lambda child: tree.reach[child])
        length = carried + tree.length[joint]
        inner = bool(tree.children[joint])
        carried = length if inner and _TWIST.search(tree.names[joint]) else 0.0
        if inner and not carried and length < _COINCIDENT_FRACTION * tree.reach[start]:
            joints[-1] = joint
        elif not carried:
            joints.append(joint)
            bones.append(length)
    return joints, bones


def _limbs(tree: _Tree, p: Float[Tensor, "joints 3"], pair: _Pair, min_width: float) -> list[_Limb]:
    """Return both limbs of a pair, or none. Their proximal joints are apart by at least `min_width` of the
    length of its two bones."""
    chains = [_chain(tree, start) for start in (pair.first, pair.second)]
    length = min(len(bones) for _, bones in chains)
    joints, others = (joints for joints, _ in chains)
    bones = chains[0][1]
    middles = [
        k
        for k in range(1, length - 1)
        if (p[joints[k - 1]] - p[others[k - 1]]).norm() > min_width * (bones[k] + bones[k + 1])
    ]
    if not middles:
        return []
    middle = max(middles, key=lambda k: min(bones[k], bones[k + 1]))
    return [_limb(tree, joints, middle), _limb(tree, others, middle)]


def _limb(tree: _Tree, joints: list[int], middle: int) -> _Limb:
    collar = joints[middle - 2] if middle >= 2 else tree.parents[joints[0]]
    tip = joints[middle + 2] if middle + 2 < len(joints) else None
    return _Limb(collar, joints[middle - 1], joints[middle], joints[middle + 1], tip)


def _head(tree: _Tree, arms: _Pair) -> int:
    """Return the joint in which the longest branch between the arms begins; -1 without one."""
    between = [joint for joint in tree.children[arms.parent] if joint not in (arms.first, arms.second)]
    return max(between, key=lambda joint: tree.reach[joint], default=-1)


def _neck(tree: _Tree, arms: _Pair) -> list[int]:
    """Return the joints from the base of the neck to the head: to the one of that name, to a branch or to the end."""
    neck = [_head(tree, arms)]
    while len(tree.children[neck[-1]]) == 1 and not _HEAD.search(tree.names[neck[-1]]):
        if not tree.children[tree.children[neck[-1]][0]]:
            break
        neck.append(tree.children[neck[-1]][0])
    return neck


# ---- left and right ------------------------------------------------------------------------------------------------


def _sides(
    tree: _Tree, p: Float[Tensor, "joints 3"], legs: list[_Limb], arms: list[_Limb]
) -> tuple[list[_Limb], list[_Limb]] | None:
    """Sort both pairs: the left limb first. None if neither names nor feet show the sides."""
    left = [_first_is_left(*(tree.names[limb.proximal] for limb in pair)) for pair in (legs, arms)]
    if None in left:
        feet = [(limb.distal, limb.tip) for limb in legs if limb.tip is not None]
        hips, shoulders = (p[[limb.proximal for limb in pair]] for pair in (legs, arms))
        forward = sum((p[tip] - p[ankle] for ankle, tip in feet), torch.zeros_like(p[0]))
        to_left = torch.linalg.cross(shoulders.mean(0) - hips.mean(0), forward)
        if not feet:
            return None
        left = [bool((pair[0] - pair[1]) @ to_left > 0) for pair in (hips, shoulders)]
    legs, arms = (pair if is_left else pair[::-1] for pair, is_left in zip((legs, arms), left, strict=True))
    return legs, arms


def _first_is_left(first: str, second: str) -> bool | None:
    """Compare the parts in which two names differ: `l...` and `r...`, or None."""
    first, second = first.lower(), second.lower()
    start = len(os.path.commonprefix([first, second]))
    initials = first[start : start + 1], second[start : start + 1]
    return {("l", "r"): True, ("r", "l"): False}.get(initials)
