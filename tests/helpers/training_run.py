"""A small training run as a program of its own, to be killed, resumed and shared by processes.

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
from selfmocap.models.frame import UPRIGHT, FrameInputs
from selfmocap.training.train_frame import PART, TrainConfig, fabric_here, train

CONFIG = TrainConfig(NetworkConfig(trunk="none", rgb=False), steps=12, batch=PART)


def pretraining_poses() -> torch.Tensor:
    """Rotation vectors (4, 24, 3) of the poses that FourPoses shows."""
    return torch.randn(4, 24, 3, generator=torch.Generator().manual_seed(7)) * 0.3


class FourPoses:
    """PART views of four random poses, from a seed."""

    def __init__(self, body: Body) -> None:
        self.body = body.with_vertices(body.regressors["coco-23"].vertices)

    def __call__(self, seed: int) -> tuple[FrameInputs, BodyParameters]:
        poses = roma.rotvec_to_rotmat(pretraining_poses())
        random = torch.Generator().manual_seed(seed)
        turn = torch.zeros(PART, 3)
        turn[:, 1] = torch.rand(PART, generator=random) * 6.28
        rotations = poses[torch.randint(0, 4, (PART,), generator=random)].clone()
        rotations[:, 0] = UPRIGHT @ roma.rotvec_to_rotmat(turn)
        place = torch.tensor([0.0, 0.0, 4.0]) + 0.2 * torch.randn(PART, 3, generator=random)
        truth = BodyParameters(torch.randn(PART, 16, generator=random), rotations, place)
        focal, center = torch.full((PART, 2), 600.0), torch.full((PART, 2), 319.5)
        pixels = project(self.body.keypoints(self.body.pose(truth).vertices, "coco-23"), focal, center)
        low, high = pixels.amin(1), pixels.amax(1)
        boxes = torch.cat([(low + high) / 2, (high - low).amax(1, keepdim=True) * 0.6], dim=1)
        return FrameInputs(None, pixels, torch.ones(PART, 23), boxes, focal, center), truth


def main() -> None:
    out, steps, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    pause = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    torch.set_num_threads(1)
    fabric = fabric_here()
    (out.parent / f"{out.name}-of-{fabric.world_size}-{fabric.global_rank}").touch()
    body = Body.load()
    config = replace(CONFIG, steps=steps, batch=batch)
    train(
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
