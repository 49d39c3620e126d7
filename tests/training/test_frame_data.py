import json
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import project
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.scene_pool import USES_PER_SCENE
from selfmocap.training.frame_data import PooledFrames, split_recordings
from selfmocap.training.run_log import TrainingStatus
from selfmocap.training.train_frame import (
    MICRO_BATCH_FRAMES,
    FrameTrainConfig,
    train_frame_network,
    validate_frame_network,
)
from tests.helpers.pooled_frames import pooled_batches, pooled_frames
from tests.helpers.recordings import bvh_text, random_motion

CORRECTED = NetworkConfig(trunk="none", rgb=False, corrector=True)


@pytest.fixture(scope="module")
def sample(body: Body) -> PooledFrames:
    return pooled_frames(body)


@pytest.fixture(scope="module")
def batch(sample: PooledFrames) -> tuple[FrameInputs, BodyParameters]:
    """Return a batch of frames and their truth."""
    return pooled_batches(sample, range(1))[0]


def test_a_scene_is_used_several_times_with_other_errors_and_camera_effects(sample: PooledFrames) -> None:
    first, *_, last = pooled_batches(sample, range(12))
    R = [truth.R_parent_joint for _, truth in (first, last)]
    alike = (R[0][:, None] == R[1]).flatten(2).all(-1).nonzero()
    assert len(alike) > 0
    before, after = first[0][alike[:1, 0]], last[0][alike[:1, 1]]
    assert torch.equal(before.boxes, after.boxes) and torch.equal(before.focal, after.focal)
    assert before.crops is not None and before.masks is not None and after.crops is not None
    assert before.crops.shape == (1, 64, 64, 3) and before.masks.shape == (1, 64, 64)
    assert not torch.equal(before.crops, after.crops)
    keypoints = torch.stack([sample.scenes(0).keypoints[:, use] for use in range(USES_PER_SCENE)])
    assert (keypoints.std(0) > 0).float().mean() > 0.8


def test_batches_of_a_step_are_the_same_wherever_training_starts(sample: PooledFrames, monkeypatch) -> None:
    monkeypatch.setattr("selfmocap.synthetic.scene_pool._POOL_CAPACITY", 100)
    whole, rest = pooled_batches(sample, range(20)), pooled_batches(sample, range(17, 20))
    for (inputs, truth), (others, same) in zip(whole[17:], rest, strict=True):
        assert torch.equal(truth.R_parent_joint, same.R_parent_joint)
        for name, value in vars(inputs).items():
            assert value is None or torch.equal(value, getattr(others, name)), name


def test_true_keypoints_lie_near_the_detected_ones(
    body: Body, batch: tuple[FrameInputs, BodyParameters]
) -> None:
    inputs, truth = batch
    pixels = project(body.keypoints(body.pose(truth).vertices, "coco-23"), inputs.focal, inputs.center)
    error = (pixels - inputs.keypoints).norm(dim=-1) / inputs.boxes[:, None, 2]
    assert error[inputs.confidence > 0.5].median() < 0.06


@pytest.mark.slow
def test_training_with_images_has_all_losses_and_resumes_bit_for_bit(
    body: Body, sample: PooledFrames, batch: tuple[FrameInputs, BodyParameters], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("selfmocap.training.train_frame.fastest_precision", lambda *_: torch.float32)
    config = FrameTrainConfig(CORRECTED, steps=2, batch=MICRO_BATCH_FRAMES)
    network = train_frame_network(config, sample, body, tmp_path / "whole", validation=[batch])
    lines = [json.loads(line) for line in (tmp_path / "whole" / "history.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and all(
        {"coords", "heatmap_coords", "heatmaps", "depths"} < line.keys() for line in lines
    )
    assert validate_frame_network(network, body, [batch])["mpjpe_mm"] > 0

    def stop(status: TrainingStatus) -> None:
        if status.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_frame_network(config, sample, body, tmp_path / "cut", every=1, progress=stop)
    monkeypatch.setattr("selfmocap.training.train_frame.fastest_precision", lambda *_: torch.bfloat16)
    train_frame_network(config, sample, body, tmp_path / "cut", resume=True)
    resumed = [json.loads(line) for line in (tmp_path / "cut" / "history.jsonl").read_text().splitlines()]
    assert [line["total"] for line in resumed] == [line["total"] for line in lines]


def test_a_folder_of_test_people_alone_validates_and_does_not_train(tmp_path: Path, body: Body) -> None:
    (tmp_path / "turn.bvh").write_text(bvh_text(random_motion(31, seed=0, spread=0.2), body, fps=30.0))
    (tmp_path / "motions.csv").write_text("file,skeleton,fps,subject\nturn.bvh,,30,ann\n")
    known, held = split_recordings(body, tmp_path, ["ann"], for_training=False)
    assert not known and [clip.subject for clip in held] == ["ann"]
    with pytest.raises(ValueError, match="hold out fewer subjects"):
        split_recordings(body, tmp_path, ["ann"], for_training=True)
