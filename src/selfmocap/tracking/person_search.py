"""Search a frame for people who are not tracked yet."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from selfmocap.io.prefetch import map_in_threads
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Detection, relative_extent
from selfmocap.tracking.detectors.protocol import DETECTOR_THREADS, RoiDetector
from selfmocap.tracking.detectors.window import RgbImage, Window
from selfmocap.tracking.hog_detector import detect_pedestrians
from selfmocap.tracking.reidentification import SAME_PERSON_DISTANCE, is_same_person, reactivate
from selfmocap.tracking.tiles import FIRST_SEARCH, LATER_CROWD_SEARCHES, LATER_SEARCHES, search_tiles
from selfmocap.tracking.track_state import (
    CROWD_MIN_SIDE_PX,
    CROWD_SIZE,
    SMALL_SIDE_PX,
    Track,
    TrackerConfig,
    TrackerState,
)

_NEIGHBOUR_OFFSETS = (-0.6, -0.3, 0.3, 0.6)
"""Horizontal offsets from a person, in sides of their window, at which a crowd is searched for neighbours."""
_SAME_WINDOW_DISTANCE = 0.15
"""Window distance below which an empty window is not tried again; in a crowd, also the distance below which two
windows hold one person."""
MIN_NEW_SCORE, _MIN_NEW_EXTENT = 0.8, 0.52
"""Score and relative extent of a new person; table legs, hands and dogs often lack one of them."""
_MIN_UPRIGHT_COSINE = -0.5
"""Cosine of the rotation below which a small detection is an object: a hoop, a lamp."""
MIN_WINDOW_SIDE_PX = 56.0
"""Side of the smallest window: a person of about 45 px."""


def search_for_people(
    state: TrackerState, frame: Frame, detector: RoiDetector, config: TrackerConfig
) -> TrackerState:
    """Search a frame for people who are not tracked, and count which tracked people the search found."""
    height, width = frame.image.shape[:2]
    present = [track for track in state.tracks if track.last_frame == frame.index]
    crowd = len(present) >= CROWD_SIZE
    same_person = _SAME_WINDOW_DISTANCE if crowd else SAME_PERSON_DISTANCE
    found, empty, proposed = [track.detection for track in present], [], []

    def known(window: Window) -> bool:
        """Return True if a window holds a known person or is known to be empty.

        The answer never returns to False, so that threads that run ahead change nothing."""
        near = any(detection.window.distance(window) < same_person for detection in found)
        return near or any(w.distance(window) < _SAME_WINDOW_DISTANCE for w in empty)

    def detect(window: Window) -> tuple[Window, Detection | None]:
        return window, None if known(window) else _detect_new_person(frame.image, window, detector)

    tiles = search_tiles(width, height, _search_sides(state, len(present)))
    crowd_windows = [*_neighbour_windows(present), *detect_pedestrians(frame.image)] if crowd else []
    candidates = itertools.chain(_proposals(detector, frame.image, tiles), crowd_windows)
    for window, detection in map_in_threads(detect, candidates):
        if window not in crowd_windows:
            proposed.append(window)
        if known(window):
            continue
        if detection is None or any(is_same_person(detection, d, detector.points) for d in found):
            empty.append(window)
            continue
        found.append(detection)
        state = reactivate(state, detection, frame, detector.points, config)
    hits = {
        t.track_id
        for t in present
        if any(t.detection.window.distance(w) < SAME_PERSON_DISTANCE for w in proposed)
    }
    tracks = tuple(
        replace(t, search_hits=t.search_hits + 1) if t.track_id in hits else t for t in state.tracks
    )
    return replace(state, tracks=tracks, num_searches=state.num_searches + 1)


def _neighbour_windows(tracks: Sequence[Track]) -> list[Window]:
    """Return windows beside tracked people in a crowd, where the detector may not separate neighbours."""
    large = [t.detection.window for t in tracks if t.detection.window.side >= CROWD_MIN_SIDE_PX]
    return [Window(w.x + offset * w.side, w.y, w.side) for w in large for offset in _NEIGHBOUR_OFFSETS]


def _proposals(detector: RoiDetector, image: RgbImage, tiles: Sequence[Window]) -> Iterator[Window]:
    """Yield the regions of interest proposed in the tiles, in order; the next tiles are searched meanwhile."""
    with ThreadPoolExecutor(DETECTOR_THREADS) as pool:
        results = pool.map(functools.partial(detector.propose_rois, image), tiles)
        for tile, windows in zip(tiles, results, strict=True):
            yield from _plausible(windows, tile)


def _search_sides(state: TrackerState, present: int) -> tuple[float, ...]:
    if not state.num_searches:
        return FIRST_SEARCH
    later = LATER_CROWD_SEARCHES if present >= CROWD_SIZE else LATER_SEARCHES
    return later[state.num_searches % len(later)]


def _plausible(windows: list[Window], tile: Window) -> list[Window]:
    return [
        w for w in windows if w.side >= max(MIN_WINDOW_SIDE_PX, 0.2 * tile.side) and w.side < 2 * tile.side
    ]


def _detect_new_person(image: RgbImage, window: Window, detector: RoiDetector) -> Detection | None:
    """Detect a person in a window, and again in the region that the first detection returns; None unless both agree."""
    first = detector.detect_in_roi(image, window)
    if first is None or first.window.side < MIN_WINDOW_SIDE_PX:
        return None
    detection = detector.detect_in_roi(image, first.window)
    if detection is None or first.window.distance(detection.window) > 0.3:
        return None
    upright = math.cos(detection.window.angle) > _MIN_UPRIGHT_COSINE or detection.window.side >= SMALL_SIDE_PX
    valid = upright and detection.score >= MIN_NEW_SCORE and relative_extent(detection) >= _MIN_NEW_EXTENT
    return detection if valid else None
