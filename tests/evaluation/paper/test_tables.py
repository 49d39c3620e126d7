import json
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
from selfmocap.evaluation.paper.clips import (
    AS_THE_PAPER,
    SHIFTED,
    BenchmarkClip,
    ClipChoice,
    benchmark_clips,
    evidence_of,
    relit,
    weakened,
)
from selfmocap.evaluation.paper.curves import figure, losses
from selfmocap.evaluation.paper.experience import experience
from selfmocap.evaluation.paper.paper import PUBLISHED
from selfmocap.evaluation.paper.record import row_fingerprint
from selfmocap.evaluation.paper.rows import ROWS, RowConfig
from selfmocap.evaluation.paper.scores import depth_signs_wrong, harm, scores_of
from selfmocap.evaluation.paper.tables import clips_folder, table
from selfmocap.geometry.camera import Camera, project, to_crop
from selfmocap.losses.reprojection import body_mask
from selfmocap.models.checkpoints import load_network, save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.pipeline.adapt_folder import AdaptFolderConfig, adapt_folder
from tests.helpers.exported_files import wandering_motion

pytestmark = pytest.mark.slow

TEST_SET = ClipChoice(clips=2, frames=4)
QUICK = RowConfig(
    adapt=AdaptConfig(epochs=2),
    adapt_each=AdaptConfig(epochs=2, window=4, windows=1),
    keep_out=0.3,
    refine=FitConfig(3),
    refine_adapted=FitConfig(3),
    optimise=FitConfig(3, 0.03),
    descend=FitConfig(3, 2e-3, "constant", "gradient descent"),
)


def quiet(stage: str, done: int, total: int) -> None:
    pass


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
    return benchmark_clips(AS_THE_PAPER, TEST_SET, clips_folder(out, AS_THE_PAPER.name), body)


def test_the_truth_explains_what_is_seen(clips: list[BenchmarkClip], body: Body) -> None:
    """Keypoints to a hundredth of a pixel, and masks but for clothes and hair."""
    for clip in clips:
        seen, frames = clip.observations, len(clip.observations)
        with torch.no_grad():
            points = body.keypoints(body.pose(clip.truth).vertices, seen.keypoint_set)
        pixels = project(points, clip.camera.focal, clip.camera.center)
        sure = seen.keypoint_confidence > 0
        assert sure.float().mean() > 0.9 and set(seen.keypoint_confidence.unique().tolist()) <= {0.0, 1.0}
        assert (pixels - seen.keypoints)[sure].abs().max() < 0.01
        camera = Camera(
            clip.camera.focal.expand(frames, 2), clip.camera.center.expand(frames, 2),
            torch.eye(3).expand(frames, 3, 3), torch.zeros(frames, 3),
        )  # fmt: skip
        mask = body_mask(body, clip.truth, camera, seen.boxes)
        assert seen.masks is not None
        assert (mask & seen.masks).sum() / (mask | seen.masks).sum() > 0.8


def test_clips_are_made_once_and_only_for_one_test_set(
    out: Path, body: Body, clips: list[BenchmarkClip]
) -> None:
    folder = clips_folder(out, AS_THE_PAPER.name)
    again = benchmark_clips(AS_THE_PAPER, TEST_SET, folder, body, lambda *_: pytest.fail("filmed again"))
    assert torch.equal(again[1].truth.R_parent_joint, clips[1].truth.R_parent_joint)
    for other, protocol in ((replace(TEST_SET, seed=1), AS_THE_PAPER), (TEST_SET, SHIFTED)):
        with pytest.raises(ValueError, match="holds clips of another protocol"):
            benchmark_clips(protocol, other, folder, body)
    with pytest.raises(ValueError, match="0 clips of 31 frames"):
        ClipChoice(clips=0)


def test_a_shifted_domain_is_seen_by_a_detector(
    tmp_path: Path, body: Body, clips: list[BenchmarkClip]
) -> None:
    (clip,) = benchmark_clips(SHIFTED, replace(TEST_SET, clips=1), tmp_path / "clips", body)
    with torch.no_grad():
        points = body.keypoints(body.pose(clip.truth).vertices, "coco-23")
    off = project(points, clip.camera.focal, clip.camera.center) - clip.observations.keypoints
    assert 0.5 < to_crop(off + clip.observations.boxes[:, None, :2], clip.observations.boxes).std() < 40
    assert 0 < clip.observations.keypoint_confidence.mean() < 0.95


