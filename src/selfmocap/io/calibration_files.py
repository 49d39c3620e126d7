"""Read the intrinsics of cameras from files of OpenCV, ROS, Pose2Sim (and Anipose) and COLMAP.

Calibration files are untrusted input: they are read as text of limited size, never as code or as objects.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from selfmocap.io.files import InputError, existing_file

MAX_CALIBRATION_BYTES = 1 << 20
_MAX_CAMERAS = 1000
_MAX_PX = 1e6
_MAX_COEFFICIENT = 1e3

_MATRIX = ("camera_matrix", "cameramatrix", "intrinsic_matrix", "intrinsics", "matrix", "mtx", "k")
_DISTORTION = (
    "distortion_coefficients", "dist_coeffs", "distcoeffs", "dist_coefs", "distortions", "distortion", "dist", "d",
)  # fmt: skip
_SIZE = ("image_size", "imagesize", "img_size", "size", "resolution")
_WIDTH, _HEIGHT = ("image_width", "width", "w"), ("image_height", "height", "h")
_NAMES = (*_MATRIX, *_DISTORTION, *_SIZE, *_WIDTH, *_HEIGHT, "distortion_model", "fisheye")
_FISHEYE_MODELS = ("fisheye", "equidistant", "kannala_brandt")
_BROWN_MODELS = ("plumb_bob", "rational_polynomial", "brown", "opencv", "radtan", "pinhole", "none", "")


@dataclass(frozen=True)
class Intrinsics:
    """The intrinsics of one camera, as in its file. Fields as those of `geometry.lens.Lens`."""

    name: str
    size: tuple[int, int] | None
    """Width and height, px; None where the file does not give them."""
    focal: tuple[float, float]
    center: tuple[float, float]
    distortion: tuple[float, ...]
    model: Literal["brown", "fisheye"]


def read_calibration(source: str) -> Intrinsics:
    """Read one camera from a file, or from FILE#CAMERA if the file has several.

    Raises FileNotFoundError where it does not exist, and InputError for a damaged or unknown file or camera."""
    path, name = _path_and_camera(source)
    cameras = _read_cameras(path)
    if name is not None:
        chosen = [camera for camera in cameras if camera.name == name]
        if not chosen:
            raise InputError(f"{path}: no camera {name!r}; expected one of {_listed(cameras)}")
        return chosen[0]
    if len({(c.size, c.focal, c.center, c.distortion, c.model) for c in cameras}) > 1:
        raise InputError(
            f"{path}: found {len(cameras)} cameras; name one of {_listed(cameras)}, as in {path.name}#{cameras[0].name}"
        )
    return cameras[0]


def _path_and_camera(source: str) -> tuple[Path, str | None]:
    path = Path(source).expanduser()
    if "#" in path.name and not path.exists():
        name, _, camera = path.name.rpartition("#")
        return path.with_name(name), camera
    return path, None


def _listed(cameras: Sequence[Intrinsics]) -> str:
    return ", ".join(camera.name for camera in cameras[:10]) + (", ..." if len(cameras) > 10 else "")


def _read_cameras(path: Path) -> list[Intrinsics]:
    try:
        size = existing_file(path).stat().st_size
    except ValueError as error:
        raise InputError(str(error)) from error
    if size > MAX_CALIBRATION_BYTES:
        raise InputError(f"{path}: expected a calibration file of at most 1 MB, found {size} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: expected a calibration as text (YAML, JSON, TOML, cameras.txt), found binary data"
        ) from None
    readers = {".json": _json, ".toml": _toml, ".yml": _yaml, ".yaml": _yaml, ".txt": _colmap}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: expected a calibration in {', '.join(readers)}, found {path.suffix or 'no suffix'}"
        )
    try:
        cameras = reader(text)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: expected the intrinsics of a camera, found {_reason(error)}") from None
    if not cameras:
        raise InputError(
            f"{path}: expected the intrinsics of a camera (camera matrix, or fx, fy, cx and cy), found none"
        )
    return cameras


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] if isinstance(error, ValueError) else "other or damaged content"


# ---- formats --------------------------------------------------------------------------------------------------


def _json(text: str) -> list[Intrinsics]:
    return _cameras_in(json.loads(text))


def _toml(text: str) -> list[Intrinsics]:
    try:
        import tomllib  # pyright: ignore[reportMissingImports] (Python 3.11 and later)
    except ImportError:
        raise ValueError("TOML, which needs Python 3.11 or later; convert it to JSON") from None
    return _cameras_in(tomllib.loads(text))


def _yaml(text: str) -> list[Intrinsics]:
    """Read the flat mappings that OpenCV and ROS write, with their matrices; no other YAML."""
    values: dict[str, Any] = {}
    blocks = re.split(r"^(\w+)[ \t]*:", text, flags=re.MULTILINE)
    for name, block in zip(blocks[1::2], blocks[2::2], strict=True):
        if name.lower() in _NAMES or name.lower() in ("fx", "fy", "cx", "cy"):
            lists = re.findall(r"\[([^\[\]]*)\]", block)
            values[name] = _numbers(" ".join(lists)) if lists else block.strip().strip("\"'").split("\n")[0]
    return _cameras_in(values)


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.replace(",", " ").split()]


def _colmap(text: str) -> list[Intrinsics]:
    """Read `cameras.txt`: CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]. The centre of COLMAP's first pixel is (0.5, 0.5)."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [
        _colmap_camera(*line[:4], parameters=[float(word) for word in line[4:]])
        for line in lines[:_MAX_CAMERAS]
    ]


