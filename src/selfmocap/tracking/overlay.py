"""Draw observations over the video: boxes, identities, keypoints, masks, flow, hands."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from selfmocap.body_model.skeleton import HAND_KEYPOINTS, KeypointSet, keypoint_set
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.npz import read_npz
from selfmocap.io.prefetch import prefetched
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.video import Video
from selfmocap.io.video_writer import write_video
from selfmocap.tracking.confidence import DETECTED, VISIBLE
from selfmocap.tracking.detectors.window import RgbImage
from selfmocap.tracking.hand_pass import Hands
from selfmocap.tracking.observations import Observations, iterate_windows

_COLOURS = (
    (255, 176, 0),
    (0, 158, 255),
    (0, 200, 110),
    (255, 90, 90),
    (190, 110, 255),
    (255, 120, 210),
    (140, 210, 40),
)
_MAX_SIDE_PX = 1280
_WINDOW = 64
"""Frames whose observations are read at once."""
_ARROW_STEP_PX = 16
"""Distance between two arrows of flow, px of the crop."""
_ARROW_SCALE = 2
"""Length of an arrow over the flow."""
_HAND_COLOURS = ((255, 220, 60), (80, 220, 255))
"""Of left and right hands."""
_MIN_ARROW_CONFIDENCE, _MIN_ARROW_FLOW_PX = 0.5, 0.5
"""Confidence and length of flow, px of the crop, from which it is drawn."""


@dataclass(frozen=True, eq=False)
class PersonOverlay:
    """One person in one frame, as drawn."""

    number: int
    """From 1."""
    box: Float[np.ndarray, " 3"]
    keypoints: Float[np.ndarray, "keypoints 2"]
    confidence: Float[np.ndarray, " keypoints"]
    swapped: bool
    """True if a left-right swap was undone in this frame."""
    mask: Bool[np.ndarray, "height width"] | None
    flow: Float[np.ndarray, "height width 2"] | None
    flow_confidence: Float[np.ndarray, "height width"] | None
    hands: Hands | None


def write_overlay(
    path: Path, video: Video, files: Sequence[Path], progress: ProgressCallback = no_progress
) -> None:
    """Write the video as an mp4 with the people of `observations.npz` files, the first with the number 1, drawn on it
    (see `write_video`)."""
    points = keypoint_set(Observations.load(files[0], images=()).keypoint_set)
    people = [_overlays(number, file) for number, file in enumerate(files, start=1)]

    def images() -> Iterator[tuple[float, RgbImage]]:
        following = [next(person, None) for person in people]
        for frame in prefetched(video.frames()):
            present = []
            for index, item in enumerate(following):
                if item is not None and item[0] == frame.index:
                    present.append(item[1])
                    following[index] = next(people[index], None)
            yield frame.time, draw_people(frame.image, present, points)
            progress("overlay", video.num_read(frame), video.declared_frames)

    write_video(path, images(), video.fps)


def _overlays(number: int, file: Path) -> Iterator[tuple[int, PersonOverlay]]:
    """Yield each frame of a person with what is drawn in it."""
    swapped = read_npz(file, {"swapped"}).get("swapped")
    for begin, seen in iterate_windows(file, _WINDOW, images=("masks", "flow", "flow_confidence")):
        for row, frame in enumerate(seen.frame_index.tolist()):
            of_row = functools.partial(_of_row, seen, row)
            hands = Hands(of_row("hand_keypoints"), of_row("hand_positions"), of_row("hand_confidence"))
            yield (
                frame,
                PersonOverlay(
                    number,
                    of_row("boxes"),
                    of_row("keypoints"),
                    of_row("keypoint_confidence"),
                    swapped is not None and bool(swapped[begin + row]),
                    of_row("masks"),
                    of_row("flow"),
                    of_row("flow_confidence"),
                    None if seen.hand_keypoints is None else hands,
                ),
            )


def _of_row(observations: Observations, row: int, name: str) -> Any:
    """Return a field of one frame; None if it was not measured."""
    values = getattr(observations, name)
    return None if values is None else values[row].numpy()


def draw_people(image: RgbImage, people: list[PersonOverlay], points: KeypointSet) -> RgbImage:
    """Resize a frame to at most 1280 px and even sides, and draw people on it."""
    import cv2

    scale = min(1.0, _MAX_SIDE_PX / max(image.shape[:2]))
    height, width = (max(int(n * scale) // 2 * 2, 2) for n in image.shape[:2])
    canvas = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    for person in people:
        colour = _COLOURS[(person.number - 1) % len(_COLOURS)]
        _draw_mask(canvas, person, colour, scale)
        _draw_flow(canvas, person, scale)
        _draw_box(canvas, person, colour, scale)
        _draw_keypoints(canvas, person, points, scale)
        _draw_hands(canvas, person, scale)
    return canvas


def _draw_mask(canvas: RgbImage, person: PersonOverlay, colour: tuple[int, int, int], scale: float) -> None:
    import cv2

    if person.mask is None:
        return
    outlines, _ = cv2.findContours(person.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        pixels = _to_canvas(outline[:, 0].astype(np.float64), person.box, scale)
        cv2.polylines(canvas, [np.rint(pixels).astype(np.int32)], True, colour, 1, cv2.LINE_AA)


def _draw_flow(canvas: RgbImage, person: PersonOverlay, scale: float) -> None:
    import cv2

    if person.flow is None or person.flow_confidence is None:
        return
    for row in range(_ARROW_STEP_PX // 2, CROP_SIZE, _ARROW_STEP_PX):
        for column in range(_ARROW_STEP_PX // 2, CROP_SIZE, _ARROW_STEP_PX):
            flow = person.flow[row, column].astype(np.float64)
            certain = person.flow_confidence[row, column] >= _MIN_ARROW_CONFIDENCE
            if not certain or np.hypot(*flow) < _MIN_ARROW_FLOW_PX:
                continue
            tip = [column + _ARROW_SCALE * flow[0], row + _ARROW_SCALE * flow[1]]
            ends = _to_canvas(np.array([[column, row], tip]), person.box, scale)
            start, end = np.rint(ends).astype(int).tolist()
            cv2.arrowedLine(canvas, start, end, (255, 255, 255), 1, cv2.LINE_AA, tipLength=0.3)


def _draw_box(canvas: RgbImage, person: PersonOverlay, colour: tuple[int, int, int], scale: float) -> None:
    import cv2

    (left, top), (right, bottom) = (
        np.rint((person.box[:2] + np.array([[-1, -1], [1, 1]]) * person.box[2]) * scale).astype(int).tolist()
    )
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, 2)
    label = f"{person.number}{' swapped' if person.swapped else ''}"
    cv2.putText(
        canvas,
        label,
        (max(left, 0) + 4, max(top, 0) + 20),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.7,
        colour,
        2,
        cv2.LINE_AA,
    )


def _draw_keypoints(canvas: RgbImage, person: PersonOverlay, points: KeypointSet, scale: float) -> None:
    """Draw keypoints from red (uncertain) to green (certain), without those that are not detected."""
    import cv2

    pixels = np.rint(person.keypoints * scale).astype(int).clip(-10000, 10000).tolist()
    for index, parent in enumerate(points.parents):
        if parent >= 0 and min(person.confidence[index], person.confidence[parent]) > VISIBLE:
            cv2.line(canvas, pixels[parent], pixels[index], (235, 235, 235), 1, cv2.LINE_AA)
    for pixel, confidence in zip(pixels, person.confidence, strict=True):
        if confidence > DETECTED:
            green = float(min(confidence, 1.0))
            cv2.circle(canvas, pixel, 3, (int(255 * (1 - green)), int(255 * green), 0), -1, cv2.LINE_AA)


def _draw_hands(canvas: RgbImage, person: PersonOverlay, scale: float) -> None:
    import cv2

    if person.hands is None:
        return
    for keypoints, confidence, colour in zip(
        person.hands.keypoints, person.hands.confidence, _HAND_COLOURS, strict=True
    ):
        pixels = np.rint(keypoints * scale).astype(int).tolist()
        for index, parent in enumerate(HAND_KEYPOINTS.parents):
            if parent >= 0 and confidence > 0:
                cv2.line(canvas, pixels[parent], pixels[index], colour, 1, cv2.LINE_AA)


def _to_canvas(
    crop: Float[np.ndarray, "n 2"], box: Float[np.ndarray, " 3"], scale: float
) -> Float[np.ndarray, "n 2"]:
    """Convert points from px of the crop to px of the canvas."""
    return ((crop - (CROP_SIZE - 1) / 2) * (2 * float(box[2]) / CROP_SIZE) + box[:2]) * scale
