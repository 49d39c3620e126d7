"""Recognise the bones of a person in a skeleton: limbs by their names, the trunk by the tree."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from selfmocap.body_model.skeleton import FINGER_JOINT_NAMES, HAND_SIDES
from selfmocap.export.characters.fingers import find_fingers

_PARTS = {
    "hip": ("upleg", "upperleg", "legupper", "thigh", "femur", "hip"),
    "knee": ("lowerleg", "leglower", "calf", "shin", "knee", "tibia", "leg"),
    "ankle": ("ankle", "foot"),
    "foot": ("toebase", "toes", "toe", "ball", "foot"),
    "shoulder": ("upperarm", "uparm", "armupper", "shldr", "humerus", "arm", "shoulder"),
    "elbow": ("forearm", "lowerarm", "armlower", "loarm", "elbow", "radius"),
    "wrist": ("wrist", "hand"),
}
"""Names of each joint's bone in the rigs of Mixamo, VRM, Unreal, HumanIK, Rigify, Ready Player Me, MakeHuman, Daz,
Character Creator, 3ds Max and SMPL, without side and separators; the first that a side has is taken. A bone is named
after the joint at its beginning."""
_WORDS = sorted({name for names in _PARTS.values() for name in names} | {"head"}, key=len, reverse=True)
_OTHER_BONES = frozenset(
    "twist roll ik pole ctrl control end nub target helper share mch org socket corrective bulge top prop site".split()
)
"""Words of bones that only look like those of a limb: controls, twist bones, ends."""
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_REQUIRED = tuple(f"{side}_{part}" for part in _PARTS if part != "foot" for side in HAND_SIDES) + ("head",)
_CHAINS = (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))


@dataclass(frozen=True)
class Bones:
    """The bones of a person by joint, as indices of nodes."""

    joints: Mapping[str, int]
    """By the body's name of the joint at the bone's beginning; `pelvis`, `head` and all limbs up to the wrists and
    ankles are there, `left_foot`, `left_collar` and so on only if the skeleton has them."""
    spine: tuple[int, ...]
    """From above the pelvis up to the bone that carries the arms."""
    neck: tuple[int, ...]
    """Between that bone and the head."""
    fingers: Mapping[str, int] = field(default_factory=dict)
    """By the body's name of the finger joint, those that the skeleton has."""


def recognise_bones(names: Sequence[str], parents: Sequence[int], given: Mapping[str, int]) -> Bones:
    """Find the bones of a person.

    `given` are nodes by joint that are known already, from the file's own table or the user's. The pelvis is the
    nearest common ancestor of both thighs and the head, the chest that of both arms and the head, the collar bone the
    first bone on the way from there to the arm. Raises ValueError that lists what is missing and the names there
    are."""
    joints = _named_limbs(names, parents)
    joints |= {name: node for name, node in given.items() if name not in FINGER_JOINT_NAMES}
    if missing := [name for name in _REQUIRED if name not in joints]:
        listed = ", ".join(name for name in names if name)[:1500]
        raise ValueError(
            f"no bone was recognised for {', '.join(missing)}; name them in a file for --map, for example "
            f'{{"{missing[0]}": "NAME OF THE BONE"}}; found: {listed}'
        )
    for side in HAND_SIDES:
        for chain in _CHAINS:
            for above, below in zip(chain, chain[1:], strict=False):
                if joints[f"{side}_{above}"] not in _ancestors(joints[f"{side}_{below}"], parents):
                    raise ValueError(
                        f"expected {names[joints[f'{side}_{below}']]!r} ({side} {below}) below "
                        f"{names[joints[f'{side}_{above}']]!r} ({side} {above}) in the tree; correct it with --map"
                    )
    pelvis = joints.get(
        "pelvis", _common_ancestor([joints["left_hip"], joints["right_hip"], joints["head"]], parents)
    )
    chest = _common_ancestor([joints["left_shoulder"], joints["right_shoulder"], joints["head"]], parents)
    if pelvis < 0 or chest < 0 or pelvis not in [chest, *_ancestors(chest, parents)]:
        raise ValueError(
            "expected one tree with the arms and the head above the pelvis; name the pelvis in a file for --map"
        )
    joints["pelvis"] = pelvis
    for side in HAND_SIDES:
        between = _between(joints[f"{side}_shoulder"], chest, parents)
        if between:
            joints.setdefault(f"{side}_collar", between[0])
    spine = (*_between(chest, pelvis, parents), chest) if chest != pelvis else ()
    fingers = find_fingers(names, parents, joints, given)
    return Bones(joints, spine, _between(joints["head"], chest, parents), fingers)


