"""What captures found, as labels to learn from: WebDataset shards (tar files), written and streamed.

A sample is some frames of one person: `KEY.observations.npz` (2D tracks and masks) and `KEY.motion.npz` of the same
frames; the keys of one person's samples, which follow each other, differ in what comes after the last `-`. Shards may
come from strangers: nothing is unpacked, and every array is read with bounds.
"""

import contextlib
import functools
import glob
import hashlib
import io
import itertools
import json
import os
import random
import tarfile
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import existing_file
from selfmocap.io.npz import NamedBytesIO, read_npz, write_npz
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.video import natural_sort_key
from selfmocap.tracking.observations import Observations, concat_observations, iterate_windows

FRAMES = 60
"""Of a sample; the last one of a person may have less."""
INDEX = "shards.jsonl"
_IMAGES = ("masks", "mask_certain")
_PARTS = ("observations.npz", "motion.npz")
_MAX_PART_BYTES = 1 << 28
_MAX_SEEN_BYTES = 1 << 20
"""Of a sample's observations without images."""
_REMEDY = "delete it and run capture-many --pseudo-labels again, or train without it"
_BLOCK = 512
"""Bytes of which a tar file is made; it ends with empty ones."""


class Part(NamedTuple):
    """Where a file lies in a shard."""

    offset: int
    """Bytes from the shard's beginning."""
    size: int
    """Bytes."""


@dataclass(frozen=True, eq=False)
class PseudoLabel:
    """Some frames of one person, and what a capture made of them."""

    key: str
    observations: Observations
    """Without crops and flow."""
    motion: Motion


def write_shard(path: Path, captures: Sequence[Path], progress: ProgressCallback) -> int:
    """Writes the samples of captures (folders with `person-N`), and gives how many there are. The same bytes for the
    same captures."""
    count = 0
    with atomic_write(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for done, capture in enumerate(captures, start=1):
            for person in sorted(capture.glob("person-*"), key=natural_sort_key):
                for first, parts in _samples(person):
                    key = f"{capture.name}-{person.name}-{first:07d}"
                    for name, data in zip(_PARTS, parts, strict=True):
                        member = tarfile.TarInfo(f"{key}.{name}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
                    count += 1
            progress("label", done, len(captures))
    return count


def _samples(person: Path) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    motion = Motion.load(person / "motion.npz")
    with tempfile.TemporaryDirectory() as folder:
        for _, seen in iterate_windows(person / "observations.npz", FRAMES, images=_IMAGES):
            first, last = int(seen.frame_index[0]), int(seen.frame_index[-1])
            within = (motion.frame_index >= first) & (motion.frame_index <= last)
            if within.any():
                paths = [Path(folder) / name for name in _PARTS]
                seen.save(paths[0])
                motion[within].save(paths[1])
                yield first, (paths[0].read_bytes(), paths[1].read_bytes())


class PseudoLabels:
    """The samples of a folder of shards in an endless shuffled order in which every sample has a number: whoever knows
    how many have been used goes on with the next, and processes share them by number."""

    def __init__(self, folder: Path | str, seed: int = 0) -> None:
        """Raises FileNotFoundError or ValueError where the folder has no index, or an empty or damaged one."""
        self.folder, self.seed = Path(folder), seed
        path = existing_file(self.folder / INDEX)
        try:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            self.shards = tuple((Path(line["shard"]).name, int(line["samples"])) for line in lines)
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{path}: expected a JSON line a shard; run capture-many --pseudo-labels again"
            ) from None
        if not len(self):
            raise ValueError(f"{path}: no samples: nobody was seen in the captures")

    def __len__(self) -> int:
        """Samples an epoch."""
        return sum(count for _, count in self.shards)

    def __getitem__(self, number: int) -> PseudoLabel:
        """Sample `number` from the beginning of the first epoch."""
        epoch, place = divmod(number, len(self))
        order, begins = _order(self.shards, self.seed, epoch)
        shard = bisect_right(begins, place) - 1
        name, count = self.shards[order[shard]]
        row = _shuffled(count, f"{self.seed} {epoch} {name}")[place - begins[shard]]
        return self._read(self.folder / name, count, row)

    def stream(self, first: int = 0, step: int = 1) -> Iterator[PseudoLabel]:
        """Samples `first`, `first + step`, ... without end: process r of n that has used k takes
        `stream(r + k * n, n)`."""
        return (self[number] for number in itertools.count(first, step))

    def _read(self, path: Path, count: int, row: int) -> PseudoLabel:
        samples = _contents(path)
        if len(samples) != count:
            raise ValueError(f"{path}: {len(samples)} samples, {INDEX} says {count}; {_REMEDY}")
        key, (seen, motion) = samples[row]
        with _refused(path):
            return PseudoLabel(key, Observations.load(_part(path, seen)), Motion.load(_part(path, motion)))


@functools.lru_cache(maxsize=2)
def _order(shards: tuple[tuple[str, int], ...], seed: int, epoch: int) -> tuple[list[int], list[int]]:
    """The shards of an epoch, and the place of each one's first sample."""
    order = _shuffled(len(shards), f"{seed} {epoch}")
    return order, list(itertools.accumulate((shards[n][1] for n in order[:-1]), initial=0))


@functools.lru_cache(maxsize=2)
def _shuffled(count: int, seed: str) -> list[int]:
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    return numbers


# ---- tracks of people -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ShardTrack:
    """Some frames of one person of a shard, read when they are asked for."""

    shard: Path
    samples: Int[np.ndarray, "samples 3"]
    """Of the shard: the row of each one's first frame, counted through all, and its observations' `Part`."""
    begin: int
    """Row of the first frame."""
    step: int
    """Rows from one frame to the next."""
    frames: int

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, frames: slice) -> Observations:
        """At least one frame, without images, COCO-23. A ValueError where the shard is damaged."""
        rows = self.begin + self.step * np.arange(self.frames)[frames]
        first, last = np.searchsorted(self.samples[:, 0], rows[[0, -1]], side="right") - 1
        parts = [_seen(self.shard, Part(*part)) for part in self.samples[first : last + 1, 1:].tolist()]
        return concat_observations(parts)[rows - self.samples[first, 0]]


