"""The rows of Kanazawa et al. 2019."""

import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.cli.main import main
from selfmocap.evaluation.paper import hmmr
from selfmocap.evaluation.paper.config import BenchmarkConfig, HmmrTrainingConfig
from selfmocap.evaluation.paper.hmmr import HMMR_TRAINED_ROWS, reproduce_hmmr
from selfmocap.geometry.camera import translation_to_crop
from selfmocap.io.progress import no_progress
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import Prediction
from selfmocap.models.temporal import TemporalConfig, TemporalNetwork
from selfmocap.models.temporal_inference import load_temporal, save_temporal
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training import temporal_recipe, validate_temporal
from selfmocap.training.config import TemporalDataConfig
from selfmocap.training.temporal_data import SyntheticClips
from selfmocap.training.temporal_recipe import (
    clip_maker,
    read_motions,
    temporal_training_data,
    validation_clips,
)
from selfmocap.training.validate_temporal import hallucination_scores, surface_scores
from tests.helpers.recordings import bvh_text, random_motion

pytestmark = pytest.mark.slow

TEST_SET = BenchmarkConfig(clips=2, frames=14)
QUICK = HmmrTrainingConfig(seeds=2, steps=2)
SMALL = TemporalConfig(width=32, hidden=32, blocks=2, frames=13, reach=3)
SCORES = {
    "mpjpe_mm", "pa_mpjpe_mm", "surface_mm", "pck", "acceleration_error_mm_per_frame2",
    "limb_acceleration_error_mm_per_frame2",
}  # fmt: skip
SHIPPED = {"frame", "butterworth", "one_euro", "one_euro_both_ways", "untrained", "temporal_deltas"}


