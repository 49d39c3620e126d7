"""BVH as other programs write it: each dialect of one walk gives the joints of the plain file."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.datasets.retargeting.upright import turned_upright
from tests.conftest import SHARED_DATA
from tests.helpers.recordings import bvh_text, by_name, joints, random_motion

TROUBLES = SHARED_DATA / "troubles" / "bvh"
Edit = Callable[[str], str]


@pytest.fixture(scope="module")
def written() -> BodyParameters:
    return random_motion(12, spread=0.3)


@pytest.fixture(scope="module")
def plain(written: BodyParameters, body: Body) -> str:
    return bvh_text(written, body, fps=30.0)


def rows_of(text: str) -> tuple[str, list[str]]:
    """Everything before the rows of numbers, and those."""
    lines = text.splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("Frame Time")) + 1
    return "\n".join(lines[:first]) + "\n", lines[first:]


def split_rows(text: str) -> str:
    head, rows = rows_of(text)
    words = [row.split() for row in rows]
    pieces = [" ".join(row[k : k + 7]) for row in words for k in range(0, len(row), 7)]
    return head + "\n".join(pieces) + "\n"


def one_line(text: str) -> str:
    hierarchy, frames = text.split("MOTION")
    return " ".join(hierarchy.split()) + "\nMOTION" + frames


def lower_case(text: str) -> str:
    for word in ("HIERARCHY", "ROOT", "JOINT", "OFFSET", "CHANNELS", "MOTION", "Xposition", "End Site"):
        text = text.replace(word, word.lower())
    return text


DIALECTS: dict[str, Edit] = {
    "brace on the line": lambda text: re.sub(r"\n\s*\{", " {", text),
    "hierarchy on one line": one_line,
    "minus without space": lambda text: re.sub(r"(?<=[0-9]) -", "-", text),
    "header says one more": lambda text: text.replace("Frames: 12", "Frames: 13"),
    "header says one less": lambda text: text.replace("Frames: 12", "Frames: 11"),
    "byte-order mark": lambda text: "\ufeff" + text,
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "frame on several lines": split_rows,
    "control-Z at the end": lambda text: text + "\n\n\x1a",
    "blank lines": lambda text: text.replace("\n", "\n\n").replace("MOTION\n\n", "MOTION\n"),
    "lower case": lower_case,
    "names with spaces": lambda text: re.sub(r"(JOINT|ROOT) (\w+)", r"\1 Bip 01 \2", text),
    "no space after colons": lambda text: text.replace("Frames: ", "Frames:").replace("Frame Time: ", "Frame Time:"),
    "tabs": lambda text: text.replace(" ", "\t").replace("End\tSite", "End Site").replace("Frame\tTime", "Frame Time"),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_syntax_gives_the_same_joints(
    tmp_path: Path, body: Body, written: BodyParameters, plain: str, dialect: str
) -> None:
    path = tmp_path / "walk.bvh"
    changed = DIALECTS[dialect](plain)
    assert changed != plain
    path.write_bytes(changed.encode())
    motion = read_bvh(path)
    names = [name for name in motion.joint_names if not name.endswith("_end")]
    assert [name.split()[-1] for name in names] == sorted(
        names_in_order(plain), key=names_in_order(plain).index
    )
    order = [names_in_order(plain).index(name) for name in JOINT_NAMES]
    found = by_name(motion, names)[:, order]
    assert (found - joints(written, body)).norm(dim=-1).max() < 1e-3


def names_in_order(text: str) -> list[str]:
    return re.findall(r"(?:JOINT|ROOT) (\w+)", text)


def test_utf_16_is_read(tmp_path: Path, plain: str) -> None:
    (tmp_path / "walk.bvh").write_bytes(plain.encode("utf-16"))
    assert len(read_bvh(tmp_path / "walk.bvh")) == 12


def with_positions(text: str, offset_too: bool) -> str:
    """Six channels everywhere; the positions hold the offsets, or are zero where the offsets are added."""
    head, tail = text.split("MOTION")
    head = head.replace("CHANNELS 3 ", "CHANNELS 6 Xposition Yposition Zposition ")
    offsets = re.findall(r"(?:JOINT|ROOT) \w+\s+\{\s+OFFSET (.+)", head)
    rows = []
    for row in tail.strip().splitlines()[2:]:
        words = row.split()
        out = words[:6]
        for k, offset in enumerate(offsets[1:]):
            out += [*(offset.split() if offset_too else ["0"] * 3), *words[6 + 3 * k : 9 + 3 * k]]
        rows.append(" ".join(out))
    return f"{head}MOTION\nFrames: {len(rows)}\nFrame Time: 0.0333333\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize("offset_too", [True, False])
def test_positions_of_inner_joints_replace_offsets_or_are_added(
    tmp_path: Path, body: Body, written: BodyParameters, plain: str, offset_too: bool
) -> None:
    (tmp_path / "walk.bvh").write_text(with_positions(plain, offset_too))
    found = by_name(read_bvh(tmp_path / "walk.bvh"), JOINT_NAMES)
    assert (found - joints(written, body)).norm(dim=-1).max() < 1e-3


def test_a_bone_that_stretches_is_refused_with_its_line(tmp_path: Path, plain: str) -> None:
    text = with_positions(plain, True)
    head, tail = text.split("MOTION")
    rows = tail.strip().splitlines()
    rows[-1] = " ".join(
        str(float(word) * 1.2 if k in (6, 7, 8) else word) for k, word in enumerate(rows[-1].split())
    )
    (tmp_path / "walk.bvh").write_text(f"{head}MOTION\n" + "\n".join(rows) + "\n")
    with pytest.raises(
        ValueError, match=r"walk\.bvh, line 6: the bone that ends at left_hip changes its length"
    ):
        read_bvh(tmp_path / "walk.bvh")


def node_above(text: str, moves: bool) -> str:
    """A node `Reference` over the pelvis; the pelvis keeps its position channels. The node moves, or stays at 0."""
    head, tail = text.split("MOTION")
    channels = "CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    head = head.replace("HIERARCHY\n", f"HIERARCHY\nROOT Reference\n{{\nOFFSET 0 0 0\n{channels}\n").replace(
        "ROOT pelvis", "JOINT pelvis"
    )
    rows = tail.strip().splitlines()
    node = "0 0 100 0 0 90 " if moves else "0 0 0 0 0 0 "
    return f"{head}}}\nMOTION\n" + "\n".join([*rows[:2], *(node + row for row in rows[2:])]) + "\n"


@pytest.mark.parametrize("moves", [True, False])
def test_nodes_above_the_hips_move_them(
    tmp_path: Path, body: Body, written: BodyParameters, plain: str, moves: bool
) -> None:
    (tmp_path / "walk.bvh").write_text(node_above(plain, moves))
    motion = read_bvh(tmp_path / "walk.bvh")
    assert motion.joint_names[0] == "pelvis" and "Reference" not in motion.joint_names
    truth = joints(written, body)
    if moves:
        truth = torch.stack([truth[..., 2], truth[..., 1], 1 - truth[..., 0]], dim=-1)
    assert (by_name(motion, JOINT_NAMES) - truth).norm(dim=-1).max() < 1e-3


def test_a_world_that_is_z_up_is_turned(tmp_path: Path, body: Body, caplog: pytest.LogCaptureFixture) -> None:
    """The root turns by 90 degrees about x, and its y becomes z: the unrotated pose still stands along y."""
    written = random_motion(12, spread=0.1)
    turned = written.R_parent_joint.clone()
    R = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    turned[:, 0] = R @ turned[:, 0]
    z_up = BodyParameters(written.betas, turned, written.p_world_root @ R.T)
    (tmp_path / "walk.bvh").write_text(bvh_text(z_up, body, fps=30.0))
    motion = read_bvh(tmp_path / "walk.bvh")
    assert "walk.bvh: its world is z up" in caplog.text
    assert (by_name(motion, JOINT_NAMES) - joints(written, body)).norm(dim=-1).max() < 1e-3


def test_a_skeleton_that_rests_along_z_is_turned_with_its_rest_pose(
    tmp_path: Path, body: Body, caplog: pytest.LogCaptureFixture
) -> None:
    written = random_motion(12, spread=0.1)
    (tmp_path / "walk.bvh").write_text(bvh_text(written, body, fps=30.0))
    plain = read_bvh(tmp_path / "walk.bvh")
    assert not caplog.text
    R = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    along_z = replace(
        plain,
        offsets=plain.offsets @ R.T,
        R_parent_joint=R @ plain.R_parent_joint @ R.T,
        p_world_root=plain.p_world_root @ R.T,
    )
    upright = turned_upright(along_z)
    for field in ("offsets", "R_parent_joint", "p_world_root"):
        assert torch.allclose(getattr(upright, field), getattr(plain, field), atol=1e-9)


def test_rows_that_repeat_each_pose_contradict_the_header(tmp_path: Path, plain: str) -> None:
    head, tail = plain.split("MOTION")
    rows = tail.strip().splitlines()[2:]
    rows = [row for row in rows for _ in range(4)]
    text = f"{head}MOTION\nFrames: {len(rows)}\nFrame Time: 0.0416667\n" + "\n".join(rows) + "\n"
    (tmp_path / "walk.bvh").write_text(text)
    line = text[: text.index("Frame Time")].count("\n") + 1
    with pytest.raises(ValueError, match=rf"walk\.bvh, line {line}: .*4 rows repeat each pose: 6.0 poses"):
        read_bvh(tmp_path / "walk.bvh")
    assert read_bvh(tmp_path / "walk.bvh", fps=120.0).fps == 120


# ---- the files of other programs -----------------------------------------------------------------------------------


def mixamo_names(motion: SkeletonMotion) -> list[str]:
    """The joints' names as Mixamo's, without a prefix."""
    names = [re.split("[:|]", name)[-1] for name in motion.joint_names]
    if "LeftKnee" not in names:
        return ["ToeBase".join(name.rsplit("Toe", 1)) if name.endswith("Toe") else name for name in names]
    parts = {
        "Hip": "UpLeg", "Knee": "Leg", "Ankle": "Foot", "Toe": "ToeBase", "Collar": "Shoulder", "Shoulder": "Arm",
        "Elbow": "ForeArm", "Wrist": "Hand",
    }  # fmt: skip
    back = {"Chest": "Spine", "Chest2": "Spine1", "Chest3": "Spine2"}
    sides = {f"{side}{a}": f"{side}{b}" for side in ("Left", "Right") for a, b in parts.items()}
    return [(back | sides).get(name, name) for name in names]


def trouble_files() -> list[Path]:
    return sorted(TROUBLES.glob("*/*/walk.bvh"))


@pytest.mark.skipif(not TROUBLES.is_dir(), reason=f"{TROUBLES} is absent")
@pytest.mark.parametrize("path", trouble_files(), ids=lambda path: path.parent.name)
def test_files_of_other_programs_are_read_within_a_millimetre_or_refused(path: Path) -> None:
    refused = {
        "07_bones_stretch_4_percent": "line 6: the bone",
        "11_header_rate_24_recorded_at_120": "line 134: ",
    }
    if path.parent.name in refused:
        with pytest.raises(ValueError, match=refused[path.parent.name]):
            read_bvh(path)
        return
    with np.load(TROUBLES / "expected_joints.npz") as expected:
        motion = read_bvh(path)
        found = motion.world()[1][:, [mixamo_names(motion).index(name) for name in expected["names"]]]
        assert motion.fps == pytest.approx(float(expected["fps"]), rel=1e-4)
        assert np.linalg.norm(found.numpy() - expected["joints"], axis=-1).max() < 1e-3
