"""The video with what was seen drawn over it: boxes, identities, keypoints, masks, flow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.video import Frame
from selfmocap.io.video_writer import write_video

_COLOURS = (
    (255, 176, 0),
    (0, 158, 255),
    (0, 200, 110),
    (255, 90, 90),
    (190, 110, 255),
    (255, 120, 210),
    (140, 210, 40),
)
_LONGEST_SIDE = 1280
_ARROWS = 16
"""Crop px between two arrows of flow."""

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """One person of one frame, to be drawn."""

    number: int
    """From 1."""
    box: Float[np.ndarray, " 3"]
    keypoints: Float[np.ndarray, "keypoints 2"]
    confidence: Float[np.ndarray, " keypoints"]
    swapped: bool
    """Whether left and right were exchanged in this frame."""
    mask: Bool[np.ndarray, "height width"] | None
    flow: Float[np.ndarray, "height width 2"] | None
    flow_confidence: Float[np.ndarray, "height width"] | None


def write_overlay(
    path: Path, drawn: Iterator[tuple[Frame, list[Drawn]]], points: KeypointSet, fps: float
) -> None:
    """Writes the frames with their people drawn on them as an mp4: see `write_video`."""
    write_video(path, ((frame.time, picture(frame.image, people, points)) for frame, people in drawn), fps)


def picture(image: Image, people: list[Drawn], points: KeypointSet) -> Image:
    """A frame, at most 1280 px long and of even size, with the people drawn on it."""
    import cv2

    scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
    height, width = (max(int(n * scale) // 2 * 2, 2) for n in image.shape[:2])
    canvas = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    for person in people:
        colour = _COLOURS[(person.number - 1) % len(_COLOURS)]
        _draw_mask(canvas, person, colour, scale)
        _draw_flow(canvas, person, scale)
        _draw_box(canvas, person, colour, scale)
        _draw_keypoints(canvas, person, points, scale)
    return canvas


def _draw_mask(canvas: Image, person: Drawn, colour: tuple[int, int, int], scale: float) -> None:
    import cv2

    if person.mask is None:
        return
    outlines, _ = cv2.findContours(person.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        pixels = _to_canvas(outline[:, 0].astype(np.float64), person.box, scale)
        cv2.polylines(canvas, [np.rint(pixels).astype(np.int32)], True, colour, 1, cv2.LINE_AA)


def _draw_flow(canvas: Image, person: Drawn, scale: float) -> None:
    import cv2

    if person.flow is None or person.flow_confidence is None:
        return
    for row in range(_ARROWS // 2, CROP_SIZE, _ARROWS):
        for column in range(_ARROWS // 2, CROP_SIZE, _ARROWS):
            flow = person.flow[row, column].astype(np.float64)
            if person.flow_confidence[row, column] < 0.5 or np.hypot(*flow) < 0.5:
                continue
            ends = _to_canvas(
                np.array([[column, row], [column + 2 * flow[0], row + 2 * flow[1]]]), person.box, scale
            )
            start, end = np.rint(ends).astype(int).tolist()
            cv2.arrowedLine(canvas, start, end, (255, 255, 255), 1, cv2.LINE_AA, tipLength=0.3)


def _draw_box(canvas: Image, person: Drawn, colour: tuple[int, int, int], scale: float) -> None:
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


def _draw_keypoints(canvas: Image, person: Drawn, points: KeypointSet, scale: float) -> None:
    """Green is certain, red is not; what is not seen at all is left out."""
    import cv2

    pixels = np.rint(person.keypoints * scale).astype(int).clip(-10000, 10000).tolist()
    for index, parent in enumerate(points.parents):
        if parent >= 0 and min(person.confidence[index], person.confidence[parent]) > 0.3:
            cv2.line(canvas, pixels[parent], pixels[index], (235, 235, 235), 1, cv2.LINE_AA)
    for pixel, confidence in zip(pixels, person.confidence, strict=True):
        if confidence > 0.05:
            sure = float(min(confidence, 1.0))
            cv2.circle(canvas, pixel, 3, (int(255 * (1 - sure)), int(255 * sure), 0), -1, cv2.LINE_AA)


def _to_canvas(
    crop: Float[np.ndarray, "n 2"], box: Float[np.ndarray, " 3"], scale: float
) -> Float[np.ndarray, "n 2"]:
    return ((crop - (CROP_SIZE - 1) / 2) * (2 * box[2] / CROP_SIZE) + box[:2]) * scale
