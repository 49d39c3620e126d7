import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.training.train_frame import (
    MICRO_BATCH_FRAMES,
    FrameTrainConfig,
    train_frame_network,
    validate_frame_network,
)
from tests.conftest import ROOT
from tests.helpers.programs import start_program, torchrun_environments
from tests.helpers.training_run import CONFIG, FourPoses

SCRIPT = ROOT / "tests" / "helpers" / "training_run.py"


def history(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def run(out: Path, steps: int, batch: int, processes: int = 1) -> None:
    environments = torchrun_environments(processes) if processes > 1 else [{}]
    started = [start_program(SCRIPT, [out, steps, batch], environment) for environment in environments]
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0] * processes


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    run(out, 12, MICRO_BATCH_FRAMES)
    return out


class OneBatch(FourPoses):
    """Return the same views for every seed."""

    def __call__(self, seed: int) -> tuple[FrameInputs, BodyParameters]:
        return super().__call__(-1)


@pytest.mark.slow
def test_training_overfits_one_batch(body: Body, tmp_path: Path) -> None:
    sample = OneBatch(body)
    batch = [sample(0)]
    before = validate_frame_network(FrameNetwork(CONFIG.network), body, batch)
    config = replace(CONFIG, steps=120, learning_rate=3e-3, ema_decay=0.9)
    network = train_frame_network(config, sample, body, tmp_path / "out", validation=batch)
    losses = [line["total"] for line in history(tmp_path / "out")]
    assert sum(losses[-5:]) < 0.65 * sum(losses[:5])
    after = validate_frame_network(network, body, batch)
    assert after["mpjpe_mm"] < 0.65 * before["mpjpe_mm"]
    assert history(tmp_path / "out")[-1]["validation"] == pytest.approx(after)
    weights, about = load_network(tmp_path / "out" / "network.safetensors")
    assert about["step"] == 120
    assert about["training"]["learning_rate"] == 3e-3
    assert validate_frame_network(weights, body, batch) == pytest.approx(after)


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    process = start_program(SCRIPT, [out, 12, MICRO_BATCH_FRAMES, 0.15])
    path, deadline = out / "history.jsonl", time.time() + 90
    while not path.exists() or len(path.read_text().splitlines()) < 6:
        assert time.time() < deadline and process.is_alive()
        time.sleep(0.02)
    process.kill()
    process.join()
    assert len(history(out)) < 12
    run(out, 12, MICRO_BATCH_FRAMES)
    assert history(out) == history(uninterrupted)
    resumed, expected = (
        load_network(folder / "network.safetensors")[0].state_dict() for folder in (out, uninterrupted)
    )
    assert all(torch.equal(resumed[name], expected[name]) for name in resumed)


@pytest.mark.slow
def test_two_processes_equal_one_with_the_double_batch(tmp_path: Path) -> None:
    run(tmp_path / "one", 5, 2 * MICRO_BATCH_FRAMES)
    run(tmp_path / "two", 5, 2 * MICRO_BATCH_FRAMES, processes=2)
    assert (tmp_path / "two-of-2-0").exists()
    assert (tmp_path / "two-of-2-1").exists()
    for one, two in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=1e-3)


@pytest.mark.slow
def test_workers_do_not_change_the_losses(body: Body, uninterrupted: Path, tmp_path: Path) -> None:
    train_frame_network(CONFIG, FourPoses(body), body, tmp_path, workers=2, every=4)
    for with_workers, without in zip(history(tmp_path), history(uninterrupted), strict=True):
        assert with_workers == pytest.approx(without, rel=1e-3)  # Sums depend on the number of threads.


@pytest.mark.slow
def test_a_folder_with_another_run_is_refused(body: Body, uninterrupted: Path) -> None:
    with pytest.raises(ValueError, match="already holds a training run: resume it"):
        train_frame_network(CONFIG, FourPoses(body), body, uninterrupted)
    with pytest.raises(ValueError, match="holds a run of another configuration"):
        train_frame_network(replace(CONFIG, seed=1), FourPoses(body), body, uninterrupted, resume=True)
    with pytest.raises(ValueError, match="expected a multiple of 32"):
        FrameTrainConfig(batch=48)


def test_the_papers_losses_train_the_papers_network(body: Body, tmp_path: Path) -> None:
    paper = FrameTrainConfig.paper()
    config = replace(paper, network=replace(paper.network, width=2, rgb=False), steps=24, learning_rate=1e-3)
    train_frame_network(config, OneBatch(body), body, tmp_path)
    losses = [line["total"] for line in history(tmp_path)]
    assert set(history(tmp_path)[0]) == {"step", "theta", "betas", "root", "translation", "total"}
    assert sum(losses[-3:]) < 0.65 * sum(losses[:3])
