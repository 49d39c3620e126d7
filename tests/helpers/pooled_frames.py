"""A small source of pooled training frames with images."""

import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.models.frame import FrameInputs
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.frame_data import PooledFrames


def pooled_frames(body: Body) -> PooledFrames:
    config = SyntheticConfig(clips=16, samples=1)
    return PooledFrames(procedural_motions(body, count=3), procedural_backgrounds(count=2), body, config)


def pooled_batches(
    sample: PooledFrames, steps: range, batch: int = 64
) -> list[tuple[FrameInputs, BodyParameters]]:
    return list(sample.batches(steps, batch, 0, 0, torch.device("cpu")))
