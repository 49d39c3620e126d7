import pytest

from selfmocap.export.characters.bones import Bones, named_nodes, recognise_bones
from tests.helpers.rigs import HUMAN, human

PARTS = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
_MIXAMO = "{S}UpLeg {S}Leg {S}Foot {S}ToeBase {S}Shoulder {S}Arm {S}ForeArm {S}Hand"
_UNREAL = "thigh_{l} calf_{l} foot_{l} ball_{l} clavicle_{l} upperarm_{l} lowerarm_{l} hand_{l}"
_RIGIFY = "thigh.{s} shin.{s} foot.{s} toe.{s} shoulder.{s} upper_arm.{s} forearm.{s} hand.{s}"
NAMES = {
    "Mixamo": ("Hips", "Head", "mixamorig:", _MIXAMO),
    "Mixamo, another prefix": ("Hips", "Head", "mixamorig7:", _MIXAMO),
    "Mixamo without colon": ("Hips", "Head", "mixamorig", _MIXAMO),
    "Ready Player Me, HumanIK": ("Hips", "Head", "", _MIXAMO),
    "HumanIK, characterised": ("Hips", "Head", "Character1_", _MIXAMO),
    "VRoid": ("Hips", "Head", "J_Bip_{s}_", "UpperLeg LowerLeg Foot ToeBase Shoulder UpperArm LowerArm Hand"),
    "Unreal": ("pelvis", "head", "", _UNREAL),
    "Rigify": ("spine", "spine.006", "DEF-", _RIGIFY),
    "Biped": ("Pelvis", "Head", "Bip01 {s} ", "Thigh Calf Foot Toe0 Clavicle UpperArm Forearm Hand"),
    "Character Creator": (
        "Hip",
        "Head",
        "CC_Base_{s}_",
        "Thigh Calf Foot ToeBase Clavicle Upperarm Forearm Hand",
    ),
    "Daz": ("hip", "head", "{l}", "Thigh Shin Foot Toe Collar Shldr ForeArm Hand"),
    "SMPL": ("Pelvis", "Head", "{s}_", "Hip Knee Ankle Foot Collar Shoulder Elbow Wrist"),
}


def skeleton(kind: str) -> tuple[list[str], list[int], dict[str, int]]:
    """Names and parents of a rig, and the node of each joint."""
    pelvis, head, prefix, words = NAMES[kind]
    label = {
        "pelvis": prefix.format(s="C", l="") + pelvis,
        "head": prefix.format(s="C", l="") + head,
        "neck": "y",
    }
    label |= {f"spine{k}": f"x{k}" for k in (1, 2, 3)}
    for side in ("left", "right"):
        fill = {"S": side.capitalize(), "s": side[0].upper(), "l": side[0]}
        names = [(prefix + word).format(**fill) for word in words.split()]
        label |= {f"{side}_{part}": name for part, name in zip(PARTS, names, strict=True)}
        label[f"{side}_hand"] = f"z{side}"
    joints = human()
    order = list(joints)
    parents = [order.index(joints[joint][0]) if joints[joint][0] else -1 for joint in order]
    return [label[joint] for joint in order], parents, {joint: order.index(joint) for joint in order}


def recognised(kind: str, given: dict[str, str] | None = None) -> Bones:
    names, parents, _ = skeleton(kind)
    return recognise_bones(names, parents, named_nodes(names, given or {}))


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind != "Rigify"])
def test_bones_are_recognised_by_names_and_tree(kind: str) -> None:
    _, _, node = skeleton(kind)
    bones = recognised(kind)
    for side in ("left", "right"):
        for part in PARTS:
            assert bones.joints[f"{side}_{part}"] == node[f"{side}_{part}"], f"{side} {part}"
    assert bones.joints["pelvis"] == node["pelvis"] and bones.joints["head"] == node["head"]
    assert bones.spine == tuple(node[f"spine{k}"] for k in (1, 2, 3))
    assert bones.neck == (node["neck"],)


def test_a_missing_bone_is_named_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="no bone was recognised for head; .*--map.*DEF-thigh.L"):
        recognised("Rigify")
    assert (
        recognised("Rigify", {"head": "DEF-spine.006"}).joints["left_elbow"]
        == skeleton("Rigify")[2]["left_elbow"]
    )


def test_a_wrong_map_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one bone 'thigh', found 0"):
        recognised("Unreal", {"left_hip": "thigh"})
    with pytest.raises(ValueError, match="expected 'calf_l' .* below 'foot_l'"):
        recognised("Unreal", {"left_hip": "foot_l"})


def test_controls_and_twist_bones_are_left_out() -> None:
    names, parents, node = skeleton("Unreal")
    for name in ("ik_foot_l", "hand_l_ctrl", "thigh_twist_01_l", "calf_l_target", "Head_end"):
        names.insert(0, name)
        parents = [-1, *(parent + 1 if parent >= 0 else -1 for parent in parents)]
    bones = recognise_bones(names, parents, {})
    assert {joint: n - 5 for joint, n in bones.joints.items()}.items() <= node.items()
    assert set(HUMAN) - set(bones.joints) == {"spine1", "spine2", "spine3", "neck", "left_hand"}
