import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.synthetic.scene_pool import ScenePool
from selfmocap.training.frame_data import PooledFrames


@pytest.fixture(scope="module")
def sample(body: Body) -> PooledFrames:
    config = SyntheticConfig(clips=16, samples=1)
    return PooledFrames(procedural_motions(body, count=3), procedural_backgrounds(count=2), body, config)


def test_a_full_pool_replaces_its_oldest_scenes(sample: PooledFrames) -> None:
    parts = [sample.scenes(seed) for seed in range(3)]
    full = ScenePool(torch.device("cpu"), capacity=40)
    for part in parts:
        full.add(part)
    drawn = full.sample(torch.Generator().manual_seed(0), 200)
    assert len(drawn) == 200 and drawn.keypoints.shape == (200, 1, 23, 2)
    known = [(part.p_cam_root[:, None] == drawn.p_cam_root).all(-1).any() for part in parts]
    assert known == [False, True, True]
