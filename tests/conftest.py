"""Fixtures that several test modules share."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from tests.helpers.smpl_files import write_smpl_pickle

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by their number of slow tests, so that processes that share them end together."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def body() -> Body:
    """The embedded default body."""
    return Body.load()


@pytest.fixture(scope="session")
def smpl_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SMPL's format and sizes with random content."""
    return write_smpl_pickle(tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.pkl")


@pytest.fixture(scope="session")
def small_body(tmp_path_factory: pytest.TempPathFactory) -> Body:
    """A random body of 60 vertices in float64: small enough for numerical gradients."""
    path = write_smpl_pickle(tmp_path_factory.mktemp("small") / "small.pkl", vertices=60)
    return Body.load(path).to(torch.float64)


def random_parameters(body: Body, *batch: int, angle: float = 0.4) -> BodyParameters:
    """Random shapes, poses (rotation vectors of `angle` rad standard deviation an axis) and places."""
    import roma

    like = body.v_template
    rotvec = torch.randn(*batch, 24, 3, dtype=like.dtype) * angle
    return BodyParameters(
        betas=torch.randn(*batch, body.num_betas, dtype=like.dtype),
        R_parent_joint=roma.rotvec_to_rotmat(rotvec),
        p_world_root=torch.randn(*batch, 3, dtype=like.dtype),
    )