def test_weak_keypoints_are_noisy_and_a_third_is_missing(clips: list[BenchmarkClip]) -> None:
    seen = clips[0].observations.in_set(DEFAULT_KEYPOINTS.name)
    longer = replace(clips[0], observations=seen[torch.arange(4).repeat(50)])
    weak = weakened(longer, [0, 1]).observations
    span = (seen.keypoints.amax(1) - seen.keypoints.amin(1)).amax(-1).repeat(50)
    noise = (weak.keypoints - longer.observations.keypoints) / span[:, None, None]
    assert noise.std() == pytest.approx(0.03, rel=0.05)
    kept = weak.keypoint_confidence.sum() / longer.observations.keypoint_confidence.sum()
    assert kept == pytest.approx(0.65, abs=0.03)


def test_exact_keypoints_are_kept_out_with_the_bone_heads_below(clips: list[BenchmarkClip]) -> None:
    network = FrameNetwork(NetworkConfig(trunk="none", rgb=False))
    assert {clip.observations.keypoint_set for clip in clips} == {WITH_JOINTS.name}
    evidence = evidence_of(clips, network, keep_out=0.3, joints=True)
    hidden, sure = (
        evidence.held_out > 0,
        evidence_of(clips, network, joints=True).observations.keypoint_confidence > 0,
    )
    for name in ("left_knee", "right_wrist"):
        here, there = WITH_JOINTS.index(name), WITH_JOINTS.index(f"{name}_joint")
        both = sure[:, here] & sure[:, there]
        assert torch.equal(hidden[both, here], hidden[both, there])
    first = len(DEFAULT_KEYPOINTS.names)
    assert hidden[:, :first].any() and not (evidence.inputs.confidence[hidden[:, :first]] > 0).any()
    assert evidence_of(clips, network).observations.keypoint_set == DEFAULT_KEYPOINTS.name
    other = FrameNetwork(NetworkConfig(trunk="none", rgb=False, keypoint_set="coco-17"))
    with pytest.raises(ValueError, match="the network expects 17 keypoints"):
        evidence_of(clips, other, keep_out=0.3, joints=True)


def test_each_clip_by_itself_is_what_it_was_in_the_row(clips: list[BenchmarkClip]) -> None:
    evidence = evidence_of(clips, FrameNetwork(NetworkConfig(trunk="none", rgb=False)))
    alone = split_clips(evidence)
    assert [len(one) for one in alone] == [4, 4] and all((one.clip == 0).all() for one in alone)
    assert torch.equal(torch.cat([one.observations.keypoints for one in alone]), evidence.observations.keypoints)
    assert [one.has_next.tolist() for one in alone] == [[True, True, True, False]] * 2


def test_light_changes_colours_alike_in_all_frames() -> None:
    film = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    assert relit(np.random.default_rng(1), film, 0.0) is film
    again = relit(np.random.default_rng(1), film, 0.3)
    assert again.dtype == np.uint8 and (again != film).mean() > 0.5
    for colour in range(3):
        values = {(a, b) for a, b in zip(film[..., colour].ravel(), again[..., colour].ravel(), strict=True)}
        by_grey = dict(values)
        assert len(values) == len(by_grey)
        assert (np.diff([int(by_grey[grey]) for grey in sorted(by_grey)]) >= 0).all()


# ---- scores ---------------------------------------------------------------------------------------------------


def test_depth_signs_of_a_body_that_is_flipped_in_depth(body: Body) -> None:
    joints = wandering_motion(body).joints_cam
    assert not depth_signs_wrong(joints, joints).any()
    flipped = joints * torch.tensor([1.0, 1.0, -1.0])
    assert depth_signs_wrong(flipped, joints).all()
    bent = joints.clone()
    elbow, wrist = JOINT["left_elbow"], JOINT["left_wrist"]
    bent[:, wrist, 2] = 2 * bent[:, elbow, 2] - bent[:, wrist, 2]
    deep = (joints[:, wrist, 2] - joints[:, elbow, 2]).abs() > 0.05
    assert depth_signs_wrong(bent, joints).sum() == deep.sum()
    frontal = joints.clone()
    frontal[..., 2] = 4.0
    assert len(depth_signs_wrong(joints, frontal)) == 0


def test_harm_and_the_self_checks_verdict_by_hand() -> None:
    found = harm([50.0, 60.0, 70.0, 80.0], [40.0, 61.0, 75.0, 70.0], [True, True, False, False])
    assert found["harmed"] == 0.25
    assert found["self_check"] == {
        "accepted and better": 1, "accepted and worse": 1, "rejected and better": 1, "rejected and worse": 1,
    }  # fmt: skip


# ---- experiments ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table1(out: Path, weights: Path, clips: list[BenchmarkClip]) -> dict:
    return table("table1", out, TEST_SET, weights, quiet, QUICK)


def test_table1_has_every_row_with_every_score(out: Path, table1: dict, weights: Path) -> None:
    assert json.loads((out / "table1.json").read_text()) == table1
    assert list(table1["rows"]) == list(ROWS)
    assert set(PUBLISHED["table1"]) < set(ROWS)
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
    assert sum(table1["no_harm"]["self_supervised"]["self_check"].values()) == 2


