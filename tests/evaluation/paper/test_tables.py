"""Tables 1 and 2, figure 3, transfer, and the test clips."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.adaptation.adapt import AdaptConfig
from selfmocap.adaptation.fit import FitConfig
from selfmocap.adaptation.objective import LossWeights, split_clips
from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT, WITH_JOINTS
from selfmocap.cli.main import main
from selfmocap.evaluation.paper import tables
from selfmocap.evaluation.paper.clips import (
    PAPER_PROTOCOL,
    SHIFTED_PROTOCOL,
    BenchmarkClip,
    benchmark_clips,
    benchmark_fitting_data,
    jitter_colours,
    weaken_keypoints,
)
from selfmocap.evaluation.paper.config import BenchmarkConfig
from selfmocap.evaluation.paper.figure3 import loss_combinations, reproduce_figure3
from selfmocap.evaluation.paper.report import PUBLISHED_TUNG2017
from selfmocap.evaluation.paper.rows import ROWS, Experiment, Row, RowConfig, RowResult, RowResults
from selfmocap.evaluation.paper.scores import regressions, score_bodies, wrong_depth_signs
from selfmocap.evaluation.paper.tables import TableRun, clips_folder, reproduce_table
from selfmocap.evaluation.paper.transfer import reproduce_transfer
from selfmocap.geometry.camera import Camera, project, to_crop
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.losses.reprojection import body_mask
from selfmocap.models.checkpoints import load_network, save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.pipeline.adapt_folder import adapt_folder
from selfmocap.pipeline.config import AdaptFolderConfig
from tests.helpers.exported_files import wandering_motion

pytestmark = pytest.mark.slow

TEST_SET = BenchmarkConfig(clips=2, frames=4)
QUICK = RowConfig(
    adapt=AdaptConfig(epochs=2),
    adapt_each=AdaptConfig(epochs=2, window=4, windows=1),
    held_out_fraction=0.3,
    refine=FitConfig(3),
    refine_adapted=FitConfig(3),
    optimise=FitConfig(3, 0.03),
    gradient_descent=FitConfig(3, 2e-3, "constant", "gradient descent"),
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reproduced")


@pytest.fixture(scope="module")
def weights(out: Path) -> Path:
    torch.manual_seed(0)
    save_network(out / "untrained.safetensors", FrameNetwork(NetworkConfig(trunk="none", rgb=False)), {})
    return out / "untrained.safetensors"


@pytest.fixture(scope="module")
def clips(out: Path, body: Body) -> list[BenchmarkClip]:
    return benchmark_clips(PAPER_PROTOCOL, TEST_SET, clips_folder(out, PAPER_PROTOCOL.name), body)


def test_observations_agree_with_the_truth(clips: list[BenchmarkClip], body: Body) -> None:
    """Keypoints agree within a hundredth of a pixel, masks except for clothes and hair."""
    for clip in clips:
        observed, frames = clip.observations, len(clip.observations)
        with torch.no_grad():
            points = body.keypoints(body.pose(clip.truth).vertices, observed.keypoint_set)
        pixels = project(points, clip.camera.focal, clip.camera.center)
        visible = observed.keypoint_confidence > 0
        assert visible.float().mean() > 0.9 and set(observed.keypoint_confidence.unique().tolist()) <= {
            0.0,
            1.0,
        }
        assert (pixels - observed.keypoints)[visible].abs().max() < 0.01
        camera = Camera(
            clip.camera.focal.expand(frames, 2), clip.camera.center.expand(frames, 2),
            torch.eye(3).expand(frames, 3, 3), torch.zeros(frames, 3),
        )  # fmt: skip
        mask = body_mask(body, clip.truth, camera, observed.boxes)
        assert observed.masks is not None
        assert (mask & observed.masks).sum() / (mask | observed.masks).sum() > 0.8


def test_clips_are_made_once_and_for_one_config(out: Path, body: Body, clips: list[BenchmarkClip]) -> None:
    folder = clips_folder(out, PAPER_PROTOCOL.name)
    again = benchmark_clips(PAPER_PROTOCOL, TEST_SET, folder, body, lambda *_: pytest.fail("rendered again"))
    assert torch.equal(again[1].truth.R_parent_joint, clips[1].truth.R_parent_joint)
    for other, protocol in ((replace(TEST_SET, seed=1), PAPER_PROTOCOL), (TEST_SET, SHIFTED_PROTOCOL)):
        with pytest.raises(ValueError, match="holds files made with"):
            benchmark_clips(protocol, other, folder, body)
    with pytest.raises(ValueError, match="0 clips of 31 frames"):
        BenchmarkConfig(clips=0)


def test_a_shifted_domain_has_detected_keypoints(
    tmp_path: Path, body: Body, clips: list[BenchmarkClip]
) -> None:
    (clip,) = benchmark_clips(SHIFTED_PROTOCOL, replace(TEST_SET, clips=1), tmp_path / "clips", body)
    with torch.no_grad():
        points = body.keypoints(body.pose(clip.truth).vertices, "coco-23")
    off = project(points, clip.camera.focal, clip.camera.center) - clip.observations.keypoints
    assert 0.5 < to_crop(off + clip.observations.boxes[:, None, :2], clip.observations.boxes).std() < 40
    assert 0 < clip.observations.keypoint_confidence.mean() < 0.95


def test_weak_keypoints_are_noisy_and_a_third_is_missed(clips: list[BenchmarkClip]) -> None:
    observed = clips[0].observations.in_set(DEFAULT_KEYPOINTS.name)
    longer = replace(clips[0], observations=observed[torch.arange(4).repeat(50)])
    weak = weaken_keypoints(longer, [0, 1]).observations
    span = (observed.keypoints.amax(1) - observed.keypoints.amin(1)).amax(-1).repeat(50)
    noise = (weak.keypoints - longer.observations.keypoints) / span[:, None, None]
    assert noise.std() == pytest.approx(0.03, rel=0.05)
    kept = weak.keypoint_confidence.sum() / longer.observations.keypoint_confidence.sum()
    assert kept == pytest.approx(0.65, abs=0.03)


def test_exact_keypoints_are_held_out_with_their_joints(clips: list[BenchmarkClip]) -> None:
    network = FrameNetwork(NetworkConfig(trunk="none", rgb=False))
    assert {clip.observations.keypoint_set for clip in clips} == {WITH_JOINTS.name}
    data = benchmark_fitting_data(clips, network, held_out_fraction=0.3, joints=True)
    hidden, visible = (
        data.held_out > 0,
        benchmark_fitting_data(clips, network, joints=True).observations.keypoint_confidence > 0,
    )
    for name in ("left_knee", "right_wrist"):
        column, joint_column = WITH_JOINTS.index(name), WITH_JOINTS.index(f"{name}_joint")
        both = visible[:, column] & visible[:, joint_column]
        assert torch.equal(hidden[both, column], hidden[both, joint_column])
    first = len(DEFAULT_KEYPOINTS.names)
    assert hidden[:, :first].any() and not (data.inputs.confidence[hidden[:, :first]] > 0).any()
    assert benchmark_fitting_data(clips, network).observations.keypoint_set == DEFAULT_KEYPOINTS.name
    other = FrameNetwork(NetworkConfig(trunk="none", rgb=False, keypoint_set="coco-17"))
    with pytest.raises(ValueError, match="the network expects 17 keypoints"):
        benchmark_fitting_data(clips, other, held_out_fraction=0.3, joints=True)


def test_split_clips_are_those_of_the_concatenation(clips: list[BenchmarkClip]) -> None:
    data = benchmark_fitting_data(clips, FrameNetwork(NetworkConfig(trunk="none", rgb=False)))
    alone = split_clips(data)
    assert [len(one) for one in alone] == [4, 4] and all((one.clip == 0).all() for one in alone)
    assert torch.equal(torch.cat([one.observations.keypoints for one in alone]), data.observations.keypoints)
    assert [one.has_next.tolist() for one in alone] == [[True, True, True, False]] * 2


def test_colour_jitter_is_equal_in_all_frames() -> None:
    film = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    assert jitter_colours(np.random.default_rng(1), film, 0.0) is film
    again = jitter_colours(np.random.default_rng(1), film, 0.3)
    assert again.dtype == np.uint8 and (again != film).mean() > 0.5
    for colour in range(3):
        values = {(a, b) for a, b in zip(film[..., colour].ravel(), again[..., colour].ravel(), strict=True)}
        by_grey = dict(values)
        assert len(values) == len(by_grey)
        assert (np.diff([int(by_grey[grey]) for grey in sorted(by_grey)]) >= 0).all()


# ---- scores ---------------------------------------------------------------------------------------------------


def test_depth_signs_of_a_body_flipped_in_depth(body: Body) -> None:
    joints = wandering_motion(body).joints_cam
    assert not wrong_depth_signs(joints, joints).any()
    flipped = joints * torch.tensor([1.0, 1.0, -1.0])
    assert wrong_depth_signs(flipped, joints).all()
    bent = joints.clone()
    elbow, wrist = JOINT["left_elbow"], JOINT["left_wrist"]
    bent[:, wrist, 2] = 2 * bent[:, elbow, 2] - bent[:, wrist, 2]
    deep = (joints[:, wrist, 2] - joints[:, elbow, 2]).abs() > 0.05
    assert wrong_depth_signs(bent, joints).sum() == deep.sum()
    frontal = joints.clone()
    frontal[..., 2] = 4.0
    assert len(wrong_depth_signs(joints, frontal)) == 0


def test_regressions_and_the_heldout_check_by_hand() -> None:
    found = regressions([50.0, 60.0, 70.0, 80.0], [40.0, 61.0, 75.0, 70.0], [True, True, False, False])
    assert found["fraction"] == 0.25
    assert found["heldout_check"] == {
        "accepted and better": 1, "accepted and worse": 1, "rejected and better": 1, "rejected and worse": 1,
    }  # fmt: skip


# ---- experiments ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table1(out: Path, weights: Path, clips: list[BenchmarkClip]) -> dict:
    return reproduce_table(TableRun("table1", out, TEST_SET, weights, no_progress, QUICK))


def test_table1_has_every_row_with_every_score(out: Path, table1: dict, weights: Path) -> None:
    assert json.loads((out / "table1.json").read_text()) == table1
    assert list(table1["rows"]) == list(ROWS)
    assert set(PUBLISHED_TUNG2017["table1"]) < set(ROWS)
    for scores in table1["rows"].values():
        assert scores["frames"] == 8 and scores["seconds"] >= 0
        assert {"mpjpe_mm", "surface_mm", "absolute_mpjpe_mm", "depth_sign_errors"} < scores.keys()
        assert scores["pa_mpjpe_mm"] <= scores["translation_aligned_mpjpe_mm"] <= scores["absolute_mpjpe_mm"]
        assert np.mean(scores["clips_mpjpe_mm"]) == pytest.approx(scores["mpjpe_mm"], abs=0.01)
    about = table1["about"]
    assert about["command"] == "selfmocap reproduce table1 --clips 2 --frames 4"
    assert about["weights_sha256"] == load_network(weights)[1]["sha256"]
    assert "(64.4)" in (out / "table1.md").read_text()
    assert (out / "table1.png").stat().st_size > 5000
    assert sum(table1["regressions"]["self_supervised"]["heldout_check"].values()) == 2


def test_a_rejected_clip_keeps_the_first_estimate(out: Path, table1: dict) -> None:
    rows = table1["rows"]
    for number, accepted in enumerate(rows["self_supervised"]["accepted"]):
        source = rows["self_supervised" if accepted else "pretrained"]
        assert rows["self_supervised_accepted"]["clips_mpjpe_mm"][number] == source["clips_mpjpe_mm"][number]


def computed_rows(monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> set[str]:
    """Run a table, and return the rows that are computed."""
    computed: set[str] = set()

    def recorded(name: str, row: Row) -> Row:
        def compute(experiment: Experiment, results: RowResults, progress: ProgressCallback) -> RowResult:
            computed.add(name)
            return row.compute(experiment, results, progress)

        return replace(row, compute=compute)

    monkeypatch.setattr(tables, "ROWS", {name: recorded(name, row) for name, row in ROWS.items()})
    run()
    monkeypatch.setattr(tables, "ROWS", ROWS)
    return computed


def test_finished_rows_are_kept_until_their_settings_change(
    out: Path, weights: Path, table1: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)

    def run(config: RowConfig) -> dict:
        return reproduce_table(TableRun("table1", copy, TEST_SET, weights, no_progress, config))

    assert not computed_rows(monkeypatch, lambda: run(QUICK))
    assert json.loads((copy / "table1.json").read_text()) == table1
    other = replace(QUICK, adapt=AdaptConfig(epochs=3))
    names = {"self_supervised", "self_supervised_accepted", "self_supervised_refined"}
    assert computed_rows(monkeypatch, lambda: run(other)) == names | {f"temporal_{name}" for name in names}
    temporal, about = load_temporal()
    monkeypatch.setattr(tables, "load_temporal", lambda: (temporal, about | {"sha256": "other weights"}))
    temporal_rows = {row for row in ROWS if row.startswith("temporal")}
    assert computed_rows(monkeypatch, lambda: run(other)) == temporal_rows


def test_results_of_a_former_version_are_computed_again(
    out: Path, weights: Path, table1: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Version 0.1 wrote `answers` and other keys, and the settings of the protocol into `clips.json`."""
    clips = clips_folder(out, PAPER_PROTOCOL.name)
    shutil.copytree(clips, tmp_path / clips.name)
    former = {
        "protocol": {"name": PAPER_PROTOCOL.name, "spread": 1.0, "light": 0.0},
        "test_set": TEST_SET.as_json() | {"clips": None},
    }
    (tmp_path / clips.name / "clips.json").write_text(json.dumps(former))
    row = table1["rows"]["pretrained"] | {"fingerprint": "0", "self_check_px": [], "mpjpe_mm": 0.0}
    (tmp_path / "table1.json").write_text(json.dumps({"rows": {"pretrained": row}, "no_harm": {}}))
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "table1-pretrained.npz").write_bytes(b"former")
    result = reproduce_table(TableRun("table1", tmp_path, TEST_SET, weights, no_progress, QUICK))
    assert "computed by another version" in caplog.text
    assert result["version"] == 2 and result.keys() == table1.keys()
    for name, scores in result["rows"].items():
        assert scores["clips_mpjpe_mm"] == table1["rows"][name]["clips_mpjpe_mm"]
    with pytest.raises(ValueError, match="holds files made with"):
        (tmp_path / clips.name / "clips.json").write_text(json.dumps(former | {"test_set": {}}))
        reproduce_table(TableRun("table1", tmp_path, TEST_SET, weights, no_progress, QUICK))


