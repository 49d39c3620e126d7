"""Crop extraction: the second pass over a video writes the crops, masks, flow and hands of people to disk."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from selfmocap.body_model.skeleton import HAND_KEYPOINTS, HAND_SIDES, KeypointSet
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.prefetch import prefetched
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.spool import Spool
from selfmocap.io.stopwatch import Stopwatch
from selfmocap.io.video import Frame, Video
from selfmocap.tracking.config import FLOW_BLOCK
from selfmocap.tracking.crop_boxes import smoothed_boxes
from selfmocap.tracking.detections_store import (
    TrackedDetection,
    part_paths,
    read_columns,
    read_detection_columns,
    read_detections,
)
from selfmocap.tracking.detectors.hands import HandDetector
from selfmocap.tracking.detectors.window import RgbImage, crop_window
from selfmocap.tracking.hand_pass import HandSpools, detect_hands
from selfmocap.tracking.left_right_swaps import undo_swaps
from selfmocap.tracking.masks import Mask, box_window, person_mask
from selfmocap.tracking.observations import spread_rows
from selfmocap.tracking.optical_flow import WORK_SIZE, CropFlow, FlowMethod, crop_flow
from selfmocap.tracking.precomputed import PrecomputedFlow, PrecomputedMasks

_MAX_FLOW_PX = 6e4
"""Largest flow that half precision holds."""


@dataclass(frozen=True, eq=False)
class TrackedPerson:
    """The observations of one person without images, in memory; the images are in the person's spools."""

    number: int
    """From 1."""
    tracks: tuple[int, ...]
    points: KeypointSet
    frame_index: Int[np.ndarray, " time"]
    frame_times: Float[np.ndarray, " time"]
    keypoints: Float[np.ndarray, "time keypoints 2"]
    confidence: Float[np.ndarray, "time keypoints"]
    swaps: Int[np.ndarray, " time"]
    """Index into SWAP_STATES of the left-right swap that was undone."""
    boxes: Float32[np.ndarray, "time 3"]

    def row(self, frame: int) -> int | None:
        """Return the row of a frame of the video; None if the person was not detected in it."""
        row = int(np.searchsorted(self.frame_index, frame))
        return row if row < len(self.frame_index) and self.frame_index[row] == frame else None


class PersonSpools(NamedTuple):
    """The spools of one person, by the names of the fields of `Observations`; None without masks or hands."""

    crops: Spool
    masks: Spool | None
    mask_certain: Spool | None
    flow: Spool
    flow_confidence: Spool
    flow_error: Spool
    """Photometric error with the flow and with zero flow, grey levels; not part of the observations."""
    hands: HandSpools | None

    def present(self) -> list[Spool]:
        """Return the spools that exist."""
        return [*self.observed().values(), self.flow_error]

    def observed(self) -> dict[str, Spool]:
        """Return the spools that are fields of the observations, by name."""
        spools = self._asdict() | (self.hands._asdict() if self.hands else {})
        return {n: spool for n, spool in spools.items() if isinstance(spool, Spool) and n != "flow_error"}


