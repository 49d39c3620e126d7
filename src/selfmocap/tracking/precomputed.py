"""Read keypoints, masks and flow that other programs computed.

The files may be untrusted: sizes are bounded and every number is checked. An InputError names the file, what was
expected and what was found.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from selfmocap.body_model.skeleton import KEYPOINT_SETS, KeypointSet
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.files import InputError, existing_file
from selfmocap.io.pictures import MAX_PIXELS, natural_sort_key, open_image
from selfmocap.io.video import Frame
from selfmocap.tracking.confidence import VISIBLE, confidence_of_flags, confidence_of_scores
from selfmocap.tracking.detectors.detection import MASK_SIDE, Detection, window_around
from selfmocap.tracking.masks import box_window, inside_frame

_MAX_JSON_BYTES = 1 << 28
_MAX_PEOPLE = 256
_FLO_MAGIC = 202021.25
_MAX_COORDINATE_PX = 1e6
_MIN_KNOWN_FRACTION = 0.99
"""Fraction of a resampled pixel whose flow must be known."""


class PrecomputedKeypoints:
    """A detector that returns the keypoints of files.

    The files are a folder of OpenPose's JSON files (BODY-25; the i-th file is the i-th frame) or one JSON file of COCO
    keypoints (17, or 23 with feet). In the latter, `image_id` refers to the list of images, sorted by file name;
    without such a list it is the index of the frame."""

    name = "precomputed"

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        if path.is_dir():
            self.points = KEYPOINT_SETS["body-25"]
            self._files = sorted(path.glob("*.json"), key=natural_sort_key)
            if not self._files:
                raise InputError(f"{path}: expected OpenPose's .json files, one per frame; found none")
            self._frames: dict[int, list[Detection]] = {}
        else:
            self._files = []
            self.points, self._frames = _coco(path)

    def detect(self, frame: Frame) -> list[Detection]:
        """Return all people of a frame."""
        if frame.index < len(self._files):
            return _openpose(self._files[frame.index], len(self.points.names))
        return self._frames.get(frame.index, [])


def _openpose(path: Path, keypoints: int) -> list[Detection]:
    """Read the people of one frame."""
    data = _json(path)
    people = data.get("people") if isinstance(data, dict) else None
    if not isinstance(people, list) or len(people) > _MAX_PEOPLE:
        raise InputError(f"{path}: expected OpenPose's JSON with a list of up to {_MAX_PEOPLE} people")
    detections = []
    for person in people:
        numbers = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
        detections.append(_detection(path, numbers, keypoints))
    return [detection for detection in detections if detection is not None]


def _coco(path: Path) -> tuple[KeypointSet, dict[int, list[Detection]]]:
    """Read the keypoint set and the people of each frame."""
    data = _json(path)
    results = data.get("annotations") if isinstance(data, dict) else data
    if (
        not isinstance(results, list)
        or not results
        or not all(isinstance(result, dict) for result in results)
    ):
        raise InputError(
            f"{path}: expected COCO keypoints: a list of results, or an object with 'annotations'"
        )
    numbers = results[0].get("keypoints")
    name = {51: "coco-17", 69: "coco-23"}.get(len(numbers) if isinstance(numbers, list) else 0)
    if name is None:
        raise InputError(f"{path}: expected 17 or 23 keypoints of three numbers each in 'keypoints'")
    points, order = KEYPOINT_SETS[name], _frame_order(path, data)
    frames: dict[int, list[Detection]] = {}
    for result in results:
        image = result.get("image_id")
        if not isinstance(image, (int, str)) or (order is None and not isinstance(image, int)):
            raise InputError(
                f"{path}: expected the index of a frame as image_id, or a list of 'images'; found {image!r}"
            )
        index = order.get(image) if order is not None else int(image)
        detection = _detection(path, result.get("keypoints"), len(points.names))
        if index is None or detection is None:
            continue
        if len(frames.setdefault(index, [])) < _MAX_PEOPLE:
            frames[index].append(detection)
    return points, frames


def _frame_order(path: Path, data: Any) -> dict[int | str, int] | None:
    """Return the frame of each image id; None without a list of images."""
    images = data.get("images") if isinstance(data, dict) else None
    if images is None:
        return None
    try:
        names = sorted((natural_sort_key(Path(image["file_name"])), image["id"]) for image in images)
        return {identity: index for index, (_, identity) in enumerate(names)}
    except (TypeError, KeyError) as error:
        raise InputError(f"{path}: expected 'images' with 'id' and 'file_name'") from error


def _detection(path: Path, numbers: Any, keypoints: int) -> Detection | None:
    """Convert x, y, confidence of each keypoint to a detection; None if no keypoint has confidence.

    Values above 1 are COCO's visibility flags."""
    try:
        values = np.array(numbers, np.float64).reshape(keypoints, 3)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected {keypoints} keypoints of three numbers each") from error
    if not np.isfinite(values).all() or np.abs(values[:, :2]).max() > _MAX_COORDINATE_PX:
        raise InputError(
            f"{path}: expected finite keypoints within {_MAX_COORDINATE_PX:.0f} px, found others"
        )
    flags = values[:, 2].max() > 1.0
    confidence = (confidence_of_flags if flags else confidence_of_scores)(values[:, 2])
    if not (confidence > 0).any():
        return None
    score = float(confidence[confidence > 0].mean())
    return Detection(
        values[:, :2].astype(np.float32),
        confidence.astype(np.float32),
        score,
        window_around(values[:, :2], confidence),
    )


