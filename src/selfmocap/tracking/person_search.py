"""Search a frame for people: whom among the tracked does the person detector see, and who is not tracked yet?"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from selfmocap.io.prefetch import map_in_threads
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import (
    Detection,
    PersonBox,
    body_distance,
    relative_extent,
    visible_box,
)
from selfmocap.tracking.detectors.protocol import RoiDetector
from selfmocap.tracking.detectors.window import RgbImage, Window, box_overlap
from selfmocap.tracking.reidentification import SAME_BODY_DISTANCE, reactivate
from selfmocap.tracking.track_state import RejectedBox, TrackerConfig, TrackerState, count_search

_SQUARES_INTERVAL = 2
"""Searches between two that look into square regions of the frame too, where small people are larger."""
_SAME_PERSON_OVERLAP = 0.4
"""Intersection over union from which a found box may be that of a person's keypoints."""
_MAX_BOX_OVERLAP, _SAME_BOX_OVERLAP = 0.55, 0.7
"""Intersection over union from which the lower of two found boxes is dropped, and from which two boxes are the same."""
_MAX_EXAMINED = 20
"""Boxes without a track that are examined in one search, best first, so that its time is bounded."""
_MAX_WAIT = 3
"""Searches after which a box that held no person is examined again at the latest."""
MIN_NEW_SCORE, _MIN_NEW_EXTENT = 0.8, 0.52
"""Score and relative extent of a new person; table legs, hands and dogs often lack one of them."""
_MIN_NEW_BELIEF = 0.7
"""Sum of the score of the box and the agreement of two models for a new person."""
_MAX_RETURN_DISTANCE = 0.3
"""Window distance within which the model must find the same person again in the window that it asked for."""
MIN_WINDOW_SIDE_PX = 56.0
"""Side of the smallest window: a person of about 45 px."""


def search_for_people(
    state: TrackerState, frame: Frame, detector: RoiDetector, config: TrackerConfig
) -> TrackerState:
    """Search a frame for people who are not tracked, and count which tracked people the search found."""
    height, width = frame.image.shape[:2]
    regions = [None]
    if state.num_searches % _SQUARES_INTERVAL == 0:
        regions += square_regions(width, height)
    boxes = _find_boxes(frame.image, regions, detector)
    present = [track for track in state.tracks if track.last_frame == frame.index]
    found = [track.detection for track in present]
    overlap = np.array([_overlap(visible_box(d, width, height).tolist(), boxes) for d in found])
    overlap = overlap.reshape(len(found), len(boxes))
    box_of = _assign(overlap)
    scores = {t.track_id: boxes[box_of[n]].score if n in box_of else 0.0 for n, t in enumerate(present)}
    state = count_search(replace(state, num_searches=state.num_searches + 1), frame.index, scores, config)
    known = {*box_of.values(), *np.flatnonzero((overlap >= _SAME_BOX_OVERLAP).any(axis=0)).tolist()}
    unknown = [box for n, box in enumerate(boxes) if n not in known]
    examined = [box for box in unknown if _is_due(box, state)][:_MAX_EXAMINED]
    detections = map_in_threads(lambda box: _detect_new_person(frame.image, box, detector), examined)
    rejected = list[PersonBox]()
    for box, detection in zip(examined, detections, strict=True):
        if detection is None:
            rejected.append(box)
        elif all(body_distance(detection, other, detector.points) >= SAME_BODY_DISTANCE for other in found):
            found.append(detection)
            state = reactivate(state, detection, box.score, frame, detector.points, config)
    return _with_rejected(state, rejected)


# ---- boxes ----------------------------------------------------------------------------------------------------


def square_regions(width: int, height: int) -> list[Window]:
    """Return square regions as large as the shorter side of a frame, which overlap by half, along its longer side."""
    side, longer = float(min(width, height)), float(max(width, height))
    steps = math.ceil(2 * (longer - side) / side)
    centers = [side / 2 - 0.5 + (longer - side) * step / steps for step in range(steps + 1)] if steps else []
    across = side / 2 - 0.5
    return [Window(c, across, side) if width > height else Window(across, c, side) for c in centers]