def _named_limbs(names: Sequence[str], parents: Sequence[int]) -> dict[str, int]:
    found: dict[tuple[str, str], list[int]] = {}
    for index, name in enumerate(names):
        side, word = _side_and_word(name)
        if word:
            found.setdefault((side, word), []).append(index)
    joints = {}
    for side in HAND_SIDES:
        words = {word for s, word in found if s == side}
        for part, candidates in _PARTS.items():
            word = next((word for word in candidates if word in words and _fits(part, word, words)), None)
            if word and (node := _uppermost(found[side, word], parents, part != "foot")) is not None:
                joints[f"{side}_{part}"] = node
        if joints.get(f"{side}_ankle") not in _ancestors(joints.get(f"{side}_foot", -1), parents):
            joints.pop(f"{side}_foot", None)
    if heads := found.get(("", "head")):
        joints["head"] = min(heads, key=lambda node: len(_ancestors(node, parents)))
    return joints


def _fits(part: str, word: str, words: set[str]) -> bool:
    """Decide whether an ambiguous word means a part: Mixamo's `Shoulder` is a collar bone, SMPL's is the arm; SMPL's
    `Foot` begins at the toes."""
    if (part, word) == ("foot", "foot"):
        return "ankle" in words
    if (part, word) == ("shoulder", "shoulder"):
        return "elbow" in words
    return True


def _side_and_word(name: str) -> tuple[str, str]:
    """Return the side, or an empty text, and the word of _PARTS that a name ends with, or an empty text."""
    words = [word.lower() for word in _WORD.findall(re.split(r"[:|]", name)[-1])]
    sides = [word for word in words if word in _SIDES]
    rest = [word for word in words if word not in _SIDES and word not in ("bend", "base", "def")]
    if not rest or _OTHER_BONES & set(rest) or len(sides) > 1:
        return "", ""
    joined = "".join(rest) + ("base" if words[-1] == "base" and rest[-1] == "toe" else "")
    return _SIDES[sides[0]] if sides else "", next((word for word in _WORDS if joined.endswith(word)), "")


def _uppermost(nodes: list[int], parents: Sequence[int], first: bool) -> int | None:
    """Return the node nearest to the root; of several, the `first`, or none."""
    depths = [len(_ancestors(node, parents)) for node in nodes]
    top = [node for node, depth in zip(nodes, depths, strict=True) if depth == min(depths)]
    return top[0] if first or len(top) == 1 else None


def _ancestors(node: int, parents: Sequence[int]) -> list[int]:
    """Return the ancestors of a node, the nearest first; none of -1."""
    above = []
    while node >= 0 and (node := parents[node]) >= 0:
        above.append(node)
    return above


def _common_ancestor(nodes: Sequence[int], parents: Sequence[int]) -> int:
    """Return the nearest node above all nodes, or -1."""
    shared = set.intersection(*({node, *_ancestors(node, parents)} for node in nodes))
    return next((node for node in [nodes[0], *_ancestors(nodes[0], parents)] if node in shared), -1)


def _between(node: int, top: int, parents: Sequence[int]) -> tuple[int, ...]:
    """Return the nodes strictly between `top` and `node`, downwards; empty if `top` is not above `node`."""
    above = _ancestors(node, parents)
    return tuple(reversed(above[: above.index(top)])) if top in above else ()


def named_nodes(names: Sequence[str], given: Mapping[str, str]) -> dict[str, int]:
    """Return the node of each joint whose bone's name is given. Raises ValueError unless one node has the name."""
    for joint, name in given.items():
        if names.count(name) != 1:
            raise ValueError(f"--map: {joint}: expected one bone {name!r}, found {names.count(name)}")
    return {joint: names.index(name) for joint, name in given.items()}