def open_spools(folder: Path, person: TrackedPerson, has_masks: bool, has_hands: bool) -> PersonSpools:
    """Open the spools of a person in a folder, with the rows that an earlier run wrote."""
    side = CROP_SIZE

    def spool(name: str, row: tuple[int, ...], dtype: type) -> Spool:
        return Spool(folder / f"{'-'.join(map(str, person.tracks))}.{name}", row, dtype)

    packed = (side, side // 8)
    hand = (len(HAND_SIDES), len(HAND_KEYPOINTS.names))
    return PersonSpools(
        crops=spool("crops", (side, side, 3), np.uint8),
        masks=spool("masks", packed, np.uint8) if has_masks else None,
        mask_certain=spool("mask_certain", packed, np.uint8) if has_masks else None,
        flow=spool("flow", (side, side, 2), np.float16),
        flow_confidence=spool("flow_confidence", (side, side), np.float16),
        flow_error=spool("flow_error", (2,), np.float32),
        hands=HandSpools(
            hand_keypoints=spool("hand_keypoints", (*hand, 2), np.float32),
            hand_positions=spool("hand_positions", (*hand, 3), np.float32),
            hand_confidence=spool("hand_confidence", hand[:1], np.float32),
        )
        if has_hands
        else None,
    )


def assemble_person(
    number: int, tracks: tuple[int, ...], last_frames: Mapping[int, int], folder: Path, points: KeypointSet
) -> TrackedPerson:
    """Join the detections of a person's tracks, undo left-right swaps and compute smoothed boxes.

    Where two tracks hold the same frame, the detection of the longer one is taken."""
    parts = part_paths(folder)
    columns = read_detection_columns(parts, ["frame", "track", "keypoints", "confidence"])
    times = read_columns(parts, ["frame_index", "frame_times"])
    row_of_frame: dict[int, int] = {}
    for track in sorted(tracks, key=lambda track: int((columns["track"] == track).sum())):
        rows = np.flatnonzero((columns["track"] == track) & (columns["frame"] <= last_frames[track]))
        row_of_frame |= dict(zip(columns["frame"][rows].tolist(), rows.tolist(), strict=True))
    frames = np.array(sorted(row_of_frame))
    rows = np.array([row_of_frame[frame] for frame in frames.tolist()])
    keypoints, confidence = columns["keypoints"][rows], columns["confidence"][rows]
    boxes = smoothed_boxes(keypoints, confidence, frames)
    keypoints, confidence, swaps = undo_swaps(keypoints, confidence, boxes[:, 2], frames, points)
    frame_times = times["frame_times"][np.searchsorted(times["frame_index"], frames)]
    return TrackedPerson(number, tracks, points, frames, frame_times, keypoints, confidence, swaps, boxes)


@dataclass(frozen=True)
class CropSources:
    """The sources of masks, flow and hands."""

    masks: PrecomputedMasks | None
    """None for the detector's masks."""
    flow: PrecomputedFlow | FlowMethod
    flow_frames: int | None
    """See `ObserveConfig`."""
    hands: HandDetector | None
    """None where the keypoints of the body do not say where hands are."""


def extract_crops(
    video: Video,
    people: list[tuple[TrackedPerson, PersonSpools]],
    folder: Path,
    sources: CropSources,
    watch: Stopwatch,
    progress: ProgressCallback,
    shot_starts: Collection[int] = (),
) -> None:
    """Fill the spools of all people, resuming after the rows that an earlier run wrote. There is no flow from one shot
    to the next."""
    for _, spools in people:
        done = min(len(spool) for spool in spools.present())
        for spool in spools.present():
            spool.truncate(done)
    starts = [int(p.frame_index[len(s.crops)]) for p, s in people if len(s.crops) < len(p.frame_index)]
    if not starts:
        return
    flow_rows = [_flow_rows(person, sources.flow_frames) for person, _ in people]
    detections_by_frame = _detections_by_frame(folder, min(starts))
    for frame, following in _pairs(watch.timed("decode", prefetched(video.frames(min(starts))))):
        detections = next(detections_by_frame, [])
        if following is not None and following.index in shot_starts:
            following = None
        for (person, spools), rows in zip(people, flow_rows, strict=True):
            row = person.row(frame.index)
            if row is not None and row == len(spools.crops):
                after = following if row in rows else None
                _append_row(frame, after, detections, person, row, spools, sources, watch)
        progress("crops, masks and flow", video.num_read(frame), video.declared_frames)


def _flow_rows(person: TrackedPerson, max_frames: int | None) -> set[int]:
    """Return the rows of a person in which flow is measured."""
    count = len(person.frame_index)
    return set(spread_rows(count, count if max_frames is None else max_frames, FLOW_BLOCK).tolist())


def _detections_by_frame(folder: Path, first: int) -> Iterator[list[TrackedDetection]]:
    """Yield the detections of each frame from `first` on."""
    for part in part_paths(folder):
        frames = read_columns([part], ["frame_index"])["frame_index"]
        if frames[-1] < first:
            continue
        detections = read_detections(part)
        for frame in frames[frames >= first].tolist():
            yield [detection for detection in detections if detection.frame == frame]


def _pairs(frames: Iterator[Frame]) -> Iterator[tuple[Frame, Frame | None]]:
    """Yield each frame with the next one, None after the last."""
    previous = next(frames, None)
    while previous is not None:
        following = next(frames, None)
        yield previous, following
        previous = following


def _append_row(
    frame: Frame,
    following: Frame | None,
    detections: list[TrackedDetection],
    person: TrackedPerson,
    row: int,
    spools: PersonSpools,
    sources: CropSources,
    watch: Stopwatch,
) -> None:
    """Append the images of one person in one frame; the crops last, because their number counts finished rows."""
    box = person.boxes[row]
    with watch.stage("crops"):
        large = crop_window(frame.image, box_window(box), WORK_SIZE)
        crop = _downsampled(large)
    if spools.masks is not None and spools.mask_certain is not None:
        with watch.stage("masks"):
            mask, certain = _mask(frame, detections, person, box, sources.masks)
            spools.masks.append(np.packbits(mask, axis=-1)[None])
            spools.mask_certain.append(np.packbits(certain, axis=-1)[None])
    with watch.stage("flow"):
        result = _flow(frame, following, box, large, sources.flow)
    spools.flow.append(result.flow.clip(-_MAX_FLOW_PX, _MAX_FLOW_PX)[None])
    spools.flow_confidence.append(result.confidence[None])
    spools.flow_error.append(np.array([[result.error, result.zero_flow_error]]))
    if spools.hands is not None and sources.hands is not None:
        with watch.stage("hands"):
            hands = detect_hands(
                frame.image,
                person.keypoints[row],
                person.confidence[row],
                person.points,
                spools.hands.read(row - 1) if row else None,
                sources.hands,
            )
        spools.hands.append(hands)
    spools.crops.append(crop[None])


def _downsampled(large: RgbImage) -> UInt8[np.ndarray, "small small 3"]:
    import cv2

    return cv2.resize(large, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)


def _mask(
    frame: Frame,
    detections: list[TrackedDetection],
    person: TrackedPerson,
    box: Float32[np.ndarray, " 3"],
    precomputed: PrecomputedMasks | None,
) -> tuple[Mask, Mask]:
    """Compute the mask of a person in their crop, and which of its pixels are certain; empty without a mask."""
    own = [d.detection for d in detections if d.track_id in person.tracks]
    others = [d.detection for d in detections if d.track_id not in person.tracks]
    if precomputed is not None:
        own = precomputed.with_masks(own, box, frame)
        others = precomputed.with_masks(others, box, frame)
    height, width = frame.image.shape[:2]
    latest = own[-1]
    if latest.mask is None:
        empty = np.zeros((CROP_SIZE, CROP_SIZE), bool)
        return empty, empty
    return person_mask(latest, others, box, width, height)


def _flow(
    frame: Frame,
    following: Frame | None,
    box: Float32[np.ndarray, " 3"],
    large: RgbImage,
    source: PrecomputedFlow | FlowMethod,
) -> CropFlow:
    """Compute the flow of a crop to the next frame; of confidence 0 without one, and where a frame is damaged."""
    side = (CROP_SIZE, CROP_SIZE)
    unknown = CropFlow(np.zeros((*side, 2), np.float32), np.zeros(side, np.float32), np.nan, np.nan)
    if following is None or frame.corrupt or following.corrupt:
        return unknown
    if isinstance(source, PrecomputedFlow):
        read = source.crop(frame, box)
        return unknown if read is None else CropFlow(read[0], read[1].astype(np.float32), np.nan, np.nan)
    return crop_flow(large, crop_window(following.image, box_window(box), WORK_SIZE), source)