def test_the_truth_has_no_error(clips: list[BenchmarkClip], body: Body, weights: Path) -> None:
    from selfmocap.evaluation.paper.clips import benchmark_fitting_data, benchmark_truth

    data = benchmark_fitting_data(clips, load_network(weights)[0])
    scores = score_bodies(body, benchmark_truth(clips), benchmark_truth(clips), data)
    assert scores["depth_sign_errors"] == 0
    assert (
        max(v for name, v in scores.items() if name.endswith(("_mm", "_frame2")) and isinstance(v, float))
        < 0.01
    )


def test_figure3_compares_sums_of_losses(out: Path, weights: Path, clips: list[BenchmarkClip]) -> None:
    sums = loss_combinations(LossWeights())
    assert {name: (w.motion > 0, w.segmentation > 0, w.smoothness > 0) for name, w in sums.items()} == {
        "K": (False, False, False),
        "K+S": (False, True, False),
        "K+S+M": (True, True, False),
        "K, smooth": (False, False, True),
        "K+S+M, smooth": (True, True, True),
    }
    result = reproduce_figure3(out, TEST_SET, weights, no_progress, AdaptConfig(epochs=1))
    for kind in ("complete", "weak"):
        for name in sums:
            curve = result["curves"][kind][name]
            assert curve["steps"] == [0, 1] and np.shape(curve["mpjpe_mm"]) == (3, 2)
            assert curve["before_mm"] == pytest.approx(np.mean(curve["mpjpe_mm"], axis=0)[0], abs=1e-2)
    complete, weak = (result["curves"][kind]["K"]["mpjpe_mm"] for kind in ("complete", "weak"))
    assert complete[0][0] == complete[1][0] and weak[0][0] != weak[1][0]
    assert (out / "figure3.png").stat().st_size > 5000


