"""A small training of a temporal network as a program of its own, to be killed, resumed and shared by processes.

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
from selfmocap.training.temporal_data import ClipSource, SyntheticClips, TrackClips, tracks_at
from selfmocap.training.temporal_recipe import real_poses
from selfmocap.training.train_frame import fabric_here
from selfmocap.training.train_temporal import Lessons, TemporalTrainConfig, train_temporal


def main() -> None:
    out, steps = Path(sys.argv[1]), int(sys.argv[2])
    shards = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    pause = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    torch.set_num_threads(1)
    fabric = fabric_here()
    (out.parent / f"{out.name}-of-{fabric.world_size}-{fabric.global_rank}").touch()
    body = Body.load()
    network = TemporalConfig(width=32, hidden=32, blocks=2, frames=13, reach=3, dropout=0.2)
    motions = procedural_motions(body, count=2)
    labelled = SyntheticClips(motions, body, network.frames, KeypointErrors(), scenes=2)
    unlabelled: ClipSource = SyntheticClips(
        motions, body, network.frames, KeypointErrors(), truth=False, scenes=2
    )
    if shards:
        out.mkdir(exist_ok=True)
        tracks = tracks_at(shards, network.frames, 1.0, out / "tracks", lambda *_: None)
        unlabelled = TrackClips(tracks, network.frames, body.num_betas)
    torch.manual_seed(0)
    config = TemporalTrainConfig(network, steps=steps, judged=4, discriminator_width=16)
    frame = FrameNetwork(NetworkConfig(trunk="none", rgb=False))
    lessons = Lessons(labelled, unlabelled, real_poses(motions))
    train_temporal(
        config,
        frame,
        lessons,
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
