"""An app with results, and a clip to upload."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from selfmocap.body_model.body import Body
from tests.helpers.app_server import AppServer, app_server, write_clip, write_results


@pytest.fixture(scope="module")
def server(body: Body, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    folder = tmp_path_factory.mktemp("app")
    write_results(folder / ".results", body)
    with app_server(folder) as server:
        yield server


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "walk.mp4")
