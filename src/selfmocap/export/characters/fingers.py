"""The finger bones of a character: found below its wrists, and aligned with the body's."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.skeleton import (
    ALL_JOINT_PARENTS,
    ALL_JOINTS,
    FINGER_JOINT_NAMES,
    FINGERS,
    HAND_SIDES,
)
from selfmocap.export.characters.alignment import arc

_NAMES = {
    "thumb": ("thumb",),
    "index": ("index",),
    "middle": ("mid",),
    "ring": ("ring",),
    "pinky": ("pinky", "little"),
}
"""Parts of the names of each finger's bones, in lower case."""
_IN_PALM = ("carpal", "palm")
_PHALANGES = 3


def find_fingers(
    names: Sequence[str], parents: Sequence[int], joints: Mapping[str, int], given: Mapping[str, int]
) -> dict[str, int]:
    """Return the nodes of finger joints: those `given`, and chains below the wrists whose names say the finger.

    Bones in the palm, but for the thumb's, are no finger joints."""
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(parents):
        children.setdefault(parent, []).append(node)
    found = {name: node for name, node in given.items() if name in FINGER_JOINT_NAMES}
    for side in HAND_SIDES:
        nodes = [joints[f"{side}_wrist"]]
        for node in nodes:
            nodes += children.get(node, [])
        for finger in FINGERS:
            chain: list[int] = []
            for node in nodes[1:]:
                name = names[node].lower()
                if not any(word in name for word in _NAMES[finger]):
                    continue
                in_palm = finger != "thumb" and any(word in name for word in _IN_PALM)
                if not in_palm and (not chain or parents[node] == chain[-1]):
                    chain.append(node)
            for number, node in enumerate(chain[:_PHALANGES], 1):
                found.setdefault(f"{side}_{finger}{number}", node)
    return found


def aligned_fingers(
    fingers: Mapping[str, int],
    R_person_node: Mapping[str, Float[ndarray, "3 3"]],
    p_person: Float[ndarray, "nodes 3"],
    aligned: Mapping[str, Float[ndarray, "3 3"]],
    rest: Float[ndarray, "joints 3"],
) -> dict[str, Float[ndarray, "3 3"]]:
    """Return the axes that the finger bones of a character have while the body rests: turned with the hand, then by the
    smallest rotation that points them where the body's point. `R_person_node` and `aligned` are the axes in the
    character's rest pose and while the body rests."""
    axes = {}
    for name in fingers:
        wrist = f"{name.split('_')[0]}_wrist"
        turned = aligned[wrist] @ R_person_node[wrist].T
        if ends := _bone(name, fingers):
            first, second = (p_person[fingers[end]] for end in ends)
            row = ALL_JOINTS[ends[1]]
            turned = arc(turned @ (second - first), rest[row] - rest[ALL_JOINT_PARENTS[row]]) @ turned
        axes[name] = turned @ R_person_node[name]
    return axes


def _bone(name: str, fingers: Mapping[str, int]) -> tuple[str, str] | None:
    """Return the ends of the bone that begins at a joint, or of the last one before it; None for a single joint."""
    finger, number = name[:-1], int(name[-1])
    for first in range(min(number, _PHALANGES - 1), 0, -1):
        ends = f"{finger}{first}", f"{finger}{first + 1}"
        if all(end in fingers for end in ends):
            return ends
    return None
