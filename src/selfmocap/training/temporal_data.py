"""Clips that a temporal network is trained and validated on: of synthetic people with their truth, and of whoever was
seen in videos, with detected keypoints only (Kanazawa et al. 2019, sections 3.2 and 4)."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from scipy.ndimage import median_filter
from torch import Tensor

from selfmocap.body_model.body import Body, forward_kinematics
from selfmocap.body_model.frame_rates import median_fps
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.datasets.penn_action import KEYPOINTS, PennClip, label_files, read_penn_action
from selfmocap.datasets.pseudo_labels import indexed_shards
from selfmocap.geometry.tensors import concat
from selfmocap.io.video import IMAGE_FOLDER_FPS
from selfmocap.losses.temporal import Targets
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.models.heatmaps import MIN_CONFIDENCE
from selfmocap.models.inference import default_camera
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import CorruptionConfig, KeypointErrors
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.pictured import PicturedScene, pictured_scene, pictures_of
from selfmocap.synthetic.points import DetectedPoints, PointScene, detected, point_scene
from selfmocap.synthetic.variety import Variety
from selfmocap.tracking.crop_boxes import smoothed_boxes as windows_around
from selfmocap.tracking.observations import Observations

CLIPS_PER_SCENE = 2
"""Clips that are drawn together."""
CLIP_FPS = 30.0
_NUM_CACHED_SCENES = 8009
"""Scenes of CLIPS that are kept, to be seen again with other errors."""
_FRAMES_PER_KNOT = 10
"""Frames in which the window of a training clip wanders from one place to the next."""
_MAX_BOX_SHIFT, _MAX_BOX_OCTAVES = 20 / 112, 0.3
"""How far the window wanders: half crop sides, and powers of two of its size."""
_START_KEYPOINTS, _END_KEYPOINTS = 6, 4
"""A track begins when more keypoints are seen, and ends with no more."""
_MIN_TRACK_FRAMES, _MAX_TRACK_FRAMES, _MIN_LIMB_FRACTION = 40, 500, 0.4
"""Frames of a track, and the share of them in which limbs are seen."""


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """Some clips of the same length: what a network sees, and what is known."""

    inputs: FrameInputs
    """Clips and frames in one axis."""
    targets: Targets
    """(clips, frames, ...)."""

    def to(self, device: torch.device | str) -> "Clips":
        """The same on another device."""
        return ClipBatch(self.inputs.to(device), self.targets.map(lambda value: value.to(device)))


ClipSource = Callable[[int], ClipBatch]
"""From a seed to CLIPS clips."""


def concat_clips(parts: Sequence[ClipBatch]) -> ClipBatch:
    """All clips in one record, copied: what a worker sends lies in shared memory for as long as it is kept."""
    inputs = concat([part.inputs for part in parts])
    targets = {name: torch.cat([getattr(p.targets, name) for p in parts]) for name in vars(parts[0].targets)}
    return ClipBatch(inputs, Targets(**targets))


def _clips(
    keypoints: Tensor, confidence: Tensor, boxes: Tensor, focal: Tensor, center: Tensor, truth: Targets | int,
    depths: tuple[Tensor, Tensor] | None = None,
) -> ClipBatch:  # fmt: skip
    """Detected keypoints (clips, frames, ...) with the truth, or as their own targets for bodies of so many betas.
    `depths` with their confidences (clips * frames, ...); None: nothing is known of them."""
    shape = boxes.shape[:2]
    unknown = torch.zeros_like(confidence).flatten(0, 1)
    focal, center = (x[:, None].expand(*shape, 2) for x in (focal, center))
    if isinstance(truth, int):
        nothing = boxes.new_full((*shape, 24, 3, 3), torch.nan)
        truth = Targets(
            boxes, focal, center, keypoints, torch.where(confidence < MIN_CONFIDENCE, 0.0, confidence),
            torch.zeros(shape, dtype=torch.bool),
            nothing, nothing[..., 0, 0, :1].expand(*shape, truth), nothing[..., 0], nothing[..., 0, 0, :],
        )  # fmt: skip
    seen = [x.flatten(0, 1) for x in (keypoints, confidence, boxes, focal, center)]
    deep, sure = depths or (unknown, unknown)
    inputs = FrameInputs(None, *seen, depths=deep, depth_confidence=sure)
    return ClipBatch(inputs, replace(truth, boxes=boxes))


# ---- synthetic people -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class KeypointRefinement:
    """How keypoints are corrected before anything is made of them."""

    network: FrameNetwork
    """Looks for them in pictures."""
    backgrounds: Backgrounds
    """What is behind the people there."""


@dataclass(frozen=True, eq=False)
class SyntheticClips:
    """A ClipSource of people who move like recordings, each scene coming back every `scenes` seeds with other errors;
    without `truth`, only the detected keypoints are told."""

    motions: Sequence[MotionClip]
    body: Body
    frames: int
    errors: KeypointErrors
    truth: bool = True
    wander: bool = True
    """Whether the window wanders and pictures are taken again, some of them lost (for training)."""
    variety: Variety | None = None
    """How far people leave the recordings; None: they move as those."""
    looking: KeypointRefinement | None = None
    """None: keypoints stay where the detector puts them."""
    scenes: int = _NUM_CACHED_SCENES
    kept: dict[int, tuple[PointScene, PicturedScene | None, Targets]] = field(default_factory=dict)

    def __call__(self, seed: int) -> ClipBatch:
        number = seed % self.scenes
        if number not in self.kept:
            self.kept[number] = self._made(number)
        scene, pictured, targets = self.kept[number]
        seen = detected(seed, self.errors, scene, pictured.boxes if pictured else None)
        boxes = clip_boxes(seen.keypoints, seen.confidence)
        keypoints, confidence, depths = seen.keypoints, seen.confidence, None
        if self.looking is not None and pictured is not None:
            pictures = pictures_of(pictured, torch.Generator().manual_seed(seed) if self.wander else None)
            found = _corrected(seen, pictured.points, pictures, self.looking.network)
            keypoints, confidence = (
                x.unflatten(0, boxes.shape[:2]) for x in (found.keypoints, found.confidence)
            )
            if found.depths is not None and found.depth_confidence is not None:
                depths = found.depths, found.depth_confidence
        if self.wander:
            boxes = jitter_boxes(np.random.default_rng([seed, 1]), boxes)
        truth = targets if self.truth else self.body.num_betas
        return _clips(keypoints, confidence, boxes, scene.focal, scene.center, truth, depths)

    def _made(self, number: int) -> tuple[PointScene, PicturedScene | None, Targets]:
        config = SyntheticConfig(
            clips=CLIPS_PER_SCENE,
            frames=self.frames,
            fps=CLIP_FPS,
            samples=1,
            variety=self.variety,
            corruption=CorruptionConfig(self.errors),
        )
        pictured = None
        if self.looking is None:
            scene = point_scene(number, config, self.motions, self.body)
        else:
            pictured = pictured_scene(
                number, config, self.motions, self.looking.backgrounds, self.body,
                np.random.SeedSequence(number),
            )  # fmt: skip
            scene = pictured.points
        R, betas = scene.truth.R_parent_joint, scene.truth.betas
        origin = torch.zeros_like(scene.truth.p_world_root)
        _, joints = forward_kinematics(R, self.body.shape(betas).joints, origin)
        shape = R.shape[:2]
        keypoints = torch.from_numpy(scene.keypoints).float()
        targets = Targets(
            boxes=origin,
            focal=scene.focal[:, None].expand(*shape, 2),
            center=scene.center[:, None].expand(*shape, 2),
            keypoints=keypoints,
            seen=torch.ones_like(keypoints[..., 0]),
            known=torch.ones(shape, dtype=torch.bool),
            R_cam_joint=R,
            betas=betas.expand(*shape, -1),
            joints=joints,
            p_cam_root=scene.truth.p_world_root,
        )
        return scene, pictured, targets


@torch.no_grad()
def _corrected(
    seen: DetectedPoints, points: PointScene, pictures: tuple[Tensor, Tensor], network: FrameNetwork
) -> FrameInputs:
    """What `network` makes of pictures and detections, clips and frames in one axis."""
    frames = seen.boxes.shape[1]
    detections = (x.flatten(0, 1) for x in (seen.keypoints, seen.confidence, seen.boxes))
    lens = (x.repeat_interleave(frames, dim=0) for x in (points.focal, points.center))
    crops, masks = pictures
    inputs = FrameInputs(crops, *detections, *lens, masks=masks)
    return inputs.corrected(network.located(inputs))


def clip_boxes(keypoints: Tensor, confidence: Tensor) -> Tensor:
    """(clips, frames, 3) px: the windows that the front end would cut around detected keypoints."""
    frames = np.arange(keypoints.shape[1])
    each = zip(keypoints.numpy(), confidence.numpy(), strict=True)
    return torch.from_numpy(np.stack([windows_around(points, sure, frames) for points, sure in each]))


def jitter_boxes(rng: np.random.Generator, boxes: Tensor) -> Tensor:
    """Windows that move and grow smoothly about where they are: a bounded random walk, half a cosine from one knot to
    the next."""
    clips, frames = boxes.shape[:2]
    knots = rng.uniform(-1, 1, (clips, (frames - 1) // _FRAMES_PER_KNOT + 2, 3))
    position = np.arange(frames) / _FRAMES_PER_KNOT
    before = position.astype(int)
    share = (0.5 - 0.5 * np.cos(np.pi * (position - before)))[:, None]
    walk = torch.from_numpy(knots[:, before] * (1 - share) + knots[:, before + 1] * share).float()
    half = boxes[..., 2:] * 2 ** (_MAX_BOX_OCTAVES * walk[..., 2:])
    return torch.cat([boxes[..., :2] + _MAX_BOX_SHIFT * walk[..., :2] * boxes[..., 2:], half], dim=-1)


# ---- people in videos -----------------------------------------------------------------------------------------


@runtime_checkable
class KeypointTrack(Protocol):
    """One person of a video, COCO-23, followed without a gap: such `Observations`, or what reads them."""

    def __len__(self) -> int:
        """Frames."""
        ...

    def __getitem__(self, frames: slice) -> Observations:
        """Some of them."""
        ...


class TrackSet:
    """An evenly spread share of the tracks of some length, in an order that does not change."""

    def __init__(self, piles: Sequence[Iterable[KeypointTrack]], shortest: int, share: float = 1.0) -> None:
        """`piles` give the same tracks, of which those of at least `shortest` frames count, whenever they are asked."""
        self.piles, self.shortest, self.share = piles, shortest, share
        self.before, self.ends = [0], [0]
        """Up to each pile: tracks that are long enough; frames of the share."""
        for pile in range(len(piles)):
            long, chosen = self._long(pile)
            self.before.append(self.before[-1] + len(long))
            self.ends.append(self.ends[-1] + sum(len(track) for track in chosen))

    @property
    def found(self) -> int:
        """Tracks that are long enough, of which this is a share."""
        return self.before[-1]

    @property
    def frames(self) -> int:
        """Of all tracks together."""
        return self.ends[-1]

    def holding(self, frame: int) -> KeypointTrack:
        """The track that a frame is of, counted through all tracks."""
        pile = bisect_right(self.ends, frame) - 1
        end = self.ends[pile]
        for track in self._long(pile)[1]:
            end += len(track)
            if frame < end:
                return track
        raise IndexError(f"frame {frame} of {self.frames}")

    def _long(self, pile: int) -> tuple[list[KeypointTrack], list[KeypointTrack]]:
        """The tracks of a pile that are long enough, and those of them that are in the share."""
        long = [track for track in self.piles[pile] if len(track) >= self.shortest]
        counted = np.arange(self.before[pile], self.before[pile] + len(long) + 1)
        chosen = np.diff(np.floor(counted * self.share + 0.5)) > 0
        return long, list(compress(long, chosen))


@dataclass(frozen=True, eq=False)
class TrackClips:
    """A ClipSource of what front ends saw: pieces of tracks, drawn in proportion to their lengths, without any 3D."""

    tracks: TrackSet
    frames: int
    num_betas: int

    def __call__(self, seed: int) -> ClipBatch:
        rng = np.random.default_rng(seed)
        return concat_clips([self._piece(rng) for _ in range(CLIPS_PER_SCENE)])

    def _piece(self, rng: np.random.Generator) -> ClipBatch:
        track = self.tracks.holding(int(rng.integers(self.tracks.frames)))
        begin = int(rng.integers(len(track) - self.frames + 1))
        seen = track[begin : begin + self.frames]
        camera, boxes = default_camera(seen, None), jitter_boxes(rng, seen.boxes[None])
        return _clips(
            seen.keypoints[None], seen.keypoint_confidence[None], boxes,
            camera.focal[None], camera.center[None], self.num_betas,
        )  # fmt: skip


def load_tracks(
    place: Path, frames: int, share: float, index: Path, report: Callable[[str, int, int], None]
) -> TrackSet:
    """A share of the tracks of at least `frames` frames in shards of pseudo-labels (see `indexed_shards`), or, where
    there are none, in all `observations.npz` of a folder and, where it is Penn Action's, in its films for training.
    Those in shards are read when they are drawn.

    Raises FileNotFoundError or ValueError where there are no such tracks, or a shard is damaged or has changed."""
    if shards := indexed_shards(place, clean_tracks, index, report):
        tracks = TrackSet(shards, frames, share)
        found = f"{len(shards)} shards"
    else:
        paths = sorted(place.rglob("observations.npz"))
        films = [film for path in label_files(place) if (film := read_penn_action(path)).is_train]
        people = chain((Observations.load(path, images=()) for path in paths), map(penn_action_observations, films))
        pile = [track for seen in people for track in clean_tracks(seen.in_set(DEFAULT_KEYPOINTS.name))]
        tracks = TrackSet([pile], frames, share)
        labelled = f"{len(films)} films of Penn Action, " if films else ""
        found = f"no shards (*.tar), {labelled}{len(paths)} observations.npz"
    if not tracks.found:
        raise ValueError(
            f"{place}: {found}, and in them no track of {max(frames, _MIN_TRACK_FRAMES)} frames that is good enough; "
            f"observe longer videos"
        )
    return tracks


def penn_action_observations(film: PennClip) -> Observations:
    """What a front end would have seen that finds what is labelled, at the rate that pictures are taken to have."""
    index, sure = torch.arange(len(film)), film.seen.float()
    boxes = windows_around(film.keypoints.numpy(), sure.numpy(), index.numpy())
    return Observations(
        frame_index=index,
        frame_times=index.double() / IMAGE_FOLDER_FPS,
        image_size=film.image_size,
        boxes=torch.from_numpy(boxes),
        keypoint_set=KEYPOINTS.name,
        keypoints=film.keypoints,
        keypoint_confidence=sure,
    )


def clean_tracks(seen: Observations) -> list[Observations]:
    """Pieces of consecutive frames that are fit for learning, by the rules of the paper's release: a piece begins when
    more than 6 keypoints are seen and ends when no more than 4 are (a median over 5 frames), has 40 to 500 frames, and
    shows limbs, not only head and shoulders, in 40 % of them. Of fast videos, every other frame or fewer are taken."""
    every = max(1, round(median_fps(seen.frame_times, seen.frame_index) / CLIP_FPS))
    gaps = (seen.frame_index.diff() != 1).nonzero().squeeze(1) + 1
    runs = torch.arange(len(seen)).tensor_split(gaps)
    pieces = [piece for run in runs for piece in _good_pieces(seen[run[::every]])]
    return [piece for piece in pieces if len(piece) >= _MIN_TRACK_FRAMES and _shows_limbs(piece)]


def _good_pieces(seen: Observations) -> list[Observations]:
    visible = (seen.keypoint_confidence >= MIN_CONFIDENCE).sum(1).numpy()
    counts = median_filter(visible, 5, mode="nearest")
    pieces, begin = [], None
    for frame, count in enumerate([*counts, 0]):
        if begin is None and count > _START_KEYPOINTS:
            begin = frame
        elif begin is not None and (count <= _END_KEYPOINTS or frame - begin == _MAX_TRACK_FRAMES):
            pieces.append(seen[begin:frame])
            begin = frame if count > _START_KEYPOINTS else None
    return pieces


def _shows_limbs(seen: Observations) -> bool:
    upper = ("nose", "eye", "ear", "shoulder")
    limbs = [i for i, name in enumerate(DEFAULT_KEYPOINTS.names) if not any(part in name for part in upper)]
    return float((seen.keypoint_confidence[:, limbs] >= MIN_CONFIDENCE).any(1).float().mean()) >= _MIN_LIMB_FRACTION
