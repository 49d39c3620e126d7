"""Tracks of people in shards of pseudo-labels, read at random: an index of the tracks of each shard is written once."""

import glob
import hashlib
import itertools
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from selfmocap.datasets.shards import SHARD_REMEDY, ShardPart, read_observations, shard_contents
from selfmocap.io.atomic import atomic_write
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.io.progress import ProgressCallback
from selfmocap.tracking.observations import Observations, concat_observations


@dataclass(frozen=True, eq=False)
class ShardTrack:
    """Some frames of one person of a shard, read on demand."""

    shard: Path
    samples: Int[np.ndarray, "samples 3"]
    """Samples of the shard: the row of the first frame, counted through the shard, and the `ShardPart` of the
    observations."""
    begin: int
    """Row of the first frame."""
    step: int
    """Rows between two frames."""
    frames: int

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, frames: slice) -> Observations:
        """Read at least one frame, without images, COCO-23. Raises ValueError if the shard is damaged."""
        rows = self.begin + self.step * np.arange(self.frames)[frames]
        first, last = np.searchsorted(self.samples[:, 0], rows[[0, -1]], side="right") - 1
        parts = [
            read_observations(self.shard, ShardPart(*part))
            for part in self.samples[first : last + 1, 1:].tolist()
        ]
        return concat_observations(parts)[rows - self.samples[first, 0]]


@dataclass(frozen=True)
class IndexedShard:
    """The tracks of a shard in order."""

    shard: Path
    index: Path
    """The file with the index of the tracks."""

    def __iter__(self) -> Iterator[ShardTrack]:
        arrays = read_npz(self.index)
        return (ShardTrack(self.shard, arrays["samples"], *row) for row in arrays["tracks"].tolist())


TrackSplitter = Callable[[Observations], Sequence[Observations]]
"""Split the observations of a person into pieces of at least two frames at equal distances."""


def indexed_shards(
    path: Path, split: TrackSplitter, folder: Path, progress: ProgressCallback
) -> list[IndexedShard]:
    """Index the tracks that `split` returns for the people of the shards in a folder, or of the shards that a path or
    glob names.

    The index is written to `folder` once. Later calls use the same shards, even if `path` has more. Raises
    FileNotFoundError or ValueError if a shard is damaged, missing or changed."""
    record = folder / "shards.json"
    paths = _recorded_shards(path, record) or [str(shard.absolute()) for shard in _shards_at(path)]
    if not paths:
        return []
    folder.mkdir(exist_ok=True)
    shards = [IndexedShard(Path(shard), _index_of(shard, folder)) for shard in paths]
    # In a random order, so that processes that start together share the work.
    for done, indexed in enumerate(random.Random().sample(shards, len(shards)), start=1):
        _ensure_index(indexed, split)
        progress("index shards", done, len(shards))
    with atomic_write(record) as partial:
        partial.write_text(json.dumps({"place": str(path.absolute()), "shards": paths}))
    return shards


def _recorded_shards(path: Path, record: Path) -> list[str]:
    """Return the shards that a record lists for this path."""
    recorded = json.loads(record.read_bytes()) if record.is_file() else {}
    return recorded["shards"] if recorded.get("place") == str(path.absolute()) else []


def _shards_at(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    pattern = f"{glob.escape(str(path))}/*.tar" if path.is_dir() else str(path)
    found = Path(path.anchor).glob(pattern.removeprefix(path.anchor))
    return sorted(shard for shard in found if shard.is_file())


def _index_of(shard: str, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(shard)).hexdigest()[:16]}.npz"


def _ensure_index(indexed: IndexedShard, split: TrackSplitter) -> None:
    """Write the index of a shard if it has none, or else check that the shard is unchanged."""
    if not indexed.index.is_file():
        _write_index(indexed, split)
    elif not indexed.shard.is_file() or indexed.shard.stat().st_size != read_npz(indexed.index)["bytes"]:
        raise ValueError(
            f"{indexed.shard} is missing or has changed since this run started; restore it, or start a new run"
        )


def _write_index(indexed: IndexedShard, split: TrackSplitter) -> None:
    tables: dict[str, list[tuple[int, int, int]]] = {"samples": [], "tracks": []}
    row = 0
    for parts, pieces in _read_people(indexed.shard):
        whole = concat_observations(pieces)
        for track in split(whole):
            first, second = torch.searchsorted(whole.frame_index, track.frame_index[:2]).tolist()
            tables["tracks"].append((row + first, second - first, len(track)))
        for part, piece in zip(parts, pieces, strict=True):
            tables["samples"].append((row, part.offset, part.size))
            row += len(piece)
    arrays = {name: np.array(rows, np.int64).reshape(-1, 3) for name, rows in tables.items()}
    write_npz(indexed.index, {**arrays, "bytes": indexed.shard.stat().st_size})


def _read_people(shard: Path) -> Iterator[tuple[list[ShardPart], list[Observations]]]:
    """Return the parts of each person's samples, and the observations in them."""
    for person, samples in itertools.groupby(shard_contents(shard), lambda sample: _person(sample[0])):
        parts = [observations for _, (observations, _) in samples]
        pieces = [read_observations(shard, part) for part in parts]
        index = torch.cat([piece.frame_index for piece in pieces])
        if len({piece.image_size for piece in pieces}) > 1 or not (index.diff() > 0).all():
            raise ValueError(f"{shard}: the samples of {person!r} do not follow each other; {SHARD_REMEDY}")
        yield parts, pieces


def _person(key: str) -> str:
    return key.rpartition("-")[0] or key