def _json(path: Path) -> Any:
    path = existing_file(path)
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise InputError(
            f"{path}: expected at most {_MAX_JSON_BYTES} bytes of keypoints, found {path.stat().st_size}"
        )
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found other or damaged content ({error})") from error


class PrecomputedMasks:
    """A folder of label images, the i-th for the i-th frame and of its size.

    0 is background, and each other value one person (or 255 all of them). A person's label is the most common one under
    their visible keypoints."""

    def __init__(self, folder: Path | str) -> None:
        self._files = _files(folder, (".png",), "mask images (.png)")

    def with_masks(
        self, detections: list[Detection], box: Float[np.ndarray, " 3"], frame: Frame
    ) -> list[Detection]:
        """Give the people of a frame the masks of its label image inside a box."""
        if frame.index >= len(self._files):
            return detections
        path = self._files[frame.index]
        labels = _labels(path)
        if labels.shape != frame.image.shape[:2]:
            raise _wrong_size(path, "mask", labels.shape, frame)
        return [_with_mask(detection, box, labels) for detection in detections]


def _wrong_size(path: Path, what: str, shape: tuple[int, ...], frame: Frame) -> InputError:
    height, width = frame.image.shape[:2]
    return InputError(
        f"{path}: expected a {what} of the video's size, {width} x {height} px; found {shape[1]} x {shape[0]} px"
    )


def _labels(path: Path) -> UInt8[np.ndarray, "height width"]:
    try:
        with open_image(path) as image:
            return np.array(image if image.mode in ("L", "P") else image.convert("L"), np.uint8)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path}: expected an image, found a damaged file ({' '.join(str(error).split())})"
        ) from None


def _with_mask(
    detection: Detection, box: Float[np.ndarray, " 3"], labels: UInt8[np.ndarray, "height width"]
) -> Detection:
    """Give a detection the mask of its label; unchanged if its keypoints lie on the background."""
    import cv2

    height, width = labels.shape
    columns, rows = np.rint(detection.keypoints[detection.confidence > VISIBLE]).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    counts = np.bincount(labels[rows[inside], columns[inside]], minlength=256)
    counts[0] = 0
    if not counts.any():
        return detection
    window = box_window(box)
    mask = (labels == counts.argmax()).astype(np.uint8) * 255
    mask = cv2.warpAffine(mask, window.matrix(MASK_SIDE), (MASK_SIDE, MASK_SIDE))
    return replace(detection, mask=mask, mask_window=window)


class PrecomputedFlow:
    """A folder of `.flo` or `.npy` files, the i-th from the i-th frame to the next, of the frame's size, px/frame."""

    def __init__(self, folder: Path | str) -> None:
        self._files = _files(folder, (".flo", ".npy"), "flow files (.flo, .npy)")

    def crop(
        self, frame: Frame, box: Float[np.ndarray, " 3"]
    ) -> tuple[Float32[np.ndarray, "height width 2"], Bool[np.ndarray, "height width"]] | None:
        """Return the flow in px of the box's crop, and where it is known; None after the last file."""
        import cv2

        if frame.index >= len(self._files):
            return None
        path = self._files[frame.index]
        height, width = frame.image.shape[:2]
        flow = read_flow(path)
        if flow.shape[:2] != (height, width):
            raise _wrong_size(path, "flow", flow.shape, frame)
        known = np.asarray((np.abs(flow) < _MAX_COORDINATE_PX).all(axis=-1))
        matrix, size = box_window(box).matrix(CROP_SIZE), (CROP_SIZE, CROP_SIZE)
        crop = cv2.warpAffine(np.where(known[..., None], flow, np.float32(0)), matrix, size)
        scale = CROP_SIZE / (2 * float(box[2]))
        certain = cv2.warpAffine(known.astype(np.float32), matrix, size) > _MIN_KNOWN_FRACTION
        return (crop * scale).astype(np.float32), certain & inside_frame(box, width, height)


def read_flow(path: Path) -> Float32[np.ndarray, "height width 2"]:
    """Read a Middlebury `.flo` file, or an `.npy` array (height, width, 2), px per frame."""
    path = existing_file(path)
    limit = 8 * MAX_PIXELS + 1024
    if path.stat().st_size > limit:
        raise InputError(f"{path}: expected at most {limit} bytes of flow, found {path.stat().st_size}")
    if path.suffix == ".npy":
        try:
            flow = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(
                f"{path}: expected an .npy array, found other or damaged content ({error})"
            ) from error
        if not isinstance(flow, np.ndarray) or flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind != "f":
            raise InputError(f"{path}: expected floating-point flow of shape (height, width, 2)")
        return flow.astype(np.float32)
    data = path.read_bytes()
    if len(data) < 12 or np.frombuffer(data[:4], "<f4")[0] != np.float32(_FLO_MAGIC):
        raise InputError(f"{path}: expected a .flo file, found other content")
    width, height = (int(n) for n in np.frombuffer(data[4:12], "<i4"))
    if width <= 0 or height <= 0 or len(data) != 12 + 8 * width * height:
        raise InputError(
            f"{path}: expected 8 bytes for each of {width} x {height} px, found {len(data) - 12} bytes"
        )
    return np.frombuffer(data[12:], "<f4").reshape(height, width, 2).astype(np.float32)


def _files(folder: Path | str, suffixes: tuple[str, ...], what: str) -> list[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected a folder of {what}")
    files = sorted((p for p in folder.iterdir() if p.suffix.lower() in suffixes), key=natural_sort_key)
    if not files:
        raise InputError(f"{folder}: expected {what}, one per frame; found none")
    return files
