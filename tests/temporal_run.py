"""A small training of a temporal network as a program of its own, to be shared by processes.

python temporal_run.py OUT STEPS
"""

import sys
from pathlib import Path

import torch

from selfmocap.body import Body
from selfmocap.dynamics_data import SyntheticClips
from selfmocap.network.config import NetworkConfig
from selfmocap.network.frame import FrameNetwork
from selfmocap.network.temporal import TemporalConfig
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.train import fabric_here
from selfmocap.train_clips import real_poses
from selfmocap.train_temporal import Lessons, TemporalTrainConfig, train_temporal


def main() -> None:
    out, steps = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    fabric = fabric_here()
    (out.parent / f"{out.name}-of-{fabric.world_size}-{fabric.global_rank}").touch()
    body = Body.load()
    network = TemporalConfig(width=32, hidden=32, blocks=2, frames=13, reach=3, dropout=0.2)
    motions = procedural_motions(body, count=2)
    labelled = SyntheticClips(motions, body, network.frames, KeypointErrors(), scenes=2)
    unlabelled = SyntheticClips(motions, body, network.frames, KeypointErrors(), truth=False, scenes=2)
    torch.manual_seed(0)
    config = TemporalTrainConfig(network, steps=steps, judged=4, discriminator_width=16)
    frame = FrameNetwork(NetworkConfig(trunk="none", rgb=False))
    lessons = Lessons(labelled, unlabelled, real_poses(motions))
    train_temporal(config, frame, lessons, body, out, fabric=fabric)


if __name__ == "__main__":
    main()
