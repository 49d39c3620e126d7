import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.datasets.three_dpw import read_three_dpw
from tests.helpers.recordings import Evil, joints, random_motion, threedpw_data


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


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sequence", Evil(), "refused"),
        ("trans", None, "lacks trans"),
        ("trans", [], "trans is for 0 people"),
        ("poses", 3, "expected a list by person in poses"),
        ("genders", {"a": 1}, "expected a list by person in genders"),
        ("genders", ["x"], "genders"),
        ("cam_poses", np.zeros((4, 4)), "cam_poses"),
        ("poses", [np.zeros((5, 71))], r"poses\[0\]"),
    ],
)
def test_a_malformed_threedpw_file_names_the_key(
    tmp_path: Path, body: Body, capsys: pytest.CaptureFixture[str], key: str, value: object, message: str
) -> None:
    data = threedpw_data([random_motion(5)], body) | {key: value}
    kept = {name: item for name, item in data.items() if item is not None}
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(kept, protocol=2))
    with pytest.raises(ValueError, match=rf"bad\.pkl.*{message}"):
        read_three_dpw(tmp_path / "bad.pkl")
    assert "run" not in capsys.readouterr().out
