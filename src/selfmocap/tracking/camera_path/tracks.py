"""Track points of the background through a video: corners outside the people, with Lucas-Kanade flow.

Where the view returns to a place, its points are recognised by their SIFT descriptors and get their former names, so
that the path of the camera closes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from selfmocap.tracking.camera_motion import GreyImage
from selfmocap.tracking.detectors.window import RgbImage

MAX_WORK_SIDE_PX = 640
"""Longer side of the images in which points are tracked."""
_MAX_POINTS, _REFILL_FRACTION = 400, 0.75
_MIN_DISTANCE_PX, _QUALITY = 12, 0.005
"""Least distance of two points, and strength of the weakest corner over that of the strongest."""
_FLOW_WINDOW_PX, _FLOW_LEVELS = (15, 15), 3
_MAX_ROUND_TRIP_ERROR_PX = 0.5
_KEYFRAME_SHIFT, _KEYFRAME_LOST = 0.04, 0.4
"""A keyframe is due when points have moved by this fraction of the longer side, or this fraction of them is lost."""
_MAX_KEYFRAME_GAP = 30
"""Frames."""
_MIN_POINTS = 16
"""Fewer tracked points do not connect a frame to the one before: a new shot begins."""
_DESCRIPTOR_PX, _MATCH_RATIO, _MIN_MATCHES = 20.0, 0.75, 25
_MAX_LOOP_CANDIDATES = 4
_MIN_LOOP_KEYFRAMES = 3
"""Keyframes that are nearer in time share their points anyway."""

PeopleMask = Bool[np.ndarray, "rows columns"]


@dataclass(frozen=True, eq=False)
class BackgroundTracks:
    """Where points of the background are seen. Rows count the frames of the video, from 0."""

    row: Int[np.ndarray, " seen"]
    """The frame of each sighting, increasing."""
    point: Int[np.ndarray, " seen"]
    """The point."""
    pixel: Float[np.ndarray, "seen 2"]
    """Its position, px of the frame."""
    keyframes: Int[np.ndarray, " keyframes"]
    """Rows of frames that are far enough from each other to show parallax; the first and the last of every shot are
    among them."""
    shot_starts: Int[np.ndarray, " shots"]
    """Rows of frames that no point connects to the frame before; the first is 0."""
    frames: int
    loops: int
    """Pairs of keyframes in which a former view was recognised."""
    work_scale: float
    """px of the images that were searched, per px of the frame."""


@dataclass
class _State:
    """The points that are followed, and what was seen so far."""

    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    names: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    anchor: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """Position of each point in the last keyframe, or where it appeared since."""
    anchored: int = 0
    """Points in the last keyframe."""
    next_name: int = 0
    rows: list[np.ndarray] = field(default_factory=list)
    seen_names: list[np.ndarray] = field(default_factory=list)
    seen: list[np.ndarray] = field(default_factory=list)
    keyframes: list[int] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    descriptors: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    """Of each keyframe: names, positions (px of the work image) and descriptors of its points."""


def work_image(image: RgbImage) -> tuple[GreyImage, float]:
    """Convert a frame to grey, at most MAX_WORK_SIDE_PX long; also return its scale."""
    import cv2

    shape, scale = work_size(image)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_AREA) if scale < 1 else grey, scale


def work_size(image: RgbImage) -> tuple[tuple[int, int], float]:
    """Return the height and width of a frame's `work_image`, and its scale."""
    height, width = image.shape[:2]
    scale = min(1.0, MAX_WORK_SIDE_PX / max(height, width))
    return (max(round(height * scale), 1), max(round(width * scale), 1)), scale