def _colmap_camera(name: str, model: str, width: str, height: str, parameters: Sequence[float]) -> Intrinsics:
    expected = {
        "SIMPLE_PINHOLE": "f x y", "PINHOLE": "fx fy x y", "SIMPLE_RADIAL": "f x y k1", "RADIAL": "f x y k1 k2",
        "OPENCV": "fx fy x y k1 k2 p1 p2", "FULL_OPENCV": "fx fy x y k1 k2 p1 p2 k3 k4 k5 k6",
        "OPENCV_FISHEYE": "fx fy x y k1 k2 k3 k4", "SIMPLE_RADIAL_FISHEYE": "f x y k1",
        "RADIAL_FISHEYE": "f x y k1 k2",
    }  # fmt: skip
    if model not in expected:
        raise ValueError(f"the camera model {model[:40]}; expected one of {', '.join(expected)}")
    names = expected[model].split()
    if len(names) != len(parameters):
        raise ValueError(f"{len(parameters)} parameters of {model}; expected {len(names)}")
    of = dict(zip(names, parameters, strict=True))
    fx, fy = of.get("fx", of.get("f", 0.0)), of.get("fy", of.get("f", 0.0))
    return _intrinsics(
        name,
        (float(width), float(height)),
        (fx, fy),
        (of["x"] - 0.5, of["y"] - 0.5),
        parameters[names.index("y") + 1 :],
        "fisheye" if "FISHEYE" in model else "brown",
    )


# ---- mappings -------------------------------------------------------------------------------------------------


def _cameras_in(data: Any) -> list[Intrinsics]:
    """Find the cameras in a mapping: itself, or else those among its entries, or among the entries of a list."""
    if isinstance(data, Mapping) and (camera := _camera("camera", data)) is not None:
        return [camera]
    entries = data.items() if isinstance(data, Mapping) else enumerate(data if isinstance(data, list) else [])
    found = [_camera(str(name), value) for name, value in entries if isinstance(value, Mapping)]
    return [camera for camera in found[:_MAX_CAMERAS] if camera is not None]


def _camera(name: str, data: Mapping[str, Any]) -> Intrinsics | None:
    """Read one camera; None for a mapping without intrinsics."""
    values = {str(key).lower(): value for key, value in data.items()}
    matrix, distortion = _first(values, _MATRIX), _first(values, _DISTORTION)
    if isinstance(matrix, Mapping) and not {"data", "rows"} & matrix.keys():
        return _camera(name, {**values, "intrinsics": None, **matrix})  # A camera's record within another.
    if matrix is not None:
        k = _flat(matrix)
        if isinstance(matrix, list) and len(matrix) == 4:
            k = [k[0], 0.0, k[2], 0.0, k[1], k[3], 0.0, 0.0, 1.0]
        if len(k) != 9 or k[8] != 1 or any(k[i] for i in (1, 3, 6, 7)):
            raise ValueError("a camera matrix that is not (fx 0 cx; 0 fy cy; 0 0 1)")
        fx, cx, fy, cy = k[0], k[2], k[4], k[5]
    elif {"fx", "fy", "cx", "cy"} <= values.keys():
        fx, fy, cx, cy = (float(values[n]) for n in ("fx", "fy", "cx", "cy"))
    else:
        return None
    coefficients = (
        _flat(distortion)
        if distortion is not None
        else [float(values.get(n, 0.0)) for n in ("k1", "k2", "p1", "p2", "k3")]
    )
    size = _size(values)
    model = str(values.get("distortion_model", "")).lower()
    if model not in (*_FISHEYE_MODELS, *_BROWN_MODELS):
        raise ValueError(
            f"the distortion model {model[:40]!r}; expected plumb_bob, rational_polynomial or fisheye"
        )
    is_fisheye = model in _FISHEYE_MODELS or values.get("fisheye") in (True, "true", "1")
    label = str(values["name"]) if isinstance(values.get("name"), str) and name != "camera" else name
    return _intrinsics(label, size, (fx, fy), (cx, cy), coefficients, "fisheye" if is_fisheye else "brown")


def _first(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _size(values: Mapping[str, Any]) -> tuple[float, float] | None:
    size, width, height = _first(values, _SIZE), _first(values, _WIDTH), _first(values, _HEIGHT)
    if size is not None and len(flat := _flat(size)) == 2:
        return flat[0], flat[1]
    return None if width is None or height is None else (float(width), float(height))


def _flat(value: Any) -> list[float]:
    """Flatten nested lists of numbers, and OpenCV's {rows, cols, data}."""
    if isinstance(value, Mapping):
        return _flat(value["data"])
    if isinstance(value, str):
        raise ValueError(f"the text {value[:40]!r} instead of numbers")
    return [number for one in value for number in _flat(one)] if isinstance(value, list) else [float(value)]


def _intrinsics(
    name: str,
    size: tuple[float, float] | None,
    focal: tuple[float, float],
    center: tuple[float, float],
    distortion: Sequence[float],
    model: Literal["brown", "fisheye"],
) -> Intrinsics:
    """Check the values of a camera."""
    if not all(1 <= value <= _MAX_PX for value in focal) or not all(
        abs(value) <= _MAX_PX for value in center
    ):
        raise ValueError(f"a focal length of {focal} px and a principal point of {center} px")
    if size is not None and not all(1 <= value <= _MAX_PX and value == int(value) for value in size):
        raise ValueError(f"an image size of {size}")
    most = 8 if model == "brown" else 4
    if any(distortion[most:]) or not all(
        math.isfinite(value) and abs(value) <= _MAX_COEFFICIENT for value in distortion
    ):
        raise ValueError(
            f"distortion coefficients beyond the {most} of the model {model}, or that are no numbers"
        )
    whole = None if size is None else (int(size[0]), int(size[1]))
    return Intrinsics(name, whole, focal, center, tuple(map(float, distortion[:most])), model)
