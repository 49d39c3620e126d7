import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfmocap.io.calibration_files import read_calibration
from selfmocap.io.files import InputError

MATRIX = [[900.0, 0.0, 639.5], [0.0, 910.0, 359.5], [0.0, 0.0, 1.0]]
DISTORTION = [-0.3, 0.1, 0.001, -0.002, 0.0]
ROS = """image_width: 1280
image_height: 720
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [900.0, 0.0, 639.5,
         0.0, 910.0, 359.5,
         0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.3, 0.1, 0.001, -0.002, 0.0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
"""
POSE2SIM = """[cam_01]
name = "cam_01"
size = [ 1280.0, 720.0]
matrix = [ [ 900.0, 0.0, 639.5], [ 0.0, 910.0, 359.5], [ 0.0, 0.0, 1.0]]
distortions = [ -0.3, 0.1, 0.001, -0.002]
rotation = [ 1.0, 0.1, 0.2]
translation = [ 0.1, 0.2, 3.0]
fisheye = false

[cam_02]
name = "cam_02"
size = [ 640.0, 480.0]
matrix = [ [ 500.0, 0.0, 320.0], [ 0.0, 500.0, 240.0], [ 0.0, 0.0, 1.0]]
distortions = [ 0.0, 0.0, 0.0, 0.0]
fisheye = true

[metadata]
adjusted = false
error = 0.0
"""
COLMAP = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
1 OPENCV 1280 720 900 910 640 360 -0.3 0.1 0.001 -0.002
2 SIMPLE_RADIAL 1280 720 900 640 360 -0.1
"""


def written(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def opencv_file(path: Path) -> str:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 1280)
    storage.write("image_height", 720)
    storage.write("camera_matrix", np.array(MATRIX))
    storage.write("distortion_coefficients", np.array(DISTORTION))
    storage.write("avg_reprojection_error", 0.3)
    storage.release()
    return str(path)


def test_every_format_gives_the_same_camera(tmp_path: Path) -> None:
    flat = {"width": 1280, "height": 720, "fx": 900, "fy": 910, "cx": 639.5, "cy": 359.5, "k1": -0.3, "k2": 0.1,
            "p1": 0.001, "p2": -0.002}  # fmt: skip
    nested = {
        "intrinsics": {"camera_matrix": MATRIX, "distortion_coefficients": DISTORTION},
        "img_size": [1280, 720],
    }
    sources = [
        opencv_file(tmp_path / "opencv.yml"),
        opencv_file(tmp_path / "opencv.json"),
        written(tmp_path, "ros.yaml", ROS),
        written(tmp_path, "nested.json", json.dumps(nested)),
        written(tmp_path, "flat.json", json.dumps(flat)),
        written(tmp_path, "cameras.txt", COLMAP) + "#1",
    ]
    if sys.version_info >= (3, 11):
        sources.append(written(tmp_path, "Calib.toml", POSE2SIM) + "#cam_01")
    for source in sources:
        found = read_calibration(source)
        assert (found.size, found.focal, found.center) == ((1280, 720), (900, 910), (639.5, 359.5)), source
        assert [*found.distortion, 0.0][:5] == DISTORTION, source
        assert found.model == "brown", source


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the standard library reads TOML from Python 3.11 on")
def test_one_of_several_cameras_must_be_named(tmp_path: Path) -> None:
    source = written(tmp_path, "Calib.toml", POSE2SIM)
    assert read_calibration(f"{source}#cam_02").model == "fisheye"
    with pytest.raises(
        InputError, match="found 2 cameras; name one of cam_01, cam_02, as in Calib.toml#cam_01"
    ):
        read_calibration(source)
    with pytest.raises(InputError, match="no camera 'cam_9'; expected one of cam_01, cam_02"):
        read_calibration(f"{source}#cam_9")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "expected the intrinsics"),
        ("a.json", "[" * 100_000, "expected the intrinsics"),
        ("a.json", '{"fx": 1, "fy": 1, "cx": 1}', "found none"),
        ("a.json", '{"fx": NaN, "fy": 900, "cx": 1, "cy": 1}', "a focal length of"),
        ("a.json", '{"fx": -900, "fy": 900, "cx": 1, "cy": 1}', "a focal length of"),
        ("a.json", '{"fx": 1e999, "fy": 900, "cx": 1, "cy": 1}', "a focal length of"),
        ("a.json", '{"camera_matrix": [[1, 2], [3, 4]]}', "a camera matrix that is not"),
        ("a.json", '{"camera_matrix": "x"}', "instead of numbers"),
        (
            "a.json",
            '{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "dist": [0, 0, 0, 0, 0, 0, 0, 0, 1]}',
            "beyond the 8",
        ),
        ("a.json", '{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "dist": [1e9]}', "distortion coefficients"),
        (
            "a.json",
            '{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "distortion_model": "ocam"}',
            "the distortion model 'ocam'",
        ),
        ("a.json", '{"fx": 9, "fy": 9, "cx": 1, "cy": 1, "size": [0, 5]}', "an image size"),
        ("a.yml", "!!python/object/apply:os.system ['true']", "found none"),
        ("a.txt", "1 FOV 10 10 1 2 3 4 5", "the camera model FOV"),
        ("a.txt", "1 PINHOLE 10 10 1 2 3", "3 parameters of PINHOLE; expected 4"),
        ("a.xml", "<a/>", r"expected a calibration in .json"),
        ("a.json", "", "is empty"),
    ],
)
def test_hostile_calibrations_are_refused_in_a_sentence(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_calibration(written(tmp_path, name, content))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_large_and_binary_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * (1 << 21))
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="at most 1 MB"):
        read_calibration(str(tmp_path / "large.json"))
    with pytest.raises(InputError, match="found binary data"):
        read_calibration(str(tmp_path / "binary.yml"))
    with pytest.raises(FileNotFoundError):
        read_calibration(str(tmp_path / "absent.json"))
