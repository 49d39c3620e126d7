import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import scipy.io
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import KEYPOINT_SETS
from selfmocap.datasets.amass import read_amass
from selfmocap.datasets.human36m import (
    HUMAN36M_CAMERAS,
    JOINTS_17_OF_32,
    read_human36m_cameras,
    read_human36m_joints,
)
from selfmocap.datasets.matlab import read_mat
from selfmocap.datasets.retargeting.ground import lowest_height
from selfmocap.datasets.surreal import read_surreal, read_surreal_parts, to_surreal
from selfmocap.datasets.three_dpw import read_three_dpw
from selfmocap.geometry.camera import Camera
from tests.helpers.recordings import joints, random_motion, smpl_translation, write_surreal

R_ZUP_YUP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def amass_arrays(written: BodyParameters, body: Body) -> dict[str, np.ndarray]:
    """As AMASS has it: SMPL-H's 52 joints, z up."""
    poses = np.zeros((len(written.p_world_root), 156))
    R = written.R_parent_joint.clone()
    R[:, 0] = torch.from_numpy(R_ZUP_YUP) @ R[:, 0]
    poses[:, :66] = roma.rotmat_to_rotvec(R).flatten(1)[:, :66]
    pelvis = (written.p_world_root.numpy() - smpl_translation(written, body))[0]
    trans = written.p_world_root.numpy() @ R_ZUP_YUP.T - pelvis
    betas = np.pad(written.betas.numpy(), (0, 6))
    return {
        "poses": poses,
        "trans": trans,
        "betas": betas,
        "gender": np.array("male"),
        "mocap_framerate": 120.0,
    }


def straight_hands(motion: BodyParameters) -> BodyParameters:
    R = motion.R_parent_joint.clone()
    R[:, 22:] = torch.eye(3, dtype=R.dtype)
    return replace(motion, R_parent_joint=R)


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
    ("key", "value", "says"),
    [
        ("poses", None, "lacks poses"),
        ("poses", np.zeros((6, 100)), "156"),
        ("poses", np.full((6, 156), np.nan), "finite"),
        ("trans", np.zeros((5, 3)), "poses has shape"),
        ("betas", np.zeros(3), "at least 10 betas"),
        ("mocap_framerate", None, "mocap_framerate"),
        ("mocap_framerate", 0.0, "mocap_framerate"),
        ("gender", np.array(["m", "f"]), "gender"),
    ],
)
def test_a_malformed_amass_file_names_the_key(
    tmp_path: Path, body: Body, key: str, value: np.ndarray | None, says: str
) -> None:
    arrays = amass_arrays(random_motion(6), body) | {key: value}
    np.savez(tmp_path / "bad.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=rf"bad\.npz.*{says}"):
        read_amass(tmp_path / "bad.npz")


def threedpw_data(people: list[BodyParameters], body: Body) -> dict[str, object]:
    frames = len(people[0].p_world_root)
    extrinsics = np.tile(np.diag([1.0, -1, -1, 1]), (frames, 1, 1))
    extrinsics[:, 2, 3] = np.linspace(4, 5, frames)
    return {
        "sequence": "courtyard",
        "poses": [roma.rotmat_to_rotvec(p.R_parent_joint).flatten(1).numpy() for p in people],
        "trans": [smpl_translation(p, body) for p in people],
        "betas": [p.betas.numpy() for p in people],
        "genders": ["m", "f"][: len(people)],
        "cam_poses": extrinsics,
        "cam_intrinsics": np.array([[1900.0, 0, 540], [0, 1910, 960], [0, 0, 1]]),
        "campose_valid": [np.arange(frames) > 1 for _ in people],
    }


def test_threedpw_returns_the_people_that_were_written(tmp_path: Path, body: Body) -> None:
    people = [random_motion(5, seed) for seed in (1, 2)]
    (tmp_path / "courtyard.pkl").write_bytes(pickle.dumps(threedpw_data(people, body), protocol=2))
    found = read_three_dpw(tmp_path / "courtyard.pkl")
    assert [p.motion.gender for p in found] == ["male", "female"]
    for written, person in zip(people, found, strict=True):
        again = joints(person.motion.parameters(body), body)
        assert (again - joints(written, body)).norm(dim=-1).max() < 1e-3
    camera = found[0].camera
    assert camera.focal.tolist() == [1900, 1910] and camera.center.tolist() == [540, 960]
    assert camera.to_camera(torch.zeros(5, 1, 3))[:, 0, 2].tolist() == pytest.approx(np.linspace(4, 5, 5))
    assert found[0].camera_valid.tolist() == [False, False, True, True, True]


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("sequence", Evil(), "refused"),
        ("trans", None, "lacks trans"),
        ("trans", [], "trans is for 0 people"),
        ("genders", ["x"], "genders"),
        ("cam_poses", np.zeros((4, 4)), "cam_poses"),
        ("poses", [np.zeros((5, 71))], r"poses\[0\]"),
    ],
)
def test_a_malformed_threedpw_file_names_the_key(
    tmp_path: Path, body: Body, capsys: pytest.CaptureFixture[str], key: str, value: object, says: str
) -> None:
    data = threedpw_data([random_motion(5)], body) | {key: value}
    kept = {name: item for name, item in data.items() if item is not None}
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(kept, protocol=2))
    with pytest.raises(ValueError, match=rf"bad\.pkl.*{says}"):
        read_three_dpw(tmp_path / "bad.pkl")
    assert "run" not in capsys.readouterr().out


