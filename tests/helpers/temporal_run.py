"""A small training of a temporal network as a program, for tests that kill, resume or distribute it.

python temporal_run.py OUT STEPS [SHARDS] [PAUSE_SECONDS]
"""

import sys
import time
from pathlib import Path

import torch

from selfmocap.body_model.body import Body
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.temporal import TemporalConfig
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.loop import launch_fabric
from selfmocap.training.temporal_data import ClipSource, SyntheticClips
from selfmocap.training.temporal_recipe import real_poses
from selfmocap.training.train_temporal import (
    TemporalTrainConfig,
    TemporalTrainingData,
    train_temporal_network,
)
from selfmocap.training.video_tracks import TrackClips, load_tracks


def main() -> None:
    out, steps = Path(sys.argv[1]), int(sys.argv[2])
    shards = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    pause = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    torch.set_num_threads(1)
    fabric = launch_fabric()
    (out.parent / f"{out.name}-of-{fabric.world_size}-{fabric.global_rank}").touch()
    body = Body.load()
    network = TemporalConfig(width=32, hidden=32, blocks=2, frames=13, reach=3, dropout=0.2)
    motions = procedural_motions(body, count=2)
    labelled = SyntheticClips(motions, body, network.frames, KeypointErrors(), num_scenes=2)
    unlabelled: ClipSource = SyntheticClips(
        motions, body, network.frames, KeypointErrors(), labelled=False, num_scenes=2
    )
    if shards:
        out.mkdir(exist_ok=True)
        tracks = load_tracks(shards, network.frames, 1.0, out / "tracks", lambda *_: None)
        unlabelled = TrackClips(tracks, network.frames, body.num_betas)
    torch.manual_seed(0)
    config = TemporalTrainConfig(network, steps=steps, num_delta_frames=4, discriminator_width=16)
    frame = FrameNetwork(NetworkConfig(trunk="none", rgb=False))
    data = TemporalTrainingData(labelled, unlabelled, real_poses(motions))
    train_temporal_network(
        config,
        frame,
        data,
        body,
        out,
        workers=1,
        resume=True,
        every=2,
        progress=lambda _: time.sleep(pause),
        fabric=fabric,
    )


if __name__ == "__main__":
    main()
