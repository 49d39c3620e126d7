from dataclasses import fields
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from selfmocap.body_model.body import Body
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig, sample_batch
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.loop import learning_rate, micro_batch_seed, micro_batches, restore
from selfmocap.training.run_log import CHECKPOINT_FILE, write_checkpoint
from selfmocap.training.train_frame import FrameTrainConfig


def test_learning_rates() -> None:
    config = FrameTrainConfig(steps=1000)
    assert learning_rate(config, 0) == pytest.approx(config.learning_rate / 200, rel=1e-3)
    assert learning_rate(config, 999) < 1e-5
    assert learning_rate(FrameTrainConfig.paper(), 9_999) == 1e-4


def test_micro_batches_are_numbered_from_the_step_at_which_a_run_resumes() -> None:
    config, fabric = FrameTrainConfig(steps=4, batch=96), Fabric(accelerator="cpu", devices=1)
    numbers = micro_batches(lambda number: number, config, 32, 2, 0, fabric)
    assert list(numbers) == [6, 7, 8, 9, 10, 11]
    seeds = [micro_batch_seed(FrameTrainConfig(seed=seed), 5) for seed in (0, 1)]
    assert seeds == [5, 1_000_003_005]


def test_the_number_of_workers_does_not_change_synthetic_batches(body: Body) -> None:
    """One thread, as workers have: with more, sums differ in the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    people = SyntheticConfig(clips=3), procedural_motions(body, 3, 3), procedural_backgrounds(2), body
    config, fabric = FrameTrainConfig(steps=5, batch=32), Fabric(accelerator="cpu", devices=1)
    alone, by_workers = (
        list(micro_batches(lambda seed: sample_batch(seed, *people), config, 32, 0, workers, fabric))
        for workers in (0, 2)
    )
    torch.set_num_threads(threads)
    assert len(alone) == len(by_workers) == 5
    for a, b in zip(alone, by_workers, strict=True):
        assert all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_a_checkpoint_is_restored_and_one_of_another_version_refused(tmp_path: Path) -> None:
    config, layers = FrameTrainConfig(), [nn.Linear(2, 2) for _ in range(2)]
    assert restore({"network": layers[1]}, config, tmp_path, resume=False) == {"step": 0}
    write_checkpoint(tmp_path, config, 7, {"network": layers[0].state_dict(), "precision": "float32"})
    found = restore({"network": layers[1]}, config, tmp_path, resume=True)
    assert (found["step"], found["precision"]) == (7, "float32")
    assert torch.equal(layers[0].weight, layers[1].weight)
    path = tmp_path / CHECKPOINT_FILE
    state = torch.load(path, weights_only=True)
    del state["version"]
    torch.save(state, path)
    with pytest.raises(ValueError, match="a training run of another version of selfmocap"):
        restore({"network": layers[1]}, config, tmp_path, resume=True)
