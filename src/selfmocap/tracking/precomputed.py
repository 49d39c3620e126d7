"""What another program has measured, instead of our detector: keypoints, masks, flow. All of it may come from
strangers: sizes are bounded and every number is checked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from selfmocap.body_model.skeleton import KEYPOINT_SETS, KeypointSet
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.files import existing_file
from selfmocap.io.video import MAX_PIXELS, Frame, InputError, numbered, picture_opened
from selfmocap.tracking.detectors.detection import MASK_SIDE, Pose, window_of
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.masks import box_window, inside_frame

_MAX_JSON_BYTES = 1 << 28
_MAX_PEOPLE = 256
_FLO_MAGIC = 202021.25
_FARTHEST = 1e6


class PrecomputedKeypoints:
    """Keypoints from a folder of OpenPose's JSON files (BODY-25; the i-th file is the i-th frame) or from one JSON
    file of COCO keypoints (17, or 23 with feet; `image_id` is the frame's index where there is no list of images,
    otherwise the images' order). An InputError names what is wrong with a file."""

    name = "precomputed"
    follows = False

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        if path.is_dir():
            self.points = KEYPOINT_SETS["body-25"]
            self._files = sorted(path.glob("*.json"), key=numbered)
            if not self._files:
                raise InputError(f"{path}: a folder without .json files; expected one of OpenPose's a frame")
            self._frames: dict[int, list[Pose]] = {}
        else:
            self._files = []
            self.points, self._frames = _coco(path)

    def everybody(self, frame: Frame) -> list[Pose]:
        """All people of a frame."""
        if frame.index < len(self._files):
            return _openpose(self._files[frame.index], len(self.points.names))
        return self._frames.get(frame.index, [])

    def search(self, image: np.ndarray, tile: Window) -> list[Window]:
        """Not asked of a detector that does not follow."""
        raise NotImplementedError

    def look(self, image: np.ndarray, window: Window) -> Pose | None:
        """Not asked of a detector that does not follow."""
        raise NotImplementedError


def _openpose(path: Path, keypoints: int) -> list[Pose]:
    data = _json(path)
    people = data.get("people") if isinstance(data, dict) else None
    if not isinstance(people, list) or len(people) > _MAX_PEOPLE:
        raise InputError(f"{path}: expected OpenPose's JSON with a list of up to {_MAX_PEOPLE} people")
    poses = []
    for person in people:
        numbers = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
        poses.append(_pose(path, numbers, keypoints))
    return [pose for pose in poses if pose is not None]


def _coco(path: Path) -> tuple[KeypointSet, dict[int, list[Pose]]]:
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
    frames: dict[int, list[Pose]] = {}
    for result in results:
        image = result.get("image_id")
        if not isinstance(image, (int, str)) or (order is None and not isinstance(image, int)):
            raise InputError(
                f"{path}: image_id {image!r}; expected the index of a frame, or a list of 'images'"
            )
        index = order.get(image) if order is not None else int(image)
        pose = _pose(path, result.get("keypoints"), len(points.names))
        if index is not None and pose is not None and len(frames.setdefault(index, [])) < _MAX_PEOPLE:
            frames[index].append(pose)
    return points, frames


def _frame_order(path: Path, data: Any) -> dict[int | str, int] | None:
    images = data.get("images") if isinstance(data, dict) else None
    if images is None:
        return None
    try:
        names = sorted((numbered(Path(image["file_name"])), image["id"]) for image in images)
    except (TypeError, KeyError) as error:
        raise InputError(f"{path}: expected 'images' with 'id' and 'file_name'") from error
    return {identity: index for index, (_, identity) in enumerate(names)}


def _pose(path: Path, numbers: Any, keypoints: int) -> Pose | None:
    """A person from x, y, confidence of each keypoint; None if nothing of it was seen."""
    try:
        values = np.array(numbers, np.float64).reshape(keypoints, 3)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected {keypoints} keypoints of three numbers each") from error
    if not np.isfinite(values).all() or np.abs(values[:, :2]).max() > _FARTHEST:
        raise InputError(f"{path}: keypoints that are not finite, or farther away than {_FARTHEST:.0f} px")
    confidence = values[:, 2].clip(0, None)
    flags = confidence.max(initial=0.0) > 1.0
    confidence = (confidence / 2 if flags else confidence).clip(0, 1)
    if not (confidence > 0).any():
        return None
    score = float(confidence[confidence > 0].mean())
    return Pose(
        values[:, :2].astype(np.float32),
        confidence.astype(np.float32),
        score,
        window_of(values[:, :2], confidence),
    )


def _json(path: Path) -> Any:
    path = existing_file(path)
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise InputError(f"{path}: larger than the {_MAX_JSON_BYTES} bytes allowed for keypoints")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from error


class PrecomputedMasks:
    """A folder of pictures, the i-th for the i-th frame and of its size: 0 is background, and each other value one
    person (or 255 all of them). A person is the value most common under its confident keypoints."""

    def __init__(self, folder: Path | str) -> None:
        self._files = _files(folder, (".png",), "mask pictures")

    def with_masks(self, poses: list[Pose], boxes: list[Float[np.ndarray, " 3"]], frame: Frame) -> list[Pose]:
        """The people of a frame with their masks from the picture, cut by their boxes."""
        if frame.index >= len(self._files):
            return poses
        path = self._files[frame.index]
        labels = _labels(path)
        if labels.shape != frame.image.shape[:2]:
            raise InputError(
                f"{path}: a mask of {labels.shape[1]} x {labels.shape[0]} px, not the video's size"
            )
        return [_labelled(pose, box, labels) for pose, box in zip(poses, boxes, strict=True)]


def _labels(path: Path) -> UInt8[np.ndarray, "height width"]:
    try:
        with picture_opened(path) as image:
            return np.array(image if image.mode in ("L", "P") else image.convert("L"), np.uint8)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: a damaged picture ({' '.join(str(error).split())})") from None


def _labelled(pose: Pose, box: Float[np.ndarray, " 3"], labels: UInt8[np.ndarray, "height width"]) -> Pose:
    import cv2

    height, width = labels.shape
    columns, rows = np.rint(pose.keypoints[pose.confidence > 0.3]).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    counts = np.bincount(labels[rows[inside], columns[inside]], minlength=256)
    counts[0] = 0
    if not counts.any():
        return pose
    window = box_window(box)
    mine = (labels == counts.argmax()).astype(np.uint8) * 255
    return replace(
        pose, mask=cv2.warpAffine(mine, window.matrix(MASK_SIDE), (MASK_SIDE, MASK_SIDE)), mask_window=window
    )


class PrecomputedFlow:
    """A folder of `.flo` or `.npy` files, the i-th from the i-th frame to the next, of the frame's size, px a frame."""

    def __init__(self, folder: Path | str) -> None:
        self._files = _files(folder, (".flo", ".npy"), "flow files")

    def crop(
        self, frame: Frame, box: Float[np.ndarray, " 3"]
    ) -> tuple[Float32[np.ndarray, "height width 2"], Bool[np.ndarray, "height width"]] | None:
        """The flow in px of the box's crop, and where it is known; None after the last file."""
        import cv2

        if frame.index >= len(self._files):
            return None
        path = self._files[frame.index]
        height, width = frame.image.shape[:2]
        flow = read_flow(path)
        if flow.shape[:2] != (height, width):
            raise InputError(f"{path}: flow of {flow.shape[1]} x {flow.shape[0]} px, not the video's size")
        known = (np.abs(flow) < _FARTHEST).all(axis=-1)
        matrix, size = box_window(box).matrix(CROP_SIZE), (CROP_SIZE, CROP_SIZE)
        cut = cv2.warpAffine(np.where(known[..., None], flow, 0), matrix, size)
        scale = CROP_SIZE / (2 * float(box[2]))
        sure = cv2.warpAffine(known.astype(np.float32), matrix, size) > 0.99
        return (cut * scale).astype(np.float32), sure & inside_frame(box, width, height)


def read_flow(path: Path) -> Float32[np.ndarray, "height width 2"]:
    """A Middlebury `.flo` file, or an `.npy` array (height, width, 2); an InputError for anything else."""
    path = existing_file(path)
    limit = 8 * MAX_PIXELS + 1024
    if path.stat().st_size > limit:
        raise InputError(f"{path}: larger than the {limit} bytes allowed for flow")
    if path.suffix == ".npy":
        try:
            flow = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"{path}: not an .npy array ({error})") from error
        if not isinstance(flow, np.ndarray) or flow.ndim != 3 or flow.shape[2] != 2 or flow.dtype.kind != "f":
            raise InputError(f"{path}: expected floating-point flow of shape (height, width, 2)")
        return flow.astype(np.float32)
    data = path.read_bytes()
    if len(data) < 12 or np.frombuffer(data[:4], "<f4")[0] != np.float32(_FLO_MAGIC):
        raise InputError(f"{path}: not a .flo file")
    width, height = (int(n) for n in np.frombuffer(data[4:12], "<i4"))
    if width <= 0 or height <= 0 or len(data) != 12 + 8 * width * height:
        raise InputError(f"{path}: declares {width} x {height} px and holds {len(data) - 12} bytes")
    return np.frombuffer(data[12:], "<f4").reshape(height, width, 2).astype(np.float32)


def _files(folder: Path | str, suffixes: tuple[str, ...], what: str) -> list[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder of {what}")
    files = sorted((p for p in folder.iterdir() if p.suffix.lower() in suffixes), key=numbered)
    if not files:
        raise InputError(f"{folder}: a folder without {what} ({', '.join(suffixes)})")
    return files
