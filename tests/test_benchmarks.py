"""Every benchmark and every script runs, in its smallest form."""

import functools
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.cli.main import main
from selfmocap.models.temporal_inference import shipped_temporal_weights
from tests.conftest import ROOT
from tests.helpers.programs import run_program
from tests.helpers.recordings import bvh_text, joints, random_motion
from tests.helpers.stub_capture import capture_with_little_work, drawn_video, untrained_weights

pytestmark = pytest.mark.slow

SMALLEST = {
    "adaptation": "--clips 1 --frames 6 --rounds 1 --epochs 1 --lengths 1 2 --json",
    "app": "VIDEO --seconds 0.3 --rounds 1",
    "body": "--rounds 1 --batch 2 --json",
    "bulk simulated": "--workers 2 --jobs 4 --seconds 0.1 --json",
    "bulk captures": "--video VIDEO --clips 1 --frames 15 --json",
    "bulk clip": "--video VIDEO --json",
    "bulk throughput": "--video VIDEO --clips 2 --frames 15 --json",
    "camera": "--clips 1 --frames 8 --moves walk",
    "capture": "VIDEO --seconds 0.6 --times 1 --quality fast --json",
    "capture_versions": "FORMER VIDEO --frames 15 --quality fast --json",
    "capture_kills": "--kills 1 --json",
    "characters": "MOTIONS --names turn-1 --seconds 1 --json",
    "detectors": "--people 1 --picture OUT/curves.png --json",
    "dynamics": "--frames 40 --rounds 1 --json",
    "films": "--clips VIDEO --length 18 --rate 2 --json",
    "ground": "MOTIONS --held-out bob --clips 1 --frames 30 --json",
    "lens": "MOTIONS --clips 1 --frames 24 --travel 0 --json",
    "hands": "--clips 1 --frames 8 --errors 0.03 --json",
    "input_ablation": "--motions MOTIONS --held-out bob --frames 4",
    "lifting": "--motions MOTIONS --held-out bob --frames 32 --examples 512",
    "moving_captures": "MOTIONS --frames 8 --moves pan",
    "refine_clips": "VIDEO --seconds 0.3 --out OUT",
    "refine_results": "MOTIONS --clips 1 --frames 8 --steps 2 --kinds scaled",
    "segmentation": "--rounds 1 --batch 2 --json",
    "self_supervision": "--rounds 1 --batch 2 --json",
    "shared_floor": "--scenes 2 --json",
    "shards": "--shards 10 --clips 1 --draws 4 --json",
    "synthetic": "--seconds 1 --workers 0 --json",
    "synthetic_realism": "--pictures 4 --json",
    "frontend": "VIDEO --frames 18 --json",
    "training": "--steps 1 --batch 32 --networks keypoints paper --json",
    "visibility": "--rounds 1 --poses 1 --json",
}
"""Arguments of each benchmark; VIDEO, MOTIONS, POSITIONS and OUT are made, FORMER is this one."""

PEERS = {
    "app": ("selenium",),
    "body": ("smplx",),
    "bulk simulated": ("ray",),
    "bulk captures": ("ray",),
    "bulk clip": ("ray",),
    "bulk throughput": ("ray", "s3fs"),
    "films": ("ray",),
    "shards": ("webdataset",),
    "visibility": ("open3d", "trimesh", "embreex"),
}
"""Packages without which a benchmark does not run."""

SCRIPTS = {
    "architecture_picture": "OUT/architecture.png",
    "capture_picture": "CAPTURE OUT/capture.png",
    "cli_reference": "",
    "fit_keypoint_confidence": "MOTIONS --held-out bob --people 4 --out OUT/confidence.json",
    "fit_pose_prior": "MOTIONS --held-out bob --out OUT/prior.npz",
    "fuzz_readers": "--seconds 2",
    "keypoint_sets_reference": "",
    "measure_keypoint_errors": "--clips 1 --frames 12",
    "measure_postprocessing": "CAPTURE",
    "package_weights": f"{shipped_temporal_weights()} --out OUT",
    "retarget_report": "MOTIONS --joints POSITIONS --out OUT",
}

