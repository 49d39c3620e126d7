"""Make observations of random content."""

import torch

from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.tracking.observations import Observations

SIZE = (64, 48)


def random_observations(frames: int, seed: int) -> Observations:
    """Observations with a gap of one frame in their middle."""
    random = torch.Generator().manual_seed(seed)
    index = torch.arange(frames) + (torch.arange(frames) > frames // 2)  # One frame without the person.
    points = len(keypoint_set("coco-23").names)
    masks = torch.rand(frames, 128, 128, generator=random) < 0.5
    return Observations(
        index,
        index.double() / 30,
        SIZE,
        torch.rand(frames, 3, generator=random) + 1,
        "coco-23",
        torch.rand(frames, points, 2, generator=random),
        torch.rand(frames, points, generator=random),
        crops=torch.zeros(frames, 128, 128, 3, dtype=torch.uint8),
        masks=masks,
        mask_certain=~masks,
    )
