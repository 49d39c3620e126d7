"""Unlabelled clips for the temporal network: tracks of people in videos, with detected keypoints only.

Kanazawa et al. 2019, sections 3.2 and 4."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from scipy.ndimage import median_filter

from selfmocap.body_model.frame_rates import median_fps
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.datasets.labelled.penn_action import penn_action_observations
from selfmocap.datasets.penn_action import penn_action_label_files, read_penn_action
from selfmocap.datasets.shard_tracks import indexed_shards
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.inference import default_camera
from selfmocap.tracking.confidence import DETECTED
from selfmocap.tracking.observations import Observations
from selfmocap.training.temporal_data import (
    CLIP_FPS,
    CLIPS_PER_SCENE,
    ClipBatch,
    build_clips,
    concat_clips,
    jitter_boxes,
)

_START_KEYPOINTS, _END_KEYPOINTS = 6, 4
"""A track starts with more visible keypoints than the first, and ends with at most the second."""
_MIN_TRACK_FRAMES, _MAX_TRACK_FRAMES, _MIN_LIMB_FRACTION = 40, 500, 0.4
"""Bounds of the frames of a track, and the fraction of them that must show limbs."""


@runtime_checkable
class KeypointTrack(Protocol):
    """A track of one person in consecutive frames, COCO-23: `Observations`, or an object that reads them."""

    def __len__(self) -> int:
        """Return the number of frames."""
        ...

    def __getitem__(self, frames: slice) -> Observations:
        """Return the observations of some frames."""
        ...


class TrackSet:
    """An evenly spread fraction of the tracks of a minimum length, in a fixed order."""

    def __init__(
        self, groups: Sequence[Iterable[KeypointTrack]], min_frames: int, fraction: float = 1.0
    ) -> None:
        """Select a fraction of the tracks of at least `min_frames` frames.

        Each group must give the same tracks whenever it is iterated."""
        self.groups, self.min_frames, self.fraction = groups, min_frames, fraction
        self.tracks_before, self.frames_before = [0], [0]
        """Cumulative counts before each group: tracks that are long enough; frames of the selected ones."""
        for group in range(len(groups)):
            long, selected = self._select(group)
            self.tracks_before.append(self.tracks_before[-1] + len(long))
            self.frames_before.append(self.frames_before[-1] + sum(len(track) for track in selected))

    @property
    def num_long_tracks(self) -> int:
        """Number of tracks that are long enough, selected or not."""
        return self.tracks_before[-1]

    @property
    def num_frames(self) -> int:
        """Number of frames of all selected tracks."""
        return self.frames_before[-1]

    def track_at(self, frame: int) -> KeypointTrack:
        """Return the track of a frame, counted over all selected tracks."""
        group = bisect_right(self.frames_before, frame) - 1
        end = self.frames_before[group]
        for track in self._select(group)[1]:
            end += len(track)
            if frame < end:
                return track
        raise IndexError(f"frame {frame} of {self.num_frames}")

    def _select(self, group: int) -> tuple[list[KeypointTrack], list[KeypointTrack]]:
        """Return the tracks of a group that are long enough, and the selected ones of them."""
        long = [track for track in self.groups[group] if len(track) >= self.min_frames]
        counted = np.arange(self.tracks_before[group], self.tracks_before[group] + len(long) + 1)
        selected = np.diff(np.floor(counted * self.fraction + 0.5)) > 0
        return long, list(compress(long, selected))


@dataclass(frozen=True, eq=False)
class TrackClips:
    """A ClipSource of pieces of tracks, drawn in proportion to their lengths, without 3D truth."""

    tracks: TrackSet
    frames: int
    num_betas: int

    def __call__(self, seed: int) -> ClipBatch:
        rng = np.random.default_rng(seed)
        return concat_clips([self._piece(rng) for _ in range(CLIPS_PER_SCENE)])

    def _piece(self, rng: np.random.Generator) -> ClipBatch:
        track = self.tracks.track_at(int(rng.integers(self.tracks.num_frames)))
        start = int(rng.integers(len(track) - self.frames + 1))
        observed = track[start : start + self.frames]
        camera, boxes = default_camera(observed, None), jitter_boxes(rng, observed.boxes[None])
        return build_clips(
            observed.keypoints[None], observed.keypoint_confidence[None], boxes,
            camera.focal[None], camera.center[None], self.num_betas,
        )  # fmt: skip


def load_tracks(
    path: Path, frames: int, fraction: float, index: Path, progress: ProgressCallback
) -> TrackSet:
    """Open a fraction of the tracks of at least `frames` frames in shards of pseudo-labels (see `indexed_shards`).

    Without shards: in all `observations.npz` of a folder and, if it is Penn Action, in its training videos. Shards are
    read when a clip is drawn; `index` is a folder for their index. Raises FileNotFoundError or ValueError if there are
    no such tracks, or if a shard is damaged or has changed."""
    if shards := indexed_shards(path, clean_tracks, index, progress):
        tracks = TrackSet(shards, frames, fraction)
        found = f"{len(shards)} shards"
    else:
        files = sorted(path.rglob("observations.npz"))
        videos = [
            video for file in penn_action_label_files(path) if (video := read_penn_action(file)).is_train
        ]
        people = chain(
            (Observations.load(file, images=()) for file in files), map(penn_action_observations, videos)
        )
        group = [track for person in people for track in clean_tracks(person.in_set(DEFAULT_KEYPOINTS.name))]
        tracks = TrackSet([group], frames, fraction)
        labelled = f"{len(videos)} videos of Penn Action, " if videos else ""
        found = f"no shards (*.tar), {labelled}{len(files)} observations.npz"
    if not tracks.num_long_tracks:
        raise ValueError(
            f"{path}: found {found}, and in them no track of {max(frames, _MIN_TRACK_FRAMES)} frames that is good "
            f"enough; observe longer videos"
        )
    return tracks


def clean_tracks(observations: Observations) -> list[Observations]:
    """Cut out pieces of consecutive frames that are fit for training, by the rules of the paper's release.

    A piece starts with more than 6 visible keypoints and ends with at most 4 (a median over 5 frames). It has 40 to 500
    frames and shows limbs, not only head and shoulders, in 40 % of them. Videos faster than 30 fps are subsampled."""
    every = max(1, round(median_fps(observations.frame_times, observations.frame_index) / CLIP_FPS))
    gaps = (observations.frame_index.diff() != 1).nonzero().squeeze(1) + 1
    runs = torch.arange(len(observations)).tensor_split(gaps)
    pieces = [piece for run in runs for piece in _good_pieces(observations[run[::every]])]
    return [piece for piece in pieces if len(piece) >= _MIN_TRACK_FRAMES and _shows_limbs(piece)]


def _good_pieces(observations: Observations) -> list[Observations]:
    visible = (observations.keypoint_confidence >= DETECTED).sum(1).numpy()
    counts = median_filter(visible, 5, mode="nearest")
    pieces, start = [], None
    for frame, count in enumerate([*counts, 0]):
        if start is None and count > _START_KEYPOINTS:
            start = frame
        elif start is not None and (count <= _END_KEYPOINTS or frame - start == _MAX_TRACK_FRAMES):
            pieces.append(observations[start:frame])
            start = frame if count > _START_KEYPOINTS else None
    return pieces


def _shows_limbs(observations: Observations) -> bool:
    upper = ("nose", "eye", "ear", "shoulder")
    limbs = [i for i, name in enumerate(DEFAULT_KEYPOINTS.names) if not any(part in name for part in upper)]
    visible = (observations.keypoint_confidence[:, limbs] >= DETECTED).any(1)
    return float(visible.float().mean()) >= _MIN_LIMB_FRACTION