@dataclass(frozen=True)
class IndexedShard:
    """The tracks in a shard, in their order."""

    shard: Path
    index: Path
    """The file that says where they are."""

    def __iter__(self) -> Iterator[ShardTrack]:
        arrays = read_npz(self.index)
        return (ShardTrack(self.shard, arrays["samples"], *row) for row in arrays["tracks"].tolist())


Pick = Callable[[Observations], Sequence[Observations]]
"""From all that was seen of a person to pieces of it, each of frames (two or more) at equal distances."""


def indexed_shards(place: Path, pick: Pick, folder: Path, progress: ProgressCallback) -> list[IndexedShard]:
    """The shards in a folder, or those that a path or glob names, whose tracks are what `pick` makes of their people.
    Where those are is written to `folder`, once: then the shards of that place stay the same, whatever is added to it.

    Raises FileNotFoundError or ValueError where a shard is damaged, gone or another one."""
    record = folder / "shards.json"
    paths = _begun_with(place, record) or [str(path.absolute()) for path in _shards_at(place)]
    if not paths:
        return []
    folder.mkdir(exist_ok=True)
    shards = [IndexedShard(Path(path), _index_of(path, folder)) for path in paths]
    # In an order of its own: processes that begin together share the work.
    for done, one in enumerate(random.Random().sample(shards, len(shards)), start=1):
        _look_up(one, pick)
        progress("index shards", done, len(shards))
    with atomic_write(record) as partial:
        partial.write_text(json.dumps({"place": str(place.absolute()), "shards": paths}))
    return shards


def _begun_with(place: Path, record: Path) -> list[str]:
    """The shards of a place that a record names, if it is of that place."""
    said = json.loads(record.read_bytes()) if record.is_file() else {}
    return said["shards"] if said.get("place") == str(place.absolute()) else []


def _shards_at(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    pattern = f"{glob.escape(str(place))}/*.tar" if place.is_dir() else str(place)
    return sorted(
        path for path in Path(place.anchor).glob(pattern.removeprefix(place.anchor)) if path.is_file()
    )


def _index_of(shard: str, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(shard)).hexdigest()[:16]}.npz"


