"""Second pass over a video: crops, masks and flow of the people who are kept, row by row onto disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.prefetch import prefetched
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.spool import Spool
from selfmocap.io.stopwatch import Stopwatch
from selfmocap.io.video import Frame, Video
from selfmocap.tracking.crop_boxes import boxes
from selfmocap.tracking.detections_store import (
    Sighting,
    part_paths,
    read_columns,
    read_sighted,
    read_sightings,
)
from selfmocap.tracking.detectors.detection import Pose
from selfmocap.tracking.detectors.window import cut
from selfmocap.tracking.left_right_swaps import undo_swaps
from selfmocap.tracking.masks import box_window, own_mask
from selfmocap.tracking.optical_flow import WORK_SIZE, CropFlow, FlowMethod, crop_flow
from selfmocap.tracking.precomputed import PrecomputedFlow, PrecomputedMasks


@dataclass(frozen=True, eq=False)
class Person:
    """What is kept in memory of one person; images are in its spools."""

    number: int
    """From 1."""
    tracks: tuple[int, ...]
    frame_index: Int[np.ndarray, " time"]
    frame_times: Float[np.ndarray, " time"]
    keypoints: Float[np.ndarray, "time keypoints 2"]
    confidence: Float[np.ndarray, "time keypoints"]
    swaps: Int[np.ndarray, " time"]
    """Index into swaps.STATES: what was swapped, and is undone."""
    boxes: Float32[np.ndarray, "time 3"]

    def row(self, frame: int) -> int | None:
        """The row of a frame of the video, if the person is seen in it."""
        row = int(np.searchsorted(self.frame_index, frame))
        return row if row < len(self.frame_index) and self.frame_index[row] == frame else None


class Images(NamedTuple):
    """The spools of one person, by the names of the fields of `Observations`; None where nothing measures them."""

    crops: Spool
    masks: Spool | None
    mask_certain: Spool | None
    flow: Spool
    flow_confidence: Spool
    flow_error: Spool
    """Photometric error with the flow and without, grey levels: not part of the observations."""

    def present(self) -> list[Spool]:
        return [spool for spool in self if spool is not None]


def images(folder: Path, person: Person, masked: bool) -> Images:
    """The spools of a person in a folder, as long as an earlier run left them."""
    side = CROP_SIZE

    def spool(name: str, row: tuple[int, ...], dtype: type) -> Spool:
        return Spool(folder / f"{'-'.join(map(str, person.tracks))}.{name}", row, dtype)

    packed = (side, side // 8)
    return Images(
        crops=spool("crops", (side, side, 3), np.uint8),
        masks=spool("masks", packed, np.uint8) if masked else None,
        mask_certain=spool("mask_certain", packed, np.uint8) if masked else None,
        flow=spool("flow", (side, side, 2), np.float16),
        flow_confidence=spool("flow_confidence", (side, side), np.float16),
        flow_error=spool("flow_error", (2,), np.float32),
    )


def person_of(number: int, tracks: tuple[int, ...], folder: Path, points: KeypointSet) -> Person:
    """A person from what was seen of its tracks, left and right swaps undone, boxes smoothed."""
    parts = part_paths(folder)
    columns = read_sighted(parts, ["frame", "track", "keypoints", "confidence"])
    times = read_columns(parts, ["frame_index", "frame_times"])
    chosen: dict[int, int] = {}
    for track in sorted(tracks, key=lambda track: int((columns["track"] == track).sum())):
        rows = np.flatnonzero(columns["track"] == track)
        chosen |= dict(zip(columns["frame"][rows].tolist(), rows.tolist(), strict=True))
    frames = np.array(sorted(chosen))
    rows = np.array([chosen[frame] for frame in frames.tolist()])
    keypoints, confidence = columns["keypoints"][rows], columns["confidence"][rows]
    first_boxes = boxes(keypoints, confidence, frames)
    keypoints, confidence, swaps = undo_swaps(keypoints, confidence, first_boxes[:, 2], frames, points)
    where = np.searchsorted(times["frame_index"], frames)
    return Person(
        number, tracks, frames, times["frame_times"][where], keypoints, confidence, swaps, first_boxes
    )


@dataclass(frozen=True)
class Measures:
    """Where masks and flow come from."""

    masks: PrecomputedMasks | None
    """None: the detector's own."""
    flow: PrecomputedFlow | FlowMethod


