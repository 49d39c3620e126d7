import lzma
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.named_poses import named_pose
from selfmocap.datasets.asf_amc import read_amc
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.retargeting.reference import pose_deviation_deg, reference_points, reference_pose
from selfmocap.datasets.retargeting.retarget import retarget
from selfmocap.datasets.retargeting.rig_structure import identify_rig, infer_rig
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion, angle_deg
from selfmocap.datasets.retargeting.straighten import straightened
from tests.helpers.recordings import DATA, bvh_text, joints, random_motion


@pytest.fixture
def motion(tmp_path: Path, body: Body) -> SkeletonMotion:
    (tmp_path / "a.bvh").write_text(bvh_text(random_motion(20, spread=0.2), body, unit=1.0))
    return read_bvh(tmp_path / "a.bvh")


def renamed(motion: SkeletonMotion, names: tuple[str, ...]) -> SkeletonMotion:
    return replace(motion, joint_names=names)


@pytest.mark.parametrize("prefix", ["mixamorig1:", "Actor:rig:", "group|"])
def test_namespaces_do_not_count(motion: SkeletonMotion, prefix: str) -> None:
    rig = identify_rig(renamed(motion, tuple(prefix + name for name in motion.joint_names)))
    assert rig.name == "SMPL" and rig.pelvis == f"{prefix}pelvis"
    assert rig.limbs["knee"] == (f"{prefix}left_knee", f"{prefix}right_knee")


def test_names_of_motion_builder_count_before_lengths(motion: SkeletonMotion) -> None:
    """A skeleton without toes whose feet end in sites as far away as the knees."""
    named = {"pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "neck": "Neck", "head": "Head"}
    parts = {
        "hip": "UpLeg",
        "knee": "Leg",
        "ankle": "Foot",
        "collar": "Shoulder",
        "shoulder": "Arm",
        "elbow": "ForeArm",
    }
    for side in ("left", "right"):
        named |= {
            f"{side}_{part}": side.capitalize() + name for part, name in (parts | {"wrist": "Hand"}).items()
        }
        named[f"{side}_foot"] = f"{side.capitalize()}Foot_end"
    offsets = motion.offsets.clone()
    for side in ("left", "right"):
        foot = motion.joint_names.index(f"{side}_foot")
        offsets[foot] = torch.tensor([0.0, -0.46, 0.0])
    long = replace(
        motion, joint_names=tuple(named.get(name, name) for name in motion.joint_names), offsets=offsets
    )
    rig = identify_rig(long)
    assert rig.limbs["hip"] == ("LeftUpLeg", "RightUpLeg") and rig.limbs["ankle"] == ("LeftFoot", "RightFoot")
    inferred = infer_rig(long)
    assert inferred is None or inferred.limbs["hip"] != rig.limbs["hip"], "lengths alone mislead"


def unnamed(motion: SkeletonMotion) -> SkeletonMotion:
    return renamed(motion, tuple(f"bone{k}" for k in range(len(motion.joint_names))))


@pytest.mark.parametrize("named", [True, False])
def test_structure_finds_the_parts_of_a_person(motion: SkeletonMotion, named: bool) -> None:
    """With names that tell left from right, and without."""
    rig = infer_rig(motion if named else unnamed(motion))
    known = identify_rig(motion)
    assert rig is not None
    index = {name: k for k, name in enumerate(motion.joint_names if named else unnamed(motion).joint_names)}
    back = dict(enumerate(motion.joint_names))

    def original(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(back[index[name]] for name in names)

    assert original((rig.pelvis, *rig.spine, *rig.neck)) == (known.pelvis, *known.spine, *known.neck)
    for part, pair in rig.limbs.items():
        assert original(pair) == known.limbs[part], part


def test_a_pelvis_beside_the_spine_is_found(motion: SkeletonMotion) -> None:
    """Legs on a joint of their own, which hangs with the spine on the root."""
    names = ("hip", *("pelvis_bone" if name == "pelvis" else name for name in motion.joint_names))
    parents = [-1, 0]
    for name, parent in list(zip(motion.joint_names, motion.parents, strict=True))[1:]:
        parents.append(0 if name == "spine1" else parent + 1)
    still = torch.eye(3, dtype=torch.float64).expand(len(motion), 1, 3, 3)
    R = torch.cat([motion.R_parent_joint[:, :1], still, motion.R_parent_joint[:, 1:]], dim=1)
    offsets = torch.cat([torch.zeros(1, 3, dtype=torch.float64), motion.offsets])
    rig = infer_rig(
        replace(motion, joint_names=names, parents=tuple(parents), offsets=offsets, R_parent_joint=R)
    )
    assert rig is not None and (rig.pelvis, rig.spine) == ("pelvis_bone", ("spine1", "spine2", "spine3"))


def test_a_motion_without_a_t_pose_makes_its_own(tmp_path: Path, body: Body) -> None:
    """Skeletons whose unrotated bones all point along x, as some rigs have them: the result is that of the same
    motion on a skeleton with a T-pose, to a few degrees."""
    written = random_motion(60, spread=0.12)
    hanging = named_pose("arms-down").double()
    for joint in (16, 17):
        written.R_parent_joint[:, joint] = hanging[joint] @ written.R_parent_joint[:, joint]
    (tmp_path / "a.bvh").write_text(bvh_text(written, body, unit=1.0))
    with_t = read_bvh(tmp_path / "a.bvh")
    turns = torch.linalg.qr(torch.randn(len(with_t.parents), 3, 3, dtype=torch.float64)).Q
    turns = turns * torch.linalg.det(turns)[:, None, None]
    parents = torch.tensor([max(parent, 0) for parent in with_t.parents])
    offsets = (turns[parents].mT @ with_t.offsets[..., None])[..., 0]
    R = turns[parents].mT @ with_t.R_parent_joint @ turns
    R[:, 0] = with_t.R_parent_joint[:, 0] @ turns[0]
    without = replace(with_t, offsets=offsets, R_parent_joint=R)
    assert torch.allclose(without.world()[1], with_t.world()[1], atol=1e-9)
    assert reference_pose(without) is None
    made = straightened(without)
    reference = reference_pose(with_t)
    assert made is not None and reference is not None
    assert pose_deviation_deg(reference_points(made, identify_rig(made))) < 5
    a, b = (retarget(m, r, body) for m, r in ((without, made), (with_t, reference)))
    assert angle_deg(a.R_parent_joint, b.R_parent_joint).mean() < 6
    assert (joints(a, body) - joints(b, body)).norm(dim=-1).mean() < 0.04


def test_a_person_who_does_not_stand_makes_no_reference(motion: SkeletonMotion) -> None:
    lying = motion.R_parent_joint.clone()
    lying[:, 0] = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64) @ lying[:, 0]
    assert straightened(replace(motion, R_parent_joint=lying)) is None


@pytest.mark.parametrize("name", ["cmucc_07_10.bvh", "cmudaz_10_03.bvh", "cmu_02_03.amc"])
def test_structure_agrees_with_the_names_of_known_rigs(tmp_path: Path, name: str) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent")
    path = tmp_path / name
    path.write_bytes(lzma.decompress((DATA / "originals" / f"{name}.xz").read_bytes()))
    motion = read_bvh(path) if path.suffix == ".bvh" else read_amc(path, DATA / "skeletons" / "02.asf")
    known, inferred = identify_rig(motion), infer_rig(motion)
    assert inferred is not None and known.name != inferred.name
    assert (inferred.pelvis, inferred.spine, inferred.neck) == (known.pelvis, known.spine, known.neck)
    assert all(known.limbs[part] == pair for part, pair in inferred.limbs.items())