DOWNLOADING = {"hands_picture", "package_detector_models", "resolve_wheels"}
"""Scripts that ask package registries, or need a video with hands: they are run by hand."""


RECORDINGS = {"cmu_01_01": "bob", "turn-1": "ann", "turn-2": "bob", "turn-3": "ann"}
"""Names of recordings, and their subjects."""

SHORT = {"left_": "l_", "right_": "r_", "foot": "toe", "spine1": "spine", "spine3": "chest"}
"""Parts of joint names as the script for retargeting has them."""


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / folder).glob("*.py") if "__main__" in path.read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, body: Body) -> dict[str, str]:
    """What arguments in capitals stand for: a video of a synthetic person, recordings of two subjects, their joints."""
    folder = tmp_path_factory.mktemp("benchmarks")
    motions, positions = folder / "motions", folder / "positions"
    motions.mkdir()
    positions.mkdir()
    for number, name in enumerate(RECORDINGS):
        motion = random_motion(121, seed=number, spread=0.2)
        (motions / f"{name}.bvh").write_text(bvh_text(motion, body, fps=30.0))
        short = [functools.reduce(lambda n, pair: n.replace(*pair), SHORT.items(), n) for n in JOINT_NAMES]
        np.savez(positions / f"{name}.npz", joints=joints(motion, body).numpy(), names=np.array(short))
    rows = [f"{name}.bvh,,30,{subject}" for name, subject in RECORDINGS.items()]
    (motions / "motions.csv").write_text("\n".join(["file,skeleton,fps,subject", *rows]))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "synthesize",
                "--out",
                str(folder / "synthetic"),
                "--clips",
                "1",
                "--frames",
                "36",
                "--seed",
                "7",
            ]
        )
    assert ended.value.code == 0
    video = folder / "synthetic" / "clip_00000" / "video.mp4"
    return {"VIDEO": str(video), "MOTIONS": str(motions), "POSITIONS": str(positions)}


def run(script: Path, arguments: list[str], made: dict[str, str], out: Path) -> str:
    """What a program prints; it ends well, or it says that a goal is missed, as small sizes do."""
    known = {**made, "OUT": str(out), "FORMER": str(ROOT)}
    for name, value in known.items():
        arguments = [argument.replace(name, value) for argument in arguments]
    # A cache of their own: PyTorch's compiler does not tell the vector widths of cached code apart.
    environment = {"TORCHINDUCTOR_CACHE_DIR": str(out / "compiled")}
    done = run_program(script, arguments, environment, out)
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr[-3000:]
    return done.stdout


def test_all_benchmarks_and_scripts_are_run() -> None:
    assert {name.split()[0] for name in SMALLEST} == set(names("benchmarks"))
    assert set(SCRIPTS) | DOWNLOADING == set(names("scripts"))


@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs(name: str, made: dict[str, str], tmp_path: Path) -> None:
    if name == "app" and not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("apt-get install chromium chromium-driver")
    missing = [peer for peer in PEERS.get(name, ()) if importlib.util.find_spec(peer) is None]
    if missing:
        pytest.skip(f"its peers are not installed: pip install {' '.join(missing)}")
    script, *what = name.split()
    arguments = what + SMALLEST[name].split()
    printed = run(ROOT / "benchmarks" / f"{script}.py", arguments, made, tmp_path)
    assert "{" in printed if "--json" in arguments else printed


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs(name: str, made: dict[str, str], tmp_path: Path) -> None:
    if "CAPTURE" in SCRIPTS[name]:
        video, weights = (
            drawn_video(tmp_path / "two.mp4"),
            untrained_weights(tmp_path / "untrained.safetensors"),
        )
        capture_with_little_work(video, tmp_path / "capture", weights)
    script = ROOT / "scripts" / f"{name}.py"
    printed = run(script, SCRIPTS[name].split(), made | {"CAPTURE": str(tmp_path / "capture")}, tmp_path)
    assert printed or any(path.is_file() for path in tmp_path.iterdir())
