"""Keypoints, masks and flow of other programs, and hostile files."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.video import Frame
from selfmocap.tracking.precomputed import PrecomputedKeypoints, PrecomputedMasks, read_flow
from tests.helpers.stick_figures import scene


def test_openpose_and_coco_files_are_read_in_frame_order(tmp_path: Path) -> None:
    folder = tmp_path / "openpose"
    folder.mkdir()
    body = np.random.default_rng(0).uniform(10, 90, (25, 3))
    body[:, 2] = np.linspace(0, 1, 25)
    for index in (0, 1, 10, 2):
        people = [
            {"pose_keypoints_2d": (body + [index, 0, 0]).ravel().tolist()},
            {"pose_keypoints_2d": [0.0] * 75},
        ]
        (folder / f"clip_{index:03}_keypoints.json").write_text(
            json.dumps({"version": 1.3, "people": people})
        )
    detector = PrecomputedKeypoints(folder)
    assert detector.points.name == "body-25"
    for row, index in enumerate((0, 1, 2, 10)):
        (pose,) = detector.detect(Frame(row, 0.0, scene({}), False))
        np.testing.assert_allclose(pose.keypoints[:, 0], body[:, 0] + index, rtol=1e-6)
    assert detector.detect(Frame(4, 0.0, scene({}), False)) == []
    path = tmp_path / "coco.json"
    flags = np.concatenate([body[:23, :2], np.tile([[2.0]], (23, 1))], axis=1)
    flags[3, 2], flags[4] = 1.0, 0.0
    images = [{"id": 7, "file_name": "frame10.jpg"}, {"id": 9, "file_name": "frame9.jpg"}]
    annotations = [{"image_id": 7, "keypoints": flags.ravel().tolist()}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    coco = PrecomputedKeypoints(path)
    (pose,) = coco.detect(Frame(1, 0.0, scene({}), False))
    assert coco.points.name == "coco-23" and coco.detect(Frame(0, 0.0, scene({}), False)) == []
    assert pose.confidence[[0, 3, 4]].tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "{}", '{"people": 3}', '[{"image_id": 0}]', "[1]", "[" * 100_000,
     '[{"image_id": {}, "keypoints": ' + str([0.0] * 51) + "}]",
     '[{"image_id": 0, "keypoints": ' + str([1e30] * 51) + "}]",
     '{"images": [{"id": [], "file_name": "a"}], "annotations": [{"image_id": 0, "keypoints": '
     + str([0.5] * 51) + "}]}"],
)  # fmt: skip
def test_hostile_keypoints_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keypoints.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"keypoints\.json"):
        PrecomputedKeypoints(path)
    folder = tmp_path / "openpose"
    folder.mkdir()
    (folder / "0_keypoints.json").write_text(text)
    with pytest.raises(ValueError, match=r"0_keypoints\.json"):
        PrecomputedKeypoints(folder).detect(Frame(0, 0.0, scene({}), False))


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.flo", b""), ("a.flo", b"PIEH"), ("a.flo", struct.pack("<fii", 202021.25, 1 << 30, 1 << 30)),
     ("a.flo", struct.pack("<fii", 202021.25, -1, 4)), ("a.flo", struct.pack("<fii", 1.0, 2, 2) + bytes(32)),
     ("a.npy", b"\x93NUMPY\x01\x00"), ("a.npy", b"\x80\x04pickle")],
)  # fmt: skip
def test_hostile_flow_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.(flo|npy)"):
        read_flow(path)
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20, 2)}
    with (tmp_path / "b.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=r"b\.npy"):
        read_flow(tmp_path / "b.npy")
    with pytest.raises(FileNotFoundError, match="not a folder"):
        PrecomputedMasks(tmp_path / "none")
