"""No damaged file makes a reader raise anything but its documented errors; scripts/fuzz_readers.py tries more."""

import numpy as np
import pytest

from selfmocap.body_model.body import Body
from tests.helpers.fuzzing import damaged, failure, targets

INPUTS_PER_READER = 12


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_readers_refuse_damaged_files(
    tmp_path_factory: pytest.TempPathFactory, body: Body, seed: int
) -> None:
    wrong = []
    for target in targets(body):
        rng = np.random.default_rng(seed)
        folder = tmp_path_factory.mktemp("fuzz")
        assert failure(target, target.good, folder) is None, target.name
        for _ in range(INPUTS_PER_READER):
            wrong.append(failure(target, damaged(target, rng), folder))
    assert not [text for text in wrong if text is not None]
