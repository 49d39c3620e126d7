from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.body import Body
from selfmocap.datasets.amass import read_amass
from selfmocap.datasets.retargeting.ground import lowest_height
from tests.helpers.recordings import amass_arrays, joints, random_motion, smpl_translation, straight_hands


def test_amass_returns_the_joints_that_were_written(tmp_path: Path, body: Body) -> None:
    written = straight_hands(random_motion(6))
    np.savez(tmp_path / "walk.npz", **amass_arrays(written, body))
    motion = read_amass(tmp_path / "walk.npz")
    assert (motion.fps, motion.gender, motion.name, motion.subject) == (120, "male", "walk", tmp_path.name)
    assert (joints(motion.parameters(body), body) - joints(written, body)).norm(dim=-1).max() < 1e-3


def test_on_another_body_rotations_carry_over_and_feet_stand(tmp_path: Path, body: Body) -> None:
    written = straight_hands(random_motion(6, spread=0.1))
    np.savez(tmp_path / "walk.npz", **amass_arrays(written, body))
    moved = read_amass(tmp_path / "walk.npz").on_body(body)
    assert torch.allclose(moved.R_parent_joint, written.R_parent_joint.float(), atol=1e-5)
    assert moved.betas.abs().max() == 0
    step, truth = (p.p_world_root.double().diff(dim=0) for p in (moved, written))
    assert torch.allclose(step, truth, atol=1e-5)
    assert abs(torch.quantile(lowest_height(body, moved), 0.05)) < 1e-4


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("poses", None, "lacks poses"),
        ("poses", np.zeros((6, 100)), "156"),
        ("poses", np.full((6, 156), np.nan), "finite"),
        ("trans", np.zeros((5, 3)), "poses has shape"),
        ("betas", np.zeros(3), "at least 10 betas"),
        ("betas", np.arange(60.0).reshape(6, 10), "betas change by 50.00 between the frames"),
        ("betas", np.zeros((5, 10)), r"betas has shape \(5, 10\)"),
        (
            "mocap_time_length",
            0.25,
            "mocap_framerate is 120, but 6 frames in mocap_time_length 0.25 s make 24 frames",
        ),
        ("mocap_framerate", None, "mocap_framerate"),
        ("mocap_framerate", 0.0, "mocap_framerate"),
        ("gender", np.array(["m", "f"]), "gender"),
    ],
)
def test_a_malformed_amass_file_names_the_key(
    tmp_path: Path, body: Body, key: str, value: np.ndarray | None, message: str
) -> None:
    arrays = amass_arrays(random_motion(6), body) | {key: value}
    np.savez(tmp_path / "bad.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=rf"bad\.npz.*{message}"):
        read_amass(tmp_path / "bad.npz")


# ---- as other programs write them ----------------------------------------------------------------------------------


def saved(path: Path, arrays: dict[str, np.ndarray], **changes: object) -> Path:
    kept = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(path, **kept)
    return path


def test_variants_give_the_same_motion(tmp_path: Path, body: Body) -> None:
    arrays = amass_arrays(straight_hands(random_motion(6)), body)
    plain = read_amass(saved(tmp_path / "a.npz", arrays))
    variants: list[dict[str, object]] = [
        {"mocap_framerate": np.array([120.0])},
        {"mocap_framerate": None, "mocap_frame_rate": 120},
        {"mocap_framerate": None, "fps": 120.0},
        {"gender": np.array(b"male")},
        {"gender": np.array(["M"])},
        {"betas": np.tile(arrays["betas"], (6, 1))},
        {"betas": arrays["betas"][None]},
        {"poses": arrays["poses"][:, :66]},
        {"poses": arrays["poses"].reshape(6, 52, 3)},
        {"poses": None, "root_orient": arrays["poses"][:, :3], "pose_body": arrays["poses"][:, 3:66]},
        {"mocap_time_length": 0.05},
    ]
    for change in variants:
        motion = read_amass(saved(tmp_path / "a.npz", arrays, **change))
        assert (motion.fps, motion.gender, motion.model) == (plain.fps, plain.gender, plain.model), change
        for field in ("betas", "R_parent_joint", "transl"):
            assert torch.allclose(getattr(motion, field), getattr(plain, field), atol=1e-12), change
    whole = read_amass(saved(tmp_path / "a.npz", arrays, trans=np.ones((6, 3), int)))
    assert whole.transl.tolist() == [[1.0, 1.0, 1.0]] * 6


def test_a_rate_that_is_absent_or_wrong_can_be_given(tmp_path: Path, body: Body) -> None:
    arrays = amass_arrays(random_motion(6), body)
    path = saved(tmp_path / "a.npz", arrays, mocap_framerate=None, mocap_time_length=0.25)
    with pytest.raises(ValueError, match=r"found none; give the rate as fps in motions\.csv"):
        read_amass(path)
    assert read_amass(path, fps=60.0).fps == 60


def test_a_file_that_is_y_up_already_is_not_turned(
    tmp_path: Path, body: Body, caplog: pytest.LogCaptureFixture
) -> None:
    written = straight_hands(random_motion(6, spread=0.1))
    arrays = amass_arrays(written, body)
    z_up = read_amass(saved(tmp_path / "z.npz", arrays))
    assert not caplog.text
    poses = arrays["poses"].copy()
    poses[:, :3] = roma.rotmat_to_rotvec(written.R_parent_joint[:, 0]).numpy()
    y_up = read_amass(saved(tmp_path / "y.npz", arrays, poses=poses, trans=smpl_translation(written, body)))
    assert "y.npz: its world is y up" in caplog.text
    assert torch.allclose(y_up.R_parent_joint, z_up.R_parent_joint, atol=1e-9)
    assert torch.allclose(y_up.parameters(body).p_world_root, z_up.parameters(body).p_world_root, atol=1e-6)


def test_a_person_who_lies_on_a_floor_that_is_z_up_is_not_stood_up(tmp_path: Path, body: Body) -> None:
    """Along y, a hand above the floor: as upright in y as a person who stands in a world that is y up."""
    arrays = amass_arrays(random_motion(6), body)
    lying = saved(
        tmp_path / "a.npz", arrays, poses=np.zeros((6, 156)), trans=np.tile([0.3, 2.0, 0.35], (6, 1))
    )
    R = read_amass(lying).R_parent_joint[:, 0]
    assert R[0, :, 1].tolist() == pytest.approx([0, 0, -1], abs=1e-9)
