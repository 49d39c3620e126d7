"""Small networks, and inputs for them."""

from dataclasses import replace

import torch

from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs
from selfmocap.models.temporal import FrameFeatures, TemporalConfig, TemporalNetwork

SMALL_NETWORK = NetworkConfig(width=16)
NETWORK_CONFIGS = {
    "default": SMALL_NETWORK,
    "no rgb": replace(SMALL_NETWORK, rgb=False),
    "paper": replace(NetworkConfig.paper(), width=4),
    "heatmaps only": replace(SMALL_NETWORK, coordinates=False, rgb=False),
    "coordinates only": replace(SMALL_NETWORK, trunk="none", rgb=False),
    "corrected": replace(SMALL_NETWORK, trunk="none", rgb=False, corrector=True),
}
KEYPOINT_NETWORK = NetworkConfig(trunk="none", rgb=False)
SMALL_TEMPORAL = TemporalConfig(width=32, hidden=16)


def frame_inputs(batch: int = 3) -> FrameInputs:
    return FrameInputs(
        crops=torch.randint(0, 256, (batch, 128, 128, 3), dtype=torch.uint8),
        keypoints=torch.rand(batch, 23, 2) * 200 + 100,
        confidence=torch.rand(batch, 23),
        boxes=torch.tensor([[200.0, 210.0, 110.0]]).expand(batch, 3),
        focal=torch.full((batch, 2), 600.0),
        center=torch.tensor([[319.5, 239.5]]).expand(batch, 2),
    )


def keypoint_inputs(frames: int, seed: int = 0) -> FrameInputs:
    random = torch.Generator().manual_seed(seed)
    return FrameInputs(
        crops=None,
        keypoints=torch.rand(frames, 23, 2, generator=random) * 200 + 100,
        confidence=torch.rand(frames, 23, generator=random),
        boxes=torch.tensor([[200.0, 210.0, 110.0]]).expand(frames, 3),
        focal=torch.full((frames, 2), 600.0),
        center=torch.tensor([[319.5, 239.5]]).expand(frames, 2),
    )


def in_clips(frames: FrameFeatures, clips: int) -> FrameFeatures:
    return FrameFeatures(*(column.unflatten(0, (clips, -1)) for column in frames))


def randomised(network: TemporalNetwork) -> TemporalNetwork:
    """Return the network with random weights in place of those near zero."""
    torch.manual_seed(5)
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()
