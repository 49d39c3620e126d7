from dataclasses import replace
from pathlib import Path

import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.models.checkpoints import save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.estimator import infer
from selfmocap.models.temporal import TemporalConfig, TemporalNetwork
from selfmocap.models.temporal_inference import save_temporal
from selfmocap.pipeline.config import InferFolderConfig
from selfmocap.pipeline.infer_folder import infer_folder
from selfmocap.pipeline.predict import extend_motion
from selfmocap.tracking.observations import Observations

NETWORK = TemporalConfig(width=32, hidden=16)


def random_observations(frames: int, fps: float) -> Observations:
    generator = torch.Generator().manual_seed(2)
    return Observations(
        frame_index=torch.arange(frames) + 10,
        frame_times=torch.arange(frames, dtype=torch.float64) / fps + 1.0,
        image_size=(640, 480),
        boxes=torch.tensor([320.0, 240.0, 150.0]).repeat(frames, 1),
        keypoint_set="coco-23",
        keypoints=torch.rand(frames, 23, 2, generator=generator) * 200 + 200,
        keypoint_confidence=torch.ones(frames, 23),
    )


def network() -> TemporalNetwork:
    torch.manual_seed(1)
    temporal = TemporalNetwork(NetworkConfig(trunk="none", rgb=False), NETWORK)
    for regressor in (temporal.past_regressor, temporal.future_regressor):
        torch.nn.init.normal_(regressor.correction.weight, std=0.05)
    return temporal.eval()


def test_one_frame_gets_a_past_and_a_future(body: Body) -> None:
    motion = extend_motion(network(), body, random_observations(1, 30.0), weights="none")
    assert len(motion) == 11 and abs(motion.fps - 30) < 1e-9
    assert motion.filled.tolist() == [True] * 5 + [False] + [True] * 5
    assert motion.frame_index.tolist() == list(range(11))
    assert motion.provenance["weights"] == "none"
    R = motion.parameters.R_parent_joint
    steps = torch.stack([torch.dist(a, b) for a, b in zip(R[1:], R[:-1], strict=True)])
    assert (steps > 1e-3).all() and steps[:5].std() < 0.05 * steps[:5].mean()
    assert torch.equal(motion.parameters.p_world_root, motion.parameters.p_world_root[:1].expand(11, 3))


def test_a_clip_keeps_its_frames_between_past_and_future(body: Body) -> None:
    seen = replace(random_observations(40, 60.0), keypoint_confidence=torch.full((40, 23), 0.5))
    motion = extend_motion(network(), body, seen)
    assert len(motion) == 60
    assert (~motion.filled).nonzero().squeeze(1).tolist() == list(range(10, 50))
    torch.testing.assert_close(motion.frame_times.diff(), torch.full((59,), 1 / 60, dtype=torch.float64))
    assert (motion.confidence == 0.5).all()
    ends = extend_motion(network(), body, seen[[39]])
    torch.testing.assert_close(
        motion.parameters.R_parent_joint[-1, 1:], ends.parameters.R_parent_joint[-1, 1:], atol=1e-5, rtol=0
    )


def test_infer_folder_runs_either_kind_of_network(body: Body, tmp_path: Path) -> None:
    seen = random_observations(40, 30.0)
    seen.save(tmp_path / "observations.npz")
    temporal = network()
    save_temporal(tmp_path / "temporal.safetensors", temporal, {})
    save_network(tmp_path / "frame.safetensors", temporal.frame, {})
    motions = {
        name: Motion.load(
            infer_folder(
                tmp_path / "observations.npz",
                tmp_path / name,
                InferFolderConfig(weights=tmp_path / f"{name}.safetensors"),
            )[0]
        )
        for name in ("temporal", "frame")
    }
    jerk = {name: motion.joints_cam.diff(n=2, dim=0).norm() for name, motion in motions.items()}
    assert jerk["temporal"] < 0.5 * jerk["frame"]
    expected = infer(temporal, body, seen)
    torch.testing.assert_close(motions["temporal"].joints_cam, expected.joints_cam)
