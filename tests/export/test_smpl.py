import pickle
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT
from selfmocap.datasets.amass import read_amass
from selfmocap.export.options import ExportOptions
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import joints_world, wandering_motion, write_like_smpl
from tests.helpers.smpl_files import smpl_arrays

R_YUP_ZUP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@pytest.fixture(scope="module")
def person_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random body in SMPL's format."""
    return write_like_smpl(tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.pkl")


def smplx_joints(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    frames = len(arrays["transl"])
    model = smplx.SMPL(str(path), batch_size=frames)
    inputs = {name: torch.from_numpy(arrays[name]) for name in ("global_orient", "body_pose", "transl")}
    betas = torch.from_numpy(arrays["betas"]).expand(frames, 10)
    with torch.no_grad():
        return model(betas=betas, **inputs).joints[:, :24].numpy()


def test_smplx_gives_the_same_joints_from_the_parameters_on_the_users_own_file(
    smpl_path: Path, tmp_path: Path
) -> None:
    smpl = Body.load(smpl_path)
    motion = wandering_motion(smpl)
    (path,) = export_motion(motion, smpl, tmp_path, ["smpl"])
    with np.load(path, allow_pickle=False) as arrays:
        found = smplx_joints(smpl_path, dict(arrays))
        assert str(arrays["body"]) == smpl.identity
        assert arrays["frame_times"] == pytest.approx(motion.frame_times.numpy())
    assert np.abs(found - joints_world(motion)).max() < 1e-4


def test_smplx_gives_amass_joints_with_smpl_h(tmp_path: Path) -> None:
    model_path = tmp_path / "SMPLH_NEUTRAL.pkl"
    hands = {f"hands_{what}{side}": np.zeros(shape) for side in "lr"
             for what, shape in (("components", (45, 45)), ("mean", 45))}  # fmt: skip
    model_path.write_bytes(pickle.dumps(smpl_arrays(joints=52, betas=16) | hands))
    smpl_h = Body.load(model_path)
    motion = wandering_motion(smpl_h)
    (path,) = export_motion(motion, smpl_h, tmp_path, ["amass"])
    with np.load(path, allow_pickle=False) as arrays:
        shapes = {name: arrays[name].shape for name in ("trans", "poses", "betas", "dmpls", "gender")}
        assert shapes == {
            "trans": (40, 3),
            "poses": (40, 156),
            "betas": (16,),
            "dmpls": (40, 8),
            "gender": (),
        }
        assert (float(arrays["mocap_framerate"]), str(arrays["gender"])) == (30.0, "neutral")
        poses, trans, betas = (torch.from_numpy(arrays[name]).float() for name in ("poses", "trans", "betas"))
    model = smplx.SMPLH(str(model_path), batch_size=40, use_pca=False, flat_hand_mean=True, ext="pkl")
    with torch.no_grad():
        joints = model(
            betas=betas[:10].expand(40, 10), transl=trans, global_orient=poses[:, :3], body_pose=poses[:, 3:66],
            left_hand_pose=poses[:, 66:111], right_hand_pose=poses[:, 111:],
        ).joints[:, : JOINT["left_hand"]]  # fmt: skip
    expected = joints_world(motion)[:, : JOINT["left_hand"]]
    assert np.abs(joints.numpy() @ R_YUP_ZUP.T - expected).max() < 1e-4


@pytest.mark.slow
def test_a_motion_of_the_embedded_body_is_fitted_to_the_users_file(
    body: Body, person_path: Path, tmp_path: Path
) -> None:
    motion = wandering_motion(body, frames=300)
    options = ExportOptions(smpl_model=person_path)
    smpl_file, amass_file = export_motion(motion, body, tmp_path, ["smpl", "amass"], options)
    with np.load(smpl_file, allow_pickle=False) as arrays:
        parameters = dict(arrays)
    error_mm = 1000 * np.linalg.norm(smplx_joints(person_path, parameters) - joints_world(motion), axis=-1)
    copied = parameters | {"betas": np.zeros(10, np.float32)}
    copied_mm = 1000 * np.linalg.norm(smplx_joints(person_path, copied) - joints_world(motion), axis=-1)
    assert error_mm.mean() < 3 and error_mm.max() < 15
    assert error_mm.mean() < 0.1 * copied_mm.mean()
    again = read_amass(amass_file)
    assert again.betas.numpy() == pytest.approx(parameters["betas"], abs=1e-5)


def test_without_an_smpl_file_the_shape_is_smpls_mean_and_the_file_says_so(
    body: Body, tmp_path: Path
) -> None:
    motion = wandering_motion(body)
    for path in export_motion(motion, body, tmp_path, ["smpl", "amass"]):
        with np.load(path, allow_pickle=False) as arrays:
            assert not arrays["betas"].any()
            assert "not fitted" in str(arrays["body"])