# ---- SURREAL ---------------------------------------------------------------------------------------------------


def surreal_camera(frames: int) -> Camera:
    """Looks down at the person, rolled, moving."""
    R = roma.euler_to_rotmat("XZ", torch.tensor([0.3, 0.1])) @ torch.diag(torch.tensor([1.0, -1, -1]))
    t = torch.tensor([0.1, 0.3, 5.0]) + torch.linspace(0, 0.2, frames)[:, None]
    return Camera(torch.tensor([600.0, 600.0]), torch.tensor([159.5, 119.5]), R, t)


@pytest.mark.parametrize("frames", [1, 4])
def test_surreal_returns_joints_and_their_projections(tmp_path: Path, body: Body, frames: int) -> None:
    written = random_motion(frames).to(torch.float32)
    camera = surreal_camera(frames)
    truth = joints(written, body).float()
    fields = to_surreal(written, truth, camera, "male", distance=6.5)
    if frames == 1:
        fields = {key: np.squeeze(array) for key, array in fields.items()}
    clip = read_surreal(write_surreal(tmp_path / "01_01_c0001_info.mat", fields))
    assert (clip.name, clip.gender, len(clip)) == ("01_01_c0001", "male", frames)
    again = joints(clip.parameters, body).float()
    assert (again - clip.joints_world).norm(dim=-1).max() < 1e-3
    assert (clip.camera.to_camera(again) - camera.to_camera(truth)).norm(dim=-1).max() < 1e-3
    assert (clip.camera.project(again) - clip.joints_2d).abs().max() < 0.5
    assert (camera.project(truth) - clip.joints_2d).abs().max() < 0.01


def test_surreal_files_are_mirrored_and_y_down(body: Body) -> None:
    """A person who stands upright before the camera, facing it: in the file's own pixels, as everyone who reads
    SURREAL knows them, the left hand is on the left of the image, and the head has the smallest y."""
    facing = body.rest_parameters(1)
    facing = replace(
        facing, R_parent_joint=facing.R_parent_joint.clone(), p_world_root=torch.tensor([[0.0, 1, -5]])
    )
    camera = Camera.looking_along_z(600.0, 320, 240)
    fields = to_surreal(facing, joints(facing, body).float(), camera, "female", distance=7.0)
    left_hand, head, foot = (fields["joints2D"][:, k, 0] for k in (22, 15, 10))
    assert left_hand[0] < 160
    assert head[1] < foot[1]
    assert fields["joints3D"][1, 15, 0] < fields["joints3D"][1, 10, 0]
    assert fields["gender"][0, 0] == 0


def test_surreal_parts_are_flipped_as_images_are(tmp_path: Path) -> None:
    parts = np.zeros((240, 320), np.uint8)
    parts[100, 0] = 7
    scipy.io.savemat(tmp_path / "a_segm.mat", {"segm_1": parts, "segm_2": parts})
    read = read_surreal_parts(tmp_path / "a_segm.mat", 2)
    assert read.shape == (2, 240, 320) and read[1, 100, 319] == 7 and read.sum() == 14
    with pytest.raises(ValueError, match="segm_3"):
        read_surreal_parts(tmp_path / "a_segm.mat", 3)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("pose", None, "lacks pose"),
        ("pose", np.zeros((71, 4)), "pose is float64 of shape"),
        ("joints3D", np.zeros((3, 24, 3)), "joints3D"),
        ("zrot", np.array([["a"]], dtype=object), "zrot"),
        ("shape", np.full((10, 4), np.inf), "shape"),
    ],
)
def test_a_malformed_surreal_file_names_the_key(
    tmp_path: Path, body: Body, key: str, value: np.ndarray | None, says: str
) -> None:
    written = random_motion(4).to(torch.float32)
    fields = to_surreal(written, joints(written, body).float(), surreal_camera(4), "male", 6.5) | {key: value}
    path = write_surreal(tmp_path / "bad_info.mat", {name: a for name, a in fields.items() if a is not None})
    with pytest.raises(ValueError, match=rf"bad_info\.mat.*{says}"):
        read_surreal(path)


