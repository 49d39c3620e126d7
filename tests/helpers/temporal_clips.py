"""A small temporal network and the data that tests train it on."""

from dataclasses import replace

from selfmocap.body_model.body import Body
from selfmocap.models.config import NetworkConfig
from selfmocap.models.temporal import TemporalConfig
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training.temporal_data import SyntheticClips, concat_clips
from selfmocap.training.temporal_recipe import real_poses
from selfmocap.training.train_temporal import TemporalTrainingData

FRAME = NetworkConfig(trunk="none", rgb=False)
SMALL = TemporalConfig(width=32, hidden=32, blocks=2, frames=13, reach=3, dropout=0.2)


def training_data(body: Body) -> TemporalTrainingData:
    """Two labelled scenes, the same without truth, and their clips for validation."""
    motions = procedural_motions(body, count=3)
    labelled = SyntheticClips(motions, body, SMALL.frames, KeypointErrors(), num_scenes=2)
    unlabelled = replace(labelled, labelled=False, cache={})
    validation = concat_clips([labelled(0), labelled(1)])
    return TemporalTrainingData(labelled, unlabelled, real_poses(motions), validation)
