import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.io.video_writer import write_video
from selfmocap.visualization.viewer import _make_image_at, open_viewer
from tests.helpers.exported_files import wandering_motion


@pytest.fixture(scope="module")
def motions(body: Body) -> list[Motion]:
    return [wandering_motion(body, 40), wandering_motion(body, 5, index=[3, 4, 5, 30, 31], seed=4)]


@pytest.fixture(scope="module")
def folder(motions: list[Motion], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a capture of two people, with an overlay whose frames have different greys."""
    folder = tmp_path_factory.mktemp("capture")
    for number, motion in enumerate(motions, 1):
        (folder / f"person-{number}").mkdir()
        motion.save(folder / f"person-{number}" / "motion.npz")
    pictures = ((n / 30, np.full((64, 96, 3), 6 * n, np.uint8)) for n in range(40))
    write_video(folder / "overlay.mp4", pictures, 30.0)
    return folder


@pytest.fixture
def viewer(folder: Path, body: Body) -> Iterator:
    pytest.importorskip("viser", reason="pip install 'selfmocap[view]'")
    viewer = open_viewer(folder, body, 8471)
    yield viewer
    viewer.server.stop()


def node(viewer, name: str):
    return viewer.server.scene._handle_from_node_name[name]


def test_the_page_is_served_to_this_machine_only(viewer) -> None:
    assert viewer.server.get_host() == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{viewer.server.get_port()}") as answer:
        assert answer.status == 200


def test_a_frame_shows_its_bodies_and_its_image(viewer, motions: list[Motion], body: Body) -> None:
    one, other, camera = (node(viewer, name) for name in ("/person-1", "/person-2", "/camera"))
    viewer.show(30)
    assert np.allclose(one.vertices, body.pose(motions[0][30:31].parameters).vertices[0], atol=1e-5)
    assert np.allclose(other.vertices, body.pose(motions[1][3:4].parameters).vertices[0], atol=1e-5)
    assert camera.image.mean() == pytest.approx(180, abs=5)
    viewer.show(10)
    assert one.visible
    assert not other.visible


def test_playback_advances_and_restarts(viewer, motions: list[Motion], body: Body) -> None:
    viewer.playing.value, viewer.frame.value = True, 38
    for _ in range(2):
        viewer.advance()
    assert viewer.frame.value == 0
    viewer.playing.value = False
    viewer.advance()
    assert viewer.frame.value == 0
    time.sleep(0.3)
    first = body.pose(motions[0][:1].parameters).vertices[0]
    assert np.allclose(node(viewer, "/person-1").vertices, first, atol=1e-5)


def test_images_at_any_time_in_any_order(folder: Path) -> None:
    image_at = _make_image_at(folder / "overlay.mp4")
    for frame in (0, 1, 2, 2, 39, 5, 6, 38, 0):
        assert image_at(frame / 30).mean() == pytest.approx(6 * frame, abs=5)


def test_errors_name_the_missing_part(
    folder: Path, body: Body, small_body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="capture a video into it"):
        open_viewer(tmp_path, body, 8471)
    with pytest.raises(ValueError, match="of the body"):
        open_viewer(folder, small_body, 8471)
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ImportError, match=r"pip install 'selfmocap\[view\]'"):
        open_viewer(folder, body, 8471)
