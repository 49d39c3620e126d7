from pathlib import Path

import pytest

from selfmocap.body_model.body import Body
from selfmocap.body_model.model_folder import find_model
from tests.helpers.smpl_files import write_smpl_npz, write_smpl_pickle


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"0")
    return folder


@pytest.mark.parametrize(
    ("name", "gender", "kind"),
    [
        ("female/model.npz", "female", "smplh"),
        ("smplh/SMPLH_MALE.pkl", "male", "smplh"),
        ("models/smplx/SMPLX_NEUTRAL.npz", "neutral", "smplx"),
        ("smpl/models/basicModel_f_lbs_10_207_0_v1.0.0.pkl", "female", "smpl"),
        ("basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "neutral", "smpl"),
        ("smpl/SMPL_FEMALE.npz", "female", "smpl"),
        ("my-female.npz", "female", "smpl"),
    ],
)
def test_makers_layouts_are_known(tmp_path: Path, name: str, gender: str, kind: str) -> None:
    touched(tmp_path, name, "README.txt", ".DS_Store", "__MACOSX/._SMPL_FEMALE.npz", "._SMPL_MALE.npz")
    assert find_model(tmp_path, gender, (kind,)) == tmp_path / name
    with pytest.raises(FileNotFoundError, match="no smpl model for gender other"):
        find_model(tmp_path, "other", ("smpl",))


def test_a_copy_of_another_name_is_not_used_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touched(tmp_path, "Backup_female.npz", "SMPL_FEMALE.npz")
    assert find_model(tmp_path, "female").name == "SMPL_FEMALE.npz"
    assert "left aside Backup_female.npz" in caplog.text
    caplog.clear()
    (tmp_path / "SMPL_FEMALE.npz").unlink()
    assert find_model(tmp_path, "female").name == "Backup_female.npz"
    assert "Backup_female.npz: used as the model of gender female" in caplog.text


def test_kinds_are_tried_in_order_and_models_of_other_kinds_are_listed(tmp_path: Path) -> None:
    touched(tmp_path, "SMPLX_MALE.npz", "SMPL_MALE.pkl", "SMPL_MALE.npz", "male/model.npz")
    assert find_model(tmp_path, "male", ("smplh", "smpl")) == tmp_path / "male" / "model.npz"
    assert find_model(tmp_path, "male", ("smpl",)).name == "SMPL_MALE.npz"
    with pytest.raises(
        FileNotFoundError, match="gender female, found smpl male, smplh male, smplx male; expected"
    ):
        find_model(tmp_path, "female")
    touched(tmp_path, "copy/SMPLX_MALE.npz")
    with pytest.raises(ValueError, match="2 smplx models of gender male"):
        find_model(tmp_path, "male", ("smplx",))


def test_a_folder_is_its_neutral_model(tmp_path: Path) -> None:
    write_smpl_pickle(tmp_path / "SMPL_FEMALE.pkl", vertices=60)
    with pytest.raises(FileNotFoundError, match="gender neutral, found smpl female"):
        Body.load(tmp_path)
    neutral = write_smpl_npz(tmp_path / "SMPL_NEUTRAL.npz", vertices=60)
    assert Body.load(tmp_path).identity == Body.load(neutral).identity
