import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image

from selfmocap._version import __version__
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import named_pose
from selfmocap.cli.main import main
from selfmocap.geometry.camera import Camera


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(list(args))
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def test_body_writes_a_picture_of_a_person(tmp_path: Path) -> None:
    assert run("body", "--out", str(tmp_path / "new" / "run.png"), "--pose", "run") == 0
    with Image.open(tmp_path / "new" / "run.png") as image:
        background = image.getpixel((0, 0))
        inside = sum(pixel != background for pixel in image.convert("RGB").get_flattened_data())
        assert 0.08 < inside / (image.width * image.height) < 0.5


@pytest.mark.parametrize("suffix", [".glb", ".ply"])
def test_body_writes_a_mesh_that_others_read(tmp_path: Path, body: Body, suffix: str) -> None:
    out = tmp_path / f"sit{suffix}"
    assert run("body", "--out", str(out), "--pose", "sit", "--betas", "1", "-0.5") == 0
    mesh = trimesh.load(out, force="mesh", process=False)
    expected = body.pose(
        BodyParameters(torch.tensor([1.0, -0.5]), named_pose("sit"), torch.zeros(3))
    ).vertices
    assert len(mesh.faces) == len(body.faces)
    assert mesh.bounds == pytest.approx(torch.stack([expected.amin(0), expected.amax(0)]).numpy(), abs=1e-5)


def test_body_takes_a_pose_from_json_or_from_a_motion(tmp_path: Path, body: Body) -> None:
    (tmp_path / "pose.json").write_text('{"left_elbow": [0, -90, 0]}')
    motion = Motion.from_parameters(
        body,
        BodyParameters(torch.zeros(16), named_pose("squat")[None], torch.zeros(1, 3)),
        Camera.looking_along_z(500.0, 640, 480),
        (640, 480),
        frame_times=torch.zeros(1, dtype=torch.float64),
    )
    motion.save(tmp_path / "motion.npz")
    for source in ("pose.json", "motion.npz"):
        assert run("body", "--out", str(tmp_path / "mesh.ply"), "--pose", str(tmp_path / source)) == 0


def test_body_poses_the_users_own_smpl_file(tmp_path: Path, smpl_path: Path) -> None:
    assert run("body", "--out", str(tmp_path / "smpl.ply"), "--model", str(smpl_path)) == 0
    assert len(trimesh.load(tmp_path / "smpl.ply", process=False).vertices) == 6890


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (["--out", "x.bmp"], "expected .png, .glb"),
        (["--out", "x.png", "--pose", "flying"], "no pose 'flying'; choose from t, arms-down"),
        (["--out", "x.png", "--pose", "absent.npz"], "absent.npz does not exist"),
        (["--out", "x.png", "--pose", "broken.json"], "broken.json: expected"),
        (["--out", "x.png", "--model", "absent.pkl"], "absent.pkl does not exist"),
        (["--out", "x.png", "--betas", *["0"] * 20], "20 shape coefficients given"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    args: list[str],
    match: str,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text('{"left_elbow": 3}')
    assert run("body", *args) == 2
    error = capsys.readouterr().err
    assert match in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken.json"]


def test_doctor_reports_a_complete_installation(capsys: pytest.CaptureFixture) -> None:
    assert run("doctor", "--format", "json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {"python", "torch", "cv2", "ai_edge_litert", "cpu", "gpu", "body"} <= {
        check["name"] for check in report["checks"]
    }


@pytest.mark.parametrize("args", [["--help"], ["capture", "--help"], ["train-temporal", "--help"]])
def test_help_starts_without_torch(args: list[str]) -> None:
    program = (
        "import sys; from selfmocap.cli.main import main\n"
        f"try: main({args})\n"
        "except SystemExit: assert not {'torch', 'numpy', 'cv2'} & sys.modules.keys()"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "usage: selfmocap" in finished.stdout


def test_the_version_and_the_module() -> None:
    command = [sys.executable, "-m", "selfmocap", "--version"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout == f"selfmocap {__version__}\n"


def test_closed_standard_streams_are_no_error_and_get_no_file(tmp_path: Path) -> None:
    """A file that is opened later must not get the number of a closed stream."""
    command = f'exec "{sys.executable}" -m selfmocap body --out "{tmp_path}/[a] b.png" 0<&- 1>&- 2>&-'
    assert subprocess.run(["sh", "-c", command], timeout=600, check=False).returncode == 0
    with Image.open(tmp_path / "[a] b.png") as image:
        assert image.format == "PNG"


def test_a_console_without_a_character_gets_an_escape_where_errors_go_nowhere(tmp_path: Path) -> None:
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    picture = tmp_path / "[final] é.png"
    command = ["sh", "-c", f'exec "{sys.executable}" -m selfmocap body --out "{picture}" 2>&-']
    finished = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, timeout=600, check=False
    )
    assert finished.returncode == 0 and picture.is_file()
    assert b"[final] " in finished.stdout.replace(b"\n", b"")
