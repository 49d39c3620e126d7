"""A small training run as a program, for tests that kill it, resume it, or run it in several processes.

python training_run.py OUT STEPS BATCH [PAUSE_SECONDS]
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import project
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import R_CAM_UPRIGHT, FrameInputs
from selfmocap.training.loop import launch_fabric
from selfmocap.training.train_frame import MICRO_BATCH_FRAMES, FrameTrainConfig, train_frame_network

CONFIG = FrameTrainConfig(NetworkConfig(trunk="none", rgb=False), steps=12, batch=MICRO_BATCH_FRAMES)


def pretraining_poses() -> torch.Tensor:
    """Return the rotation vectors (4, 24, 3) of the poses of FourPoses."""
    return torch.randn(4, 24, 3, generator=torch.Generator().manual_seed(7)) * 0.3


class FourPoses:
    """A FrameSource of views of four random poses."""

    def __init__(self, body: Body) -> None:
        self.body = body.with_vertices(body.regressors["coco-23"].vertices)

    def __call__(self, seed: int) -> tuple[FrameInputs, BodyParameters]:
        poses = roma.rotvec_to_rotmat(pretraining_poses())
        random = torch.Generator().manual_seed(seed)
        turn = torch.zeros(MICRO_BATCH_FRAMES, 3)
        turn[:, 1] = torch.rand(MICRO_BATCH_FRAMES, generator=random) * 6.28
        rotations = poses[torch.randint(0, 4, (MICRO_BATCH_FRAMES,), generator=random)].clone()
        rotations[:, 0] = R_CAM_UPRIGHT @ roma.rotvec_to_rotmat(turn)
        place = torch.tensor([0.0, 0.0, 4.0]) + 0.2 * torch.randn(MICRO_BATCH_FRAMES, 3, generator=random)
        truth = BodyParameters(torch.randn(MICRO_BATCH_FRAMES, 16, generator=random), rotations, place)
        focal, center = torch.full((MICRO_BATCH_FRAMES, 2), 600.0), torch.full((MICRO_BATCH_FRAMES, 2), 319.5)
        pixels = project(self.body.keypoints(self.body.pose(truth).vertices, "coco-23"), focal, center)
        low, high = pixels.amin(1), pixels.amax(1)
        boxes = torch.cat([(low + high) / 2, (high - low).amax(1, keepdim=True) * 0.6], dim=1)
        return FrameInputs(None, pixels, torch.ones(MICRO_BATCH_FRAMES, 23), boxes, focal, center), truth


def main() -> None:
    out, steps, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    pause = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    torch.set_num_threads(1)
    fabric = launch_fabric()
    (out.parent / f"{out.name}-of-{fabric.world_size}-{fabric.global_rank}").touch()
    body = Body.load()
    config = replace(CONFIG, steps=steps, batch=batch)
    train_frame_network(
        config,
        FourPoses(body),
        body,
        out,
        resume=True,
        every=4,
        progress=lambda _: time.sleep(pause),
        fabric=fabric,
    )


if __name__ == "__main__":
    main()