def _look_up(one: IndexedShard, pick: Pick) -> None:
    """Sees to it that the shard has an index, and is that shard."""
    if not one.index.is_file():
        _write_index(one, pick)
    elif not one.shard.is_file() or one.shard.stat().st_size != read_npz(one.index)["bytes"]:
        raise ValueError(f"{one.shard} is gone or has changed since this began; bring it back, or begin anew")


def _write_index(one: IndexedShard, pick: Pick) -> None:
    tables: dict[str, list[tuple[int, int, int]]] = {"samples": [], "tracks": []}
    row = 0
    for parts, pieces in _people(one.shard):
        whole = concat_observations(pieces)
        for track in pick(whole):
            first, second = np.searchsorted(whole.frame_index, track.frame_index[:2]).tolist()
            tables["tracks"].append((row + first, second - first, len(track)))
        for part, piece in zip(parts, pieces, strict=True):
            tables["samples"].append((row, part.offset, part.size))
            row += len(piece)
    arrays = {name: np.array(rows, np.int64).reshape(-1, 3) for name, rows in tables.items()}
    write_npz(one.index, {**arrays, "bytes": one.shard.stat().st_size})


def _people(shard: Path) -> Iterator[tuple[list[Part], list[Observations]]]:
    """Where the samples of each person lie, and what was seen in them."""
    for person, samples in itertools.groupby(_contents(shard), lambda sample: _person(sample[0])):
        parts = [seen for _, (seen, _) in samples]
        pieces = [_seen(shard, part) for part in parts]
        index = torch.cat([piece.frame_index for piece in pieces])
        if len({piece.image_size for piece in pieces}) > 1 or not (index.diff() > 0).all():
            raise ValueError(f"{shard}: the samples of {person!r} do not follow each other; {_REMEDY}")
        yield parts, pieces


def _person(key: str) -> str:
    return key.rpartition("-")[0] or key


def _seen(shard: Path, part: Part) -> Observations:
    with _refused(shard):
        seen = Observations.load(_part(shard, part), images=(), max_bytes=_MAX_SEEN_BYTES)
        if not 1 <= len(seen) <= FRAMES:
            raise ValueError(f"a sample of {len(seen)} frames, expected 1 to {FRAMES}")
        if not all(x.isfinite().all() for x in (seen.keypoints, seen.keypoint_confidence, seen.boxes)):
            raise ValueError("keypoints or boxes that are not finite")
        return seen.in_set(DEFAULT_KEYPOINTS.name)


# ---- what lies in a shard -------------------------------------------------------------------------------------


def _part(shard: Path, part: Part) -> NamedBytesIO:
    with existing_file(shard).open("rb") as file:
        file.seek(part.offset)
        return NamedBytesIO(file.read(part.size), f"the sample at byte {part.offset}")


@contextlib.contextmanager
def _refused(shard: Path) -> Iterator[None]:
    """Names the shard of a sample that cannot be used; a TypeError is of an array that does not hold numbers."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"{shard}: {error}; {_REMEDY}") from error


@functools.lru_cache(maxsize=2)
def _contents(path: Path) -> list[tuple[str, tuple[Part, Part]]]:
    """Each sample of a shard: its key, and where its observations and its motion are."""
    found: dict[str, dict[str, Part]] = {}
    end = 0
    try:
        with tarfile.open(existing_file(path), "r:") as tar:
            for member in tar:
                key, _, name = member.name.partition(".")
                if not member.isreg() or name not in _PARTS or member.size > _MAX_PART_BYTES:
                    raise ValueError(
                        f"{path}: {member.name!r} of {member.size} bytes is not part of a sample; {_REMEDY}"
                    )
                found.setdefault(key, {})[name] = Part(member.offset_data, member.size)
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
    except tarfile.TarError as error:
        raise ValueError(f"{path}: expected a tar file ({error}); {_REMEDY}") from error
    if incomplete := [key for key, parts in found.items() if len(parts) != len(_PARTS)]:
        raise ValueError(f"{path}: sample {incomplete[0]!r} is not complete; {_REMEDY}")
    if path.stat().st_size < end + _BLOCK:
        raise ValueError(f"{path}: the end of the tar file is missing; {_REMEDY}")
    return [(key, (parts[_PARTS[0]], parts[_PARTS[1]])) for key, parts in found.items()]