def test_a_rejected_clip_keeps_the_first_answer(out: Path, table1: dict) -> None:
    rows = table1["rows"]
    for number, accepted in enumerate(rows["self_supervised"]["accepted"]):
        source = rows["self_supervised" if accepted else "pretrained"]
        assert rows["self_supervised_accepted"]["clips_mpjpe_mm"][number] == source["clips_mpjpe_mm"][number]


def test_finished_rows_are_kept_until_their_settings_change(out: Path, weights: Path, table1: dict) -> None:
    assert table("table1", out, TEST_SET, weights, quiet, QUICK) == table1
    other = replace(QUICK, adapt=AdaptConfig(epochs=3))
    on = {"frame": "x", "temporal": "x"}
    changed = {row for row in ROWS if row_fingerprint(row, other, on) != row_fingerprint(row, QUICK, on)}
    names = {"self_supervised", "self_supervised_accepted", "self_supervised_refined"}
    assert changed == names | {f"temporal_{name}" for name in names}
    elsewhere = on | {"temporal": "y"}
    changed = {
        row for row in ROWS if row_fingerprint(row, QUICK, elsewhere) != row_fingerprint(row, QUICK, on)
    }
    assert changed == {row for row in ROWS if row.startswith("temporal")}


def test_the_truth_scores_nothing(clips: list[BenchmarkClip], body: Body, weights: Path) -> None:
    from selfmocap.evaluation.paper.clips import evidence_of, truth_of

    evidence = evidence_of(clips, load_network(weights)[0])
    scores = scores_of(body, truth_of(clips), truth_of(clips), evidence)
    assert scores["depth_sign_errors"] == 0
    assert (
        max(v for name, v in scores.items() if name.endswith(("_mm", "_frame2")) and isinstance(v, float))
        < 0.01
    )


def test_figure3_compares_losses(out: Path, weights: Path, clips: list[BenchmarkClip]) -> None:
    sums = losses(LossWeights())
    assert {name: (w.motion > 0, w.segmentation > 0, w.smoothness > 0) for name, w in sums.items()} == {
        "K": (False, False, False),
        "K+S": (False, True, False),
        "K+S+M": (True, True, False),
        "K, smooth": (False, False, True),
        "K+S+M, smooth": (True, True, True),
    }
    result = figure(out, TEST_SET, weights, quiet, AdaptConfig(epochs=1))
    for kind in ("complete", "weak"):
        for name in sums:
            curve = result["curves"][kind][name]
            assert curve["steps"] == [0, 1] and np.shape(curve["mpjpe_mm"]) == (3, 2)
            assert curve["before_mm"] == pytest.approx(np.mean(curve["mpjpe_mm"], axis=0)[0], abs=1e-2)
    complete, weak = (result["curves"][kind]["K"]["mpjpe_mm"] for kind in ("complete", "weak"))
    assert complete[0][0] == complete[1][0] and weak[0][0] != weak[1][0]
    assert (out / "figure3.png").stat().st_size > 5000


def test_experience_tests_on_other_clips(
    out: Path, weights: Path, clips: list[BenchmarkClip], table1: dict
) -> None:
    result = experience(out, TEST_SET, weights, quiet, AdaptConfig(epochs=1))
    assert result["adapted_on_clips"] == result["tested_on_clips"] == 1
    assert result["before_mpjpe_mm"] == pytest.approx(
        table1["rows"]["pretrained"]["clips_mpjpe_mm"][1], abs=0.01
    )
    assert result["after_mpjpe_mm"] == pytest.approx(
        result["before_mpjpe_mm"] + result["change_mm"]["mean"], abs=0.01
    )
    with pytest.raises(ValueError, match="--clips 2"):
        experience(out, ClipChoice(clips=1), weights, quiet)


def test_the_command_runs_and_says_what_is_wrong(
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


def test_adapt_writes_motions_and_weights_that_the_next_run_learns_from(
    out: Path, weights: Path, clips: list[BenchmarkClip], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, learned = clips_folder(out, AS_THE_PAPER.name), tmp_path / "learned.safetensors"
    args = ["adapt", str(folder), "--out", str(tmp_path / "first"), "--learn-from", str(weights)]
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
    alone = AdaptFolderConfig(learn_from=learned, adapt=AdaptConfig(epochs=1))
    adapt_folder(folder / "clip_00000" / "observations.npz", tmp_path / "second", alone)
    again = Motion.load(tmp_path / "second" / "person-1" / "motion.npz")
    assert again.provenance["weights"] == about["sha256"]


def test_adapt_of_a_folder_without_observations_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["adapt", str(tmp_path), "--out", str(tmp_path / "out")])
    assert exit_info.value.code == 2
    assert "no observations.npz" in capfd.readouterr().err
