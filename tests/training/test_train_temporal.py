import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.training.config import TemporalDataConfig
from selfmocap.training.run_log import TrainingStatus
from selfmocap.training.train_temporal import (
    TemporalTrainConfig,
    TemporalTrainingData,
    train_temporal_network,
)
from selfmocap.training.validate_temporal import (
    validation_scores,
)
from tests.conftest import ROOT
from tests.helpers.programs import start_program, torchrun_environments
from tests.helpers.temporal_clips import FRAME, SMALL, training_data

CONFIG = TemporalTrainConfig(SMALL, steps=4, num_delta_frames=4, discriminator_width=16)


@pytest.fixture(scope="module")
def data(body: Body) -> TemporalTrainingData:
    return training_data(body)


def history(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def test_an_interrupted_run_resumes_bit_for_bit(
    body: Body, data: TemporalTrainingData, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    frame = FrameNetwork(FRAME)
    whole = train_temporal_network(CONFIG, frame, data, body, tmp_path / "whole", every=2)

    class Stop(Exception):
        pass

    def stop(status: TrainingStatus) -> None:
        if status.step == 3:
            raise Stop

    out = tmp_path / "stopped"
    with pytest.raises(Stop):
        train_temporal_network(CONFIG, frame, data, body, out, every=2, progress=stop)
    with pytest.raises(ValueError, match="already holds a training run"):
        train_temporal_network(CONFIG, frame, data, body, out)
    with pytest.raises(ValueError, match="another configuration"):
        train_temporal_network(replace(CONFIG, seed=1), frame, data, body, out, resume=True)
    resumed = train_temporal_network(CONFIG, frame, data, body, out, resume=True, every=2)
    assert history(out) == history(tmp_path / "whole")
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )
    assert all(torch.equal(p, frame.state_dict()[n]) for n, p in resumed.frame.state_dict().items())


@pytest.mark.slow
def test_fifty_steps_lower_the_error_below_the_frame_networks(
    body: Body, data: TemporalTrainingData, tmp_path: Path
) -> None:
    network = replace(SMALL, dropout=0.0)
    config = replace(
        CONFIG, network=network, steps=50, learning_rate=2e-3, schedule="constant", ema_decay=0.8
    )
    trained = train_temporal_network(config, FrameNetwork(FRAME), data, body, tmp_path / "out", every=50)
    scores = history(tmp_path / "out")[-1]["validation"]
    assert scores["temporal/mpjpe_mm"] < 0.8 * scores["frame/mpjpe_mm"]
    assert data.validation is not None
    again = validation_scores(trained, body, data.validation)
    assert again["temporal"]["mpjpe_mm"] == pytest.approx(scores["temporal/mpjpe_mm"], rel=1e-4)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    script = ROOT / "tests" / "helpers" / "temporal_run.py"
    for name, environments in (("one", [{}]), ("two", torchrun_environments(2))):
        started = [start_program(script, [tmp_path / name, 2], environment) for environment in environments]
        for process in started:
            process.join(240)
        assert all(process.exitcode == 0 for process in started)
    assert (tmp_path / "two-of-2-1").exists()
    for one, two in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
        assert one == pytest.approx(two, rel=1e-3)


def test_invalid_configurations_are_refused(body: Body, data: TemporalTrainingData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a multiple of 4"):
        TemporalTrainConfig(batch=6)
    with pytest.raises(ValueError, match="keypoints alone"):
        train_temporal_network(CONFIG, FrameNetwork(NetworkConfig(width=16)), data, body, tmp_path / "out")
    with pytest.raises(ValueError, match="one of them"):
        TemporalDataConfig(unlabelled_fraction=0.5, unlabelled=Path("videos"))