def _find_boxes(image: RgbImage, regions: Sequence[Window | None], detector: RoiDetector) -> list[PersonBox]:
    """Find people in regions of an image; best first, without duplicates."""
    boxes = itertools.chain(*map_in_threads(lambda region: detector.find_people(image, region), regions))
    kept: list[PersonBox] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if not (_overlap(box[:4], kept) >= _MAX_BOX_OVERLAP).any():
            kept.append(box)
    return kept


def _assign(overlap: Float[np.ndarray, "people boxes"]) -> dict[int, int]:
    """Assign at most one box to each person (Hungarian method on the overlap); return the box of each who has one."""
    from scipy.optimize import linear_sum_assignment

    pairs = zip(*linear_sum_assignment(-overlap), strict=True)
    return {int(n): int(box) for n, box in pairs if overlap[n, box] >= _SAME_PERSON_OVERLAP}


def _overlap(box: Sequence[float], boxes: Sequence[PersonBox]) -> Float[np.ndarray, " boxes"]:
    return box_overlap(np.array(box), np.array([other[:4] for other in boxes]).reshape(-1, 4))


# ---- new people -----------------------------------------------------------------------------------------------


def _detect_new_person(image: RgbImage, box: PersonBox, detector: RoiDetector) -> Detection | None:
    """Detect the person in a found box; None if there is none."""
    results = (_detect_twice(image, roi, detector) for roi in detector.rois_of_box(image, box))
    return next((d for d in results if d is not None and _is_person_of(d, box, image)), None)


def _detect_twice(image: RgbImage, window: Window, detector: RoiDetector) -> Detection | None:
    """Detect a person in a window, and again in the window that the model then asks for; None unless both agree."""
    first = detector.detect_in_roi(image, window)
    if first is None or first.window.side < MIN_WINDOW_SIDE_PX:
        return None
    second = detector.detect_in_roi(image, first.window)
    close = second is not None and first.window.distance(second.window) <= _MAX_RETURN_DISTANCE
    return second if close else None


def _is_person_of(detection: Detection, box: PersonBox, image: RgbImage) -> bool:
    """Decide whether a detection is a person, and the one whom the person detector saw in a box."""
    height, width = image.shape[:2]
    return (
        bool(_overlap(visible_box(detection, width, height).tolist(), [box])[0] >= _SAME_PERSON_OVERLAP)
        and detection.score >= MIN_NEW_SCORE
        and relative_extent(detection) >= _MIN_NEW_EXTENT
        and detection.agreement + box.score >= _MIN_NEW_BELIEF
    )


# ---- boxes that held no person --------------------------------------------------------------------------------


def _is_due(box: PersonBox, state: TrackerState) -> bool:
    """Decide whether to examine a box: furniture is examined at doubling intervals."""
    before = [r for r, same in zip(state.rejected, _is_same_box(box, state.rejected), strict=True) if same]
    return all(state.num_searches - r.search >= min(2 ** (r.times - 1), _MAX_WAIT) for r in before)


def _is_same_box(box: PersonBox, rejected: Sequence[RejectedBox]) -> Bool[np.ndarray, " rejected"]:
    return _overlap(box[:4], [r.box for r in rejected]) >= _SAME_BOX_OVERLAP


def _with_rejected(state: TrackerState, boxes: Sequence[PersonBox]) -> TrackerState:
    """Remember boxes that held no person, and forget those that were not found for long."""
    kept = [r for r in state.rejected if state.num_searches - r.search <= 2 * _MAX_WAIT]
    for box in boxes:
        same = _is_same_box(box, kept)
        times = 1 + max((r.times for r, is_same in zip(kept, same, strict=True) if is_same), default=0)
        kept = [r for r, is_same in zip(kept, same, strict=True) if not is_same]
        kept.append(RejectedBox(box, times, state.num_searches))
    return replace(state, rejected=tuple(kept))