def track_background(frames: Iterable[tuple[RgbImage, PeopleMask]]) -> BackgroundTracks:
    """Track points outside the people's masks (True: a person; of the size of `work_image`) through all frames."""
    state, before, scale, count = _State(), None, 1.0, 0
    for row, (image, people) in enumerate(frames):
        grey, scale = work_image(image)
        count = row + 1
        last_row = state.keyframes[-1] if state.keyframes else -1
        if before is not None:
            _follow(state, before, grey, people)
        if len(state.points) < _MIN_POINTS:
            if row and state.keyframes[-1] != row - 1:
                _end_shot(state, before, row - 1)
            state.shots.append(row)
            _refill(state, grey, people)
            _add_keyframe(state, grey, row)
        elif _is_keyframe_due(state, grey, row - last_row):
            _refill(state, grey, people)
            _add_keyframe(state, grey, row)
        elif len(state.points) < _REFILL_FRACTION * _MAX_POINTS:
            _refill(state, grey, people)
        state.rows.append(np.full(len(state.points), row))
        state.seen_names.append(state.names)
        state.seen.append(state.points.copy())
        before = grey
    if count and state.keyframes[-1] != count - 1:
        _end_shot(state, before, count - 1)
    return _assembled(state, count, scale)


def _end_shot(state: _State, grey: GreyImage | None, row: int) -> None:
    """Make the last frame of a shot a keyframe, from what was seen in it."""
    names, points = state.seen_names[row], state.seen[row]
    state.keyframes.append(row)
    assert grey is not None
    state.descriptors.append((names, points, _describe(grey, points)))


def _follow(state: _State, before: GreyImage, after: GreyImage, people: PeopleMask) -> None:
    """Move the points to the next frame; drop those that are lost or covered by a person."""
    if not len(state.points):
        return
    moved, tracked = track_forward_and_back(before, after, state.points)
    column, line = np.rint(moved).astype(int).T
    height, width = after.shape
    inside = tracked & (column >= 2) & (line >= 2) & (column < width - 2) & (line < height - 2)
    inside[inside] = ~people[line[inside], column[inside]]
    state.points, state.names, state.anchor = moved[inside], state.names[inside], state.anchor[inside]


