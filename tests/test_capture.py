import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from selfmocap.cli import main
from selfmocap.motion import Motion
from selfmocap.network.config import NetworkConfig
from selfmocap.network.frame import FrameNetwork
from selfmocap.network.weights import load_network, save_network
from selfmocap.skeleton import keypoint_set
from tests.conftest import SHARED_DATA

DOG = SHARED_DATA / "clips" / "sam2_dog.mp4"


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first twelve frames of a real clip."""
    if not DOG.is_file():
        pytest.skip(f"{DOG} is not there: real clips are not part of the project")
    path = tmp_path_factory.mktemp("clip") / "dog.mp4"
    with av.open(str(DOG)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 1280, 720, "yuv420p", 8_000_000
        for number, frame in enumerate(source.decode(video=0)):
            if number == 12:
                break
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"))))
        target.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    torch.manual_seed(0)
    save_network(path, FrameNetwork(NetworkConfig(trunk="none", rgb=False)), {})
    return path


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main([str(arg) for arg in args])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def test_a_short_real_clip_becomes_a_motion_that_stands_on_the_person(
    short_clip: Path, untrained: Path, tmp_path: Path
) -> None:
    """Even an untrained network's answer, refined, reprojects onto what was seen."""
    assert run("capture", short_clip, "--out", tmp_path, "--quality", "fast", "--weights", untrained) == 0
    motion = Motion.load(tmp_path / "person-1" / "motion.npz")
    assert len(motion) == 12
    assert motion.fps == pytest.approx(30, rel=0.01)
    assert motion.provenance["weights"] == load_network(untrained)[1]["sha256"]
    observations = np.load(tmp_path / "person-1" / "observations.npz", allow_pickle=False)
    points = keypoint_set(str(observations["keypoint_set"]))
    hips = [points.index("left_hip"), points.index("right_hip")]
    seen = torch.from_numpy(observations["keypoints"][:, hips]).mean(1)
    pelvis = motion.camera.project(motion.camera.to_world(motion.joints_cam[:, :1]))[:, 0]
    side = 2 * float(observations["boxes"][:, 2].mean())
    assert (pelvis - seen).norm(dim=-1).max() < 0.15 * side

    assert run("capture", short_clip, "--out", tmp_path, "--quality", "balanced", "--weights", untrained) == 0
    (person,) = json.loads((tmp_path / "report.json").read_text())["people"]
    assert person["accepted"] is True
    assert person["after"]["self_check_px"] < person["before"]["self_check_px"]


def test_infer_writes_the_networks_own_answer(short_clip: Path, untrained: Path, tmp_path: Path) -> None:
    assert run("observe", short_clip, "--out", tmp_path / "seen", "--people", "largest") == 0
    assert run("infer", tmp_path / "seen", "--out", tmp_path / "first", "--weights", untrained) == 0
    assert len(Motion.load(tmp_path / "first" / "person-1" / "motion.npz")) == 12
    assert run("infer", tmp_path, "--out", tmp_path / "no", "--weights", untrained) == 2


def test_a_video_that_is_none_is_one_line_and_exit_code_2(
    tmp_path: Path, untrained: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    assert run("capture", tmp_path / "text.mp4", "--out", tmp_path / "out", "--weights", untrained) == 2
    error = capfd.readouterr().err
    assert "text.mp4" in error
    assert not list((tmp_path / "out").rglob("*.npz")) if (tmp_path / "out").exists() else True