def test_surreal_refuses_another_camera(body: Body) -> None:
    written = random_motion(2).to(torch.float32)
    camera = replace(surreal_camera(2), focal=torch.tensor([500.0, 600.0]))
    with pytest.raises(ValueError, match="500"):
        to_surreal(written, joints(written, body).float(), camera, "male", 6.0)


def test_a_mat_that_unpacks_to_too_much_is_refused_before_it_does(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "bomb.mat", {"a": np.zeros((4000, 1000))}, do_compression=True)
    assert (tmp_path / "bomb.mat").stat().st_size < 1 << 17
    with pytest.raises(ValueError, match=r"bomb\.mat.*allowed"):
        read_mat(tmp_path / "bomb.mat", ["a"], max_bytes=1 << 20)


def test_damaged_mats_raise_value_errors(tmp_path: Path) -> None:
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"a": np.arange(50.0), "b": "text"}, do_compression=True)
    whole = stream.getvalue()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.mat"
    refused = 0
    for cut in range(1, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"damaged\.mat"):
            read_mat(path, ["a"], 1 << 20)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(0, len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_mat(path, ["a"], 1 << 20)
        except ValueError as error:
            assert "damaged.mat" in str(error)
            refused += 1
    assert refused > 20


# ---- Human3.6M -------------------------------------------------------------------------------------------------


def test_human36m_cameras_see_as_the_data_set_defines(tmp_path: Path) -> None:
    """The camera's centre is the translation in mm, its rotation the product of turns about x, y and z."""
    values = np.zeros(300)
    pose = values[:264].reshape(4, 11, 6)
    pose[1, 8] = [np.pi / 2, 0, 0, 1000, -4000, 1500]
    lenses = values[264:].reshape(4, 9)
    lenses[1] = [1145, 1143, 512, 515, -0.2, 0.24, -0.002, -0.0009, -0.0016]
    (tmp_path / "metadata.xml").write_text(f"<m><w0>[{' '.join(map(str, values))}]</w0></m>")
    camera = read_human36m_cameras(tmp_path / "metadata.xml")["S9"][HUMAN36M_CAMERAS[1]]
    centre = camera.camera.to_world(torch.zeros(1, 3))[0]
    assert centre.tolist() == pytest.approx([1, 1.5, 4], abs=1e-5)
    # Rx(90 degrees) takes the world's z to the camera's -y, and its y to z: the camera looks along +y, upright.
    ahead = torch.tensor([[1.0, 1.5, 3.0], [1.0, 2.5, 2.0]])
    assert camera.camera.to_camera(ahead)[:, 2].tolist() == pytest.approx([1, 2], abs=1e-5)
    assert camera.project(ahead)[0].tolist() == pytest.approx([512, 515], abs=1e-3)
    x, y = 0.0, -0.5
    r2 = x * x + y * y
    bent = y * (1 - 0.2 * r2 + 0.24 * r2**2 - 0.002 * r2**3 - 0.0009 * y - 0.0016 * x) - 0.0009 * r2
    assert camera.project(ahead)[1, 1].item() == pytest.approx(1143 * bent + 515, abs=1e-2)


def test_human36m_joints_are_turned_up_and_their_17_are_named(tmp_path: Path) -> None:
    positions = np.zeros((3, 32, 3), np.float32)
    positions[:, 15, 2] = 1.7
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d={"S9": {"Walking 1": positions}})
    joints_32 = read_human36m_joints(tmp_path / "data_3d_h36m.npz")["S9"]["Walking 1"]
    head = KEYPOINT_SETS["human36m-17"].index("head")
    assert joints_32[:, list(JOINTS_17_OF_32)][0, head].tolist() == pytest.approx([0, 1.7, 0])


def test_human36m_refuses_what_is_not_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "evil.npz", positions_3d=np.array(Evil(), dtype=object))
    with pytest.raises(ValueError, match="refused"):
        read_human36m_joints(tmp_path / "evil.npz")
    assert "run" not in capsys.readouterr().out
    np.savez(tmp_path / "short.npz", positions_3d={"S9": {"Walking": np.zeros((3, 17, 3))}})
    with pytest.raises(ValueError, match="S9, Walking"):
        read_human36m_joints(tmp_path / "short.npz")
    (tmp_path / "metadata.xml").write_text("<w0>[1 2 3]</w0>")
    with pytest.raises(ValueError, match="300"):
        read_human36m_cameras(tmp_path / "metadata.xml")
