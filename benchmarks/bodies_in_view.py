"""What the benchmarks of seeing share: bodies before a camera, and contestants timed turn by turn."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import roma
import torch
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.named_poses import NAMED_POSES, named_pose
from selfmocap.geometry.camera import Camera

CAMERA = Camera.looking_along_z(600.0, 640, 480)


def random_bodies(body: Body, count: int, angle: float = 0.15) -> BodyParameters:
    """Named poses with every joint turned by some `angle` rad an axis, from all sides, 3.5 to 5 m from the camera."""
    names = sorted(NAMED_POSES)
    poses = torch.stack([named_pose(names[item % len(names)]) for item in range(count)])
    poses = poses @ roma.rotvec_to_rotmat(torch.randn(count, 24, 3) * angle)
    yaw = torch.rand(count, 1) * 2 * torch.pi * torch.tensor([0.0, 1.0, 0.0])
    poses[:, 0] = roma.rotvec_to_rotmat(yaw) @ poses[:, 0]
    place = torch.randn(count, 3) * 0.2
    place[:, 2] = -3.5 - 1.5 * torch.rand(count)
    return BodyParameters(torch.randn(count, body.num_betas) * 0.5, poses, place)


def boxes_around(pixels: Tensor) -> Tensor:
    """Square windows (centre x, centre y, half side) 1.2 times as large as the points."""
    low, high = pixels.amin(-2), pixels.amax(-2)
    half = (high - low).amax(-1, keepdim=True) * 0.6
    return torch.cat([(low + high) / 2, half], dim=-1)


def interleaved(contestants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after a round that does not count; the order alternates."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name in sorted(contestants, reverse=bool(turn % 2)):
            start = time.perf_counter()
            contestants[name]()
            if turn > 0:
                times[name].append(time.perf_counter() - start)
    return times


def median_ratio(slower: list[float], faster: list[float]) -> float:
    """Median over rounds of how many times as long the first took."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))