def quiet_drawing(path: Path, result: dict) -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def _share_procedural_motions(body: Body) -> Iterator[None]:
    made = functools.cache(lambda count, seed: procedural_motions(body, count, seed=seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temporal_recipe, "procedural_motions", lambda _, count=48, seed=0: made(count, seed))
        patch.setattr(validate_temporal, "_SPEEDS", (0.0, 1.0))
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hmmr")


@pytest.fixture(scope="module")
def weights(out: Path) -> Path:
    torch.manual_seed(0)
    network = TemporalNetwork(NetworkConfig(trunk="none", rgb=False), SMALL)
    for layer in network.frame.heads.outputs():
        torch.nn.init.normal_(layer.weight, std=0.3)
    save_temporal(out / "untrained.safetensors", network, {})
    return out / "untrained.safetensors"


@pytest.fixture(scope="module")
def shipped(out: Path, weights: Path) -> dict:
    return reproduce_hmmr(out, TEST_SET, weights, no_progress)


@pytest.fixture(scope="module")
def trained(out: Path, weights: Path, shipped: dict) -> dict:
    return reproduce_hmmr(out, TEST_SET, weights, no_progress, QUICK)


def test_temporal_weights_are_scored_beside_the_frame_network_and_filters(
    out: Path, weights: Path, shipped: dict, body: Body
) -> None:
    assert shipped["rows"].keys() == SHIPPED
    assert all(scores.keys() - {"setting"} == SCORES for scores in shipped["rows"].values())
    assert shipped["about"]["command"] == "selfmocap reproduce hmmr --clips 2 --frames 14"
    assert shipped["about"]["fps"] == 30.0
    network, known = load_temporal(weights)
    assert shipped["about"]["weights_sha256"] == known["sha256"]
    motions = read_motions(TemporalDataConfig(unlabelled_fraction=0.5), 0, body, None, no_progress)
    clips = validation_clips(motions.validation, 2, body, 14)
    errors = hallucination_scores(network, body, clips)
    future = shipped["hallucination"]["future"]
    assert future["estimate_mm"] == pytest.approx(errors["future_mm"], abs=1e-3)
    assert future["constant_mm"] == pytest.approx(errors["future_constant_mm"], abs=1e-3)
    assert future["improvement_percent"] == round(
        100 * (1 - future["estimate_mm"] / future["constant_mm"]), 1
    )


def test_surface_and_pck_of_the_truth_and_of_errors(body: Body) -> None:
    motions = read_motions(TemporalDataConfig(), 0, body, None, no_progress)
    clips = validation_clips(motions.validation, 2, body, 6)
    targets = clips.targets
    camera = translation_to_crop(targets.p_cam_root, targets.boxes, targets.focal, targets.center)
    truth = Prediction(targets.R_cam_joint, targets.betas, camera)
    scores = surface_scores(body, "coco-23", truth, clips)
    assert scores["surface_mm"] < 0.1 and scores["pck"] == 1.0
    nearer = surface_scores(body, "coco-23", replace(truth, crop_camera=camera - 0.05), clips)
    assert nearer["surface_mm"] == scores["surface_mm"] and nearer["pck"] == 1.0
    upside_down = truth.R_parent_joint.clone()
    upside_down[:, :, 0] = torch.diag(torch.tensor([-1.0, -1.0, 1.0])) @ upside_down[:, :, 0]
    flipped = surface_scores(body, "coco-23", replace(truth, R_parent_joint=upside_down), clips)
    assert flipped["surface_mm"] > 200 and flipped["pck"] < 0.4


def test_trained_rows_have_means_and_spread_over_seeds(out: Path, trained: dict) -> None:
    assert trained["rows"].keys() == SHIPPED | HMMR_TRAINED_ROWS.keys()
    assert {"temporal", "unlabelled_25", "unlabelled_50", "unlabelled_100"} < HMMR_TRAINED_ROWS.keys()
    for row in HMMR_TRAINED_ROWS:
        scores = trained["rows"][row]
        assert scores["steps"] == 2 and len(scores["seeds"]) == 2
        each = [seed["mpjpe_mm"] for seed in scores["seeds"]]
        assert each[0] != each[1]
        assert scores["mpjpe_mm"] == pytest.approx(np.mean(each), abs=1e-3)
        assert scores["spread"]["mpjpe_mm"] == pytest.approx(np.std(each, ddof=1), abs=1e-3)
        assert scores.keys() > SCORES and scores["spread"].keys() == SCORES
    assert json.loads((out / "hmmr.json").read_text()) == trained
    markdown = (out / "hmmr.md").read_text()
    assert "--train --seeds 2`" in markdown and "| *the paper, 3DPW* | 116.5 | 72.6 |" in markdown
    assert "| unlabelled_25 | " in markdown and " ± " in markdown and "| future | " in markdown
    assert (out / "hmmr.png").stat().st_size > 5000
    assert not list(out.rglob("training.pt"))


def test_without_deltas_only_the_present_is_trained(out: Path, weights: Path, trained: dict) -> None:
    frame = load_temporal(weights)[0].frame
    for row, has_deltas in (("temporal", False), ("unlabelled_0", True), ("unlabelled_100", True)):
        torch.manual_seed(1)
        untrained = TemporalNetwork(frame.config, SMALL).state_dict()
        path = out / "hmmr" / f"{row}-1" / "network.safetensors"
        trained_state = load_temporal(path)[0].state_dict().items()
        changed = {
            name.split(".")[0] for name, value in trained_state if not torch.equal(value, untrained[name])
        }
        assert changed - {"frame"} == {"embed", "movie", "regressor", "temporal_filter"} | (
            {"past_regressor", "future_regressor", "hallucinator"} if has_deltas else set()
        )


def test_finished_trainings_are_scored_on_other_clips(
    out: Path, weights: Path, trained: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(out / "hmmr" / "temporal-0", tmp_path / "hmmr" / "temporal-0")
    shutil.copy(out / "hmmr" / "temporal-0.json", tmp_path / "hmmr")
    monkeypatch.setattr(hmmr, "HMMR_TRAINED_ROWS", {"temporal": HMMR_TRAINED_ROWS["temporal"]})
    monkeypatch.setattr(hmmr, "draw_unlabelled", quiet_drawing)
    monkeypatch.setattr(hmmr, "train_temporal_network", lambda *_, **__: pytest.fail("trained again"))
    other = reproduce_hmmr(tmp_path, replace(TEST_SET, seed=1), weights, no_progress, replace(QUICK, seeds=1))
    assert other["rows"]["temporal"]["mpjpe_mm"] != trained["rows"]["temporal"]["seeds"][0]["mpjpe_mm"]


def test_finished_stages_are_not_repeated(
    out: Path, weights: Path, trained: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hmmr, "train_temporal_network", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(hmmr, "tuned_filters", lambda *_: pytest.fail("scored again"))
    assert reproduce_hmmr(out, TEST_SET, weights, no_progress, QUICK) == trained
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        reproduce_hmmr(out, TEST_SET, weights, no_progress, replace(QUICK, steps=4))
    with pytest.raises(pytest.fail.Exception, match="scored again"):
        reproduce_hmmr(out, replace(TEST_SET, seed=1), weights, no_progress)


def test_an_interrupted_training_resumes(
    weights: Path, tmp_path: Path, trained: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    first_steps: list[int] = []

    def stopped(stage: str, done: int, total: int) -> None:
        if stage == "train" and done == 1:
            raise Stop

    def watched(stage: str, done: int, total: int) -> None:
        first_steps.extend([done] * (stage == "train"))

    monkeypatch.setattr(hmmr, "_CHECKPOINT_STEPS", 1)
    monkeypatch.setattr(hmmr, "HMMR_TRAINED_ROWS", {"temporal": HMMR_TRAINED_ROWS["temporal"]})
    monkeypatch.setattr(hmmr, "draw_unlabelled", quiet_drawing)
    once = replace(QUICK, seeds=1)
    with pytest.raises(Stop):
        reproduce_hmmr(tmp_path, TEST_SET, weights, stopped, once)
    result = reproduce_hmmr(tmp_path, TEST_SET, weights, watched, once)
    assert first_steps == [2]
    assert result["rows"]["temporal"]["mpjpe_mm"] == trained["rows"]["temporal"]["seeds"][0]["mpjpe_mm"]
    assert result["rows"]["temporal"]["spread"] == {}


def test_a_larger_fraction_of_unlabelled_video_has_more_people(body: Body, tmp_path: Path) -> None:
    motions = read_motions(TemporalDataConfig(unlabelled_fraction=0.5), 0, body, None, no_progress)
    make_clips = clip_maker(motions.labelled, body, SMALL.frames, None, tmp_path, no_progress)
    counts = {}
    for row, kind in HMMR_TRAINED_ROWS.items():
        data = temporal_training_data(
            TemporalDataConfig(unlabelled_share=kind.unlabelled), motions, make_clips
        )
        source = data.unlabelled
        assert isinstance(source, SyntheticClips)
        if kind.unlabelled == 0:
            assert source is data.labelled
        else:
            assert not source.labelled and not set(map(id, source.motions)) & set(map(id, motions.labelled))
            counts[row] = len(source.motions)
    assert counts == {"unlabelled_25": 12, "unlabelled_50": 24, "unlabelled_100": 48}


@pytest.mark.parametrize("held_out", [(), ("ann", "bob")])
def test_a_folder_of_test_people_alone_is_scored(
    weights: Path, body: Body, tmp_path: Path, held_out: tuple[str, ...]
) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "out").mkdir()
    for subject in ("ann", "bob"):
        (tmp_path / "people" / f"{subject}.bvh").write_text(bvh_text(random_motion(90), body, fps=30.0))
    rows = ["file,skeleton,fps,subject", "ann.bvh,,30,ann", "bob.bvh,,30,bob"]
    (tmp_path / "people" / "motions.csv").write_text("\n".join(rows))
    config = replace(TEST_SET, motions=tmp_path / "people", held_out=held_out)
    result = reproduce_hmmr(tmp_path / "out", config, weights, no_progress)
    assert result["rows"].keys() == SHIPPED
    with pytest.raises(ValueError, match="no recordings of eve; its subjects are ann, bob"):
        reproduce_hmmr(tmp_path / "out", replace(config, held_out=("eve",)), weights, no_progress)


def test_invalid_settings_are_refused(weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError, match="no subjects to test on"):
        reproduce_hmmr(tmp_path, replace(TEST_SET, motions=tmp_path), weights, no_progress, QUICK)
    with pytest.raises(ValueError, match="give --frames 4 at least"):
        reproduce_hmmr(tmp_path, BenchmarkConfig(clips=2, frames=3), weights, no_progress)
    with pytest.raises(ValueError, match="0 seeds"):
        HmmrTrainingConfig(seeds=0)
    with pytest.raises(SystemExit) as exit_info:
        main(["reproduce", "table1", "--out", str(tmp_path), "--train"])
    assert exit_info.value.code == 2
    assert "--train is for hmmr" in capfd.readouterr().err


def test_the_command_scores_temporal_weights(out: Path, weights: Path, shipped: dict, tmp_path: Path) -> None:
    args = ["reproduce", "hmmr", "--out", str(tmp_path), "--clips", "2", "--frames", "14"]
    with pytest.raises(SystemExit) as exit_info:
        main([*args, "--weights", str(weights)])
    assert exit_info.value.code == 0
    assert json.loads((tmp_path / "hmmr.json").read_text())["rows"] == shipped["rows"]