def test_transfer_is_measured_on_other_clips(
    out: Path, weights: Path, clips: list[BenchmarkClip], table1: dict
) -> None:
    result = reproduce_transfer(out, TEST_SET, weights, no_progress, AdaptConfig(epochs=1))
    assert result["adapted_on_clips"] == result["tested_on_clips"] == 1
    assert result["before_mpjpe_mm"] == pytest.approx(
        table1["rows"]["pretrained"]["clips_mpjpe_mm"][1], abs=0.01
    )
    assert result["after_mpjpe_mm"] == pytest.approx(
        result["before_mpjpe_mm"] + result["change_mm"]["mean"], abs=0.01
    )
    with pytest.raises(ValueError, match="--clips 2"):
        reproduce_transfer(out, BenchmarkConfig(clips=1), weights, no_progress)


def test_the_command_reports_a_folder_of_other_clips(
    out: Path, weights: Path, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(
            [
                "reproduce",
                "table1",
                "--out",
                str(out),
                "--clips",
                "2",
                "--frames",
                "9",
                "--weights",
                str(weights),
            ]
        )
    assert exit_info.value.code == 2
    assert "choose another folder" in capfd.readouterr().err


# ---- adapt ----------------------------------------------------------------------------------------------------


def test_adapt_writes_motions_and_weights_for_the_next_run(
    out: Path, weights: Path, clips: list[BenchmarkClip], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, learned = clips_folder(out, PAPER_PROTOCOL.name), tmp_path / "learned.safetensors"
    args = ["adapt", str(folder), "--out", str(tmp_path / "first"), "--init-from", str(weights)]
    with pytest.raises(SystemExit) as exit_info:
        main([*args, "--save-weights", str(learned)])
    assert exit_info.value.code == 0
    assert sorted(path.parent.name for path in tmp_path.rglob("motion.npz")) == ["clip_00000", "clip_00001"]
    motion = Motion.load(tmp_path / "first" / "clip_00001" / "motion.npz")
    assert len(motion) == 4 and motion.provenance["weights"] == load_network(weights)[1]["sha256"]
    network, about = load_network(learned)
    assert about["adapted_from"] == load_network(weights)[1]["sha256"]
    before = load_network(weights)[0].state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in network.state_dict().items())
    alone = AdaptFolderConfig(init_from=learned)
    observations = folder / "clip_00000" / "observations.npz"
    adapt_folder(observations, tmp_path / "second", alone, adapt_config=AdaptConfig(epochs=1))
    again = Motion.load(tmp_path / "second" / "person-1" / "motion.npz")
    assert again.provenance["weights"] == about["sha256"]


def test_adapt_refuses_a_folder_without_observations(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["adapt", str(tmp_path), "--out", str(tmp_path / "out")])
    assert exit_info.value.code == 2
    assert "expected observations.npz" in capfd.readouterr().err