def track_forward_and_back(
    before: GreyImage, after: GreyImage, points: np.ndarray
) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """Track points with Lucas-Kanade; also return whether tracking back returns to where they were."""
    import cv2

    def flow(one: GreyImage, other: GreyImage, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ends, status, _ = cv2.calcOpticalFlowPyrLK(
            one, other, at, at.copy(), winSize=_FLOW_WINDOW_PX, maxLevel=_FLOW_LEVELS
        )
        return ends, status[:, 0] > 0

    moved, there = flow(before, after, points)
    back, here = flow(after, before, moved)
    error = np.linalg.norm(back - points, axis=1)
    return moved, there & here & (error < _MAX_ROUND_TRIP_ERROR_PX)


def find_corners(
    grey: GreyImage, people: PeopleMask, present: np.ndarray, count: int
) -> Float[np.ndarray, "n 2"]:
    """Find up to `count` corners outside the people and away from the points `present`."""
    import cv2

    allowed = np.where(people, 0, 255).astype(np.uint8)
    for x, y in np.rint(present).astype(int).tolist():
        cv2.circle(allowed, (x, y), _MIN_DISTANCE_PX, (0,), -1)
    found = cv2.goodFeaturesToTrack(grey, count, _QUALITY, _MIN_DISTANCE_PX, mask=allowed)
    return np.zeros((0, 2), np.float32) if found is None else found[:, 0]


def _refill(state: _State, grey: GreyImage, people: PeopleMask) -> None:
    wanted = _MAX_POINTS - len(state.points)
    if wanted <= 0:
        return
    corners = find_corners(grey, people, state.points, wanted)
    names = np.arange(state.next_name, state.next_name + len(corners))
    state.next_name += len(corners)
    state.points = np.concatenate([state.points, corners])
    state.names = np.concatenate([state.names, names])
    state.anchor = np.concatenate([state.anchor, corners])


def _is_keyframe_due(state: _State, grey: GreyImage, age: int) -> bool:
    shift = np.median(np.linalg.norm(state.points - state.anchor, axis=1))
    lost = 1 - len(state.points) / max(state.anchored, 1)
    return bool(
        age >= _MAX_KEYFRAME_GAP or shift > _KEYFRAME_SHIFT * max(grey.shape) or lost > _KEYFRAME_LOST
    )


def _add_keyframe(state: _State, grey: GreyImage, row: int) -> None:
    state.anchor, state.anchored = state.points.copy(), len(state.points)
    state.keyframes.append(row)
    state.descriptors.append((state.names, state.points.copy(), _describe(grey, state.points)))


def _describe(grey: GreyImage, points: np.ndarray) -> Float[np.ndarray, "n 128"]:
    """Compute the SIFT descriptors of upright squares around the points."""
    import cv2

    if not len(points):
        return np.zeros((0, 128), np.float32)
    keypoints = [cv2.KeyPoint(float(x), float(y), _DESCRIPTOR_PX, 0.0) for x, y in points]
    return cv2.SIFT.create().compute(grey, keypoints)[1]


# ---- loops ----------------------------------------------------------------------------------------------------


def _assembled(state: _State, count: int, scale: float) -> BackgroundTracks:
    former = np.arange(max(state.next_name, 1))
    loops = 0
    for a, b in _loop_candidates(state):
        pairs = _matches(state.descriptors[a], state.descriptors[b])
        if len(pairs) >= _MIN_MATCHES:
            loops += 1
            for one, other in pairs:
                former[_root(former, max(one, other))] = _root(former, min(one, other))
    names = np.concatenate([np.zeros(0, np.int64), *state.seen_names])
    merged = np.array([_root(former, name) for name in range(len(former))])[names]
    rows = np.concatenate([np.zeros(0, np.int64), *state.rows])
    # A point that was recognised while it is still followed is seen twice in a frame: the first sighting counts.
    _, first = np.unique(rows * (len(former) + 1) + merged, return_index=True)
    _, point = np.unique(merged[first], return_inverse=True)
    pixel = (np.concatenate([np.zeros((0, 2)), *state.seen])[first] + 0.5) / scale - 0.5
    keyframes, shots = np.unique(state.keyframes), np.array(state.shots, int)
    return BackgroundTracks(rows[first], point, pixel, keyframes, shots, count, loops, scale)


def _root(former: np.ndarray, name: int) -> int:
    while former[name] != name:
        name = former[name]
    return int(name)


def _loop_candidates(state: _State) -> Iterator[tuple[int, int]]:
    """Yield pairs of keyframes that share few points, the most similar first for each keyframe."""
    means = np.array([d.mean(0) if len(d) else np.zeros(128) for *_, d in state.descriptors])
    names = [set(n.tolist()) for n, *_ in state.descriptors]
    for b in range(_MIN_LOOP_KEYFRAMES, len(names)):
        earlier = np.arange(b - _MIN_LOOP_KEYFRAMES + 1)
        near = earlier[np.argsort(np.linalg.norm(means[earlier] - means[b], axis=1))]
        apart = [int(a) for a in near if len(names[a] & names[b]) < _MIN_MATCHES]
        yield from ((a, b) for a in apart[:_MAX_LOOP_CANDIDATES])


def _matches(
    one: tuple[np.ndarray, np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> list[tuple[int, int]]:
    """Match the points of two keyframes by mutual nearest descriptors, and keep those that one epipolar geometry
    explains."""
    import cv2

    if min(len(one[0]), len(other[0])) < _MIN_MATCHES:
        return []
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    forward = {m.queryIdx: m.trainIdx for m, n in matcher.knnMatch(one[2], other[2], k=2)
               if m.distance < _MATCH_RATIO * n.distance}  # fmt: skip
    back = {m.queryIdx: m.trainIdx for m in matcher.match(other[2], one[2])}
    pairs = np.array([(i, j) for i, j in forward.items() if back.get(j) == i], int).reshape(-1, 2)
    if len(pairs) < _MIN_MATCHES:
        return []
    _, mask = cv2.findFundamentalMat(one[1][pairs[:, 0]], other[1][pairs[:, 1]], cv2.USAC_MAGSAC, 1.5, 0.999)
    if mask is None:
        return []
    kept = pairs[mask[:, 0] > 0]
    return [(int(one[0][i]), int(other[0][j])) for i, j in kept]
