"""Random bodies before a camera, and interleaved timing of several methods; shared by benchmarks of projection."""

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
    """Return named poses with noise of `angle` rad per axis on each joint, in any orientation, 3.5 to 5 m away."""
    names = sorted(NAMED_POSES)
    poses = torch.stack([named_pose(names[item % len(names)]) for item in range(count)])
    poses = poses @ roma.rotvec_to_rotmat(torch.randn(count, 24, 3) * angle)
    yaw = torch.rand(count, 1) * 2 * torch.pi * torch.tensor([0.0, 1.0, 0.0])
    poses[:, 0] = roma.rotvec_to_rotmat(yaw) @ poses[:, 0]
    position = torch.randn(count, 3) * 0.2
    position[:, 2] = -3.5 - 1.5 * torch.rand(count)
    return BodyParameters(torch.randn(count, body.num_betas) * 0.5, poses, position)


def boxes_around(pixels: Tensor) -> Tensor:
    """Return square boxes (centre x, centre y, half side; px) 1.2 times as large as the points."""
    low, high = pixels.amin(-2), pixels.amax(-2)
    half = (high - low).amax(-1, keepdim=True) * 0.6
    return torch.cat([(low + high) / 2, half], dim=-1)


def interleaved(methods: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each method in each round, seconds, after a warm-up round; the order alternates."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for round_ in range(rounds + 1):
        for name in sorted(methods, reverse=bool(round_ % 2)):
            start = time.perf_counter()
            methods[name]()
            if round_ > 0:
                times[name].append(time.perf_counter() - start)
    return times


def median_ratio(slower: list[float], faster: list[float]) -> float:
    """Return the median over rounds of the ratio of two methods' times."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))
