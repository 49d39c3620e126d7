import pytest

from selfmocap.body_model.skeleton import (
    HAND_KEYPOINTS,
    JOINT_NAMES,
    JOINT_PARENTS,
    KEYPOINT_SETS,
    keypoint_set,
    mirrored_name,
)

COUNTS = {
    "smpl-24": 24,
    "coco-17": 17,
    "coco-23": 23,
    "coco-23+smpl-24": 47,
    "mediapipe-33": 33,
    "body-25": 25,
    "human36m-17": 17,
    "lsp-14": 14,
}


def test_every_set_has_its_published_number_of_keypoints() -> None:
    assert {name: len(keypoint_set.names) for name, keypoint_set in KEYPOINT_SETS.items()} == COUNTS


@pytest.mark.parametrize("name", KEYPOINT_SETS)
def test_mirroring_twice_is_the_identity_and_swaps_all_sided_names(name: str) -> None:
    found = keypoint_set(name)
    assert [found.mirror[twin] for twin in found.mirror] == list(range(len(found.names)))
    for own, twin in enumerate(found.mirror):
        sided = "left" in found.names[own] or "right" in found.names[own]
        assert (own != twin) == sided
        mirrored = tuple(sorted(mirrored_name(part) for part in found.landmarks[own]))
        assert tuple(sorted(found.landmarks[twin])) == mirrored


@pytest.mark.parametrize("name", KEYPOINT_SETS)
def test_a_set_is_drawn_as_one_tree(name: str) -> None:
    found = keypoint_set(name)
    for start in range(len(found.names)):
        seen, at = set(), start
        while at >= 0:
            assert at not in seen
            seen.add(at)
            at = found.parents[at]
    assert found.parents.count(-1) == 1


def test_the_five_fingers_of_a_hand_are_chains_from_the_wrist_to_a_tip() -> None:
    names, parents = HAND_KEYPOINTS.names, HAND_KEYPOINTS.parents
    assert len(set(names)) == 21 and names[0] == "wrist" and parents[0] == -1
    tips = [index for index, name in enumerate(names) if name.endswith("_tip")]
    assert sorted(set(range(21)) - set(parents)) == tips and len(tips) == 5
    for tip in tips:
        chain = [tip]
        while parents[chain[-1]] >= 0:
            chain.append(parents[chain[-1]])
        assert chain == [tip, tip - 1, tip - 2, tip - 3, 0]
        assert len({names[index].split("_")[0] for index in chain[:-1]}) == 1


def test_detectors_map_to_coco_23_by_landmark() -> None:
    coco = keypoint_set("coco-23")
    mediapipe, body_25 = keypoint_set("mediapipe-33"), keypoint_set("body-25")
    found = dict(zip(coco.names, coco.indices_in(mediapipe), strict=True))
    assert found["left_big_toe"] == mediapipe.index("left_foot_index")
    assert found["left_small_toe"] is None
    assert None not in coco.indices_in(body_25)


def test_a_joint_never_replaces_a_surface_point() -> None:
    assert set(keypoint_set("smpl-24").indices_in(keypoint_set("coco-23"))) == {None}


def test_parents_come_before_children() -> None:
    assert all(parent < joint for joint, parent in enumerate(JOINT_PARENTS))
    assert len(JOINT_NAMES) == len(JOINT_PARENTS) == 24


def test_the_error_for_an_unknown_set_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no keypoint set 'coco'; choose from smpl-24, coco-17"):
        keypoint_set("coco")