def measure(
    video: Video,
    people: list[tuple[Person, Images]],
    folder: Path,
    measures: Measures,
    watch: Stopwatch,
    progress: ProgressCallback,
) -> None:
    """Fills the people's spools, going on where an earlier run stopped."""
    for _, spools in people:
        done = min(len(spool) for spool in spools.present())
        for spool in spools.present():
            spool.cut(done)
    starts = [int(p.frame_index[len(s.crops)]) for p, s in people if len(s.crops) < len(p.frame_index)]
    if not starts:
        return
    seen = _by_frame(folder, min(starts))
    for frame, following in _pairs(watch.each("decode", prefetched(video.frames(min(starts))))):
        sightings = next(seen, [])
        for person, spools in people:
            row = person.row(frame.index)
            if row is not None and row == len(spools.crops):
                _measure_one(frame, following, sightings, person, row, spools, measures, watch)
        progress("crops, masks and flow", frame.index + 1, video.declared_frames)


def _by_frame(folder: Path, first: int) -> Iterator[list[Sighting]]:
    """The sightings of each frame from `first` on."""
    for part in part_paths(folder):
        frames = read_columns([part], ["frame_index"])["frame_index"]
        if frames[-1] < first:
            continue
        sightings = read_sightings(part)
        for frame in frames[frames >= first].tolist():
            yield [sighting for sighting in sightings if sighting.frame == frame]


def _pairs(frames: Iterator[Frame]) -> Iterator[tuple[Frame, Frame | None]]:
    previous = next(frames, None)
    while previous is not None:
        following = next(frames, None)
        yield previous, following
        previous = following


def _measure_one(
    frame: Frame,
    following: Frame | None,
    sightings: list[Sighting],
    person: Person,
    row: int,
    spools: Images,
    measures: Measures,
    watch: Stopwatch,
) -> None:
    box = person.boxes[row]
    with watch.stage("crops"):
        large = cut(frame.image, box_window(box), WORK_SIZE)
        crop = _smaller(large)
    if spools.masks is not None and spools.mask_certain is not None:
        with watch.stage("masks"):
            mask, certain = _mask(frame, sightings, person, box, measures.masks)
            spools.masks.append(np.packbits(mask, axis=-1)[None])
            spools.mask_certain.append(np.packbits(certain, axis=-1)[None])
    with watch.stage("flow"):
        found = _flow(frame, following, box, large, measures.flow)
    spools.flow.append(found.flow.clip(-6e4, 6e4)[None])
    spools.flow_confidence.append(found.confidence[None])
    spools.flow_error.append(np.array([[found.error, found.still_error]]))
    spools.crops.append(crop[None])


def _smaller(large: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "small small 3"]:
    import cv2

    return cv2.resize(large, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)


def _mask(
    frame: Frame,
    sightings: list[Sighting],
    person: Person,
    box: Float32[np.ndarray, " 3"],
    precomputed: PrecomputedMasks | None,
) -> tuple[Bool[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    own = [s.pose for s in sightings if s.track in person.tracks]
    others = [s.pose for s in sightings if s.track not in person.tracks]
    if precomputed is not None:
        own = precomputed.with_masks(own, [box] * len(own), frame)
        others = precomputed.with_masks(others, [box] * len(others), frame)
    height, width = frame.image.shape[:2]
    latest: Pose = own[-1]
    if latest.mask is None:
        nothing = np.zeros((CROP_SIZE, CROP_SIZE), bool)
        return nothing, nothing
    return own_mask(latest, others, box, width, height)


def _flow(
    frame: Frame,
    following: Frame | None,
    box: Float32[np.ndarray, " 3"],
    large: UInt8[np.ndarray, "height width 3"],
    source: PrecomputedFlow | Callable,
) -> CropFlow:
    """The flow of a crop; of no confidence in the last frame and where a frame is damaged."""
    side = (CROP_SIZE, CROP_SIZE)
    unknown = CropFlow(np.zeros((*side, 2), np.float32), np.zeros(side, np.float32), np.nan, np.nan)
    if following is None or frame.corrupt or following.corrupt:
        return unknown
    if isinstance(source, PrecomputedFlow):
        given = source.crop(frame, box)
        return unknown if given is None else CropFlow(given[0], given[1].astype(np.float32), np.nan, np.nan)
    return crop_flow(large, cut(following.image, box_window(box), WORK_SIZE), source)
