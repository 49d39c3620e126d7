"""Pseudo-labels: the results of captures as labels for training, written to shards and streamed from them; see `shards`
for their layout."""

import functools
import io
import itertools
import json
import random
import tarfile
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from selfmocap.body_model.motion import Motion
from selfmocap.datasets.shards import (
    FRAMES_PER_SAMPLE,
    PART_NAMES,
    SHARD_REMEDY,
    named_shard_errors,
    read_part,
    shard_contents,
)
from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import existing_file
from selfmocap.io.pictures import natural_sort_key
from selfmocap.io.progress import ProgressCallback
from selfmocap.tracking.observations import Observations, iterate_windows

SHARD_INDEX = "shards.jsonl"
"""File with a JSON line per shard: its name and its number of samples."""
_IMAGES = ("masks", "mask_certain")


@dataclass(frozen=True, eq=False)
class PseudoLabel:
    """Some frames of one person, and the result of their capture."""

    key: str
    observations: Observations
    """Without crops and flow."""
    motion: Motion


def write_shard(path: Path, captures: Iterable[Path], progress: ProgressCallback) -> int:
    """Write the samples of captures (folders with `person-N`) to a shard, and return their number. The same captures
    give the same bytes. A capture is read before the next is asked for."""
    count = 0
    with atomic_write(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for done, capture in enumerate(captures, start=1):
            for person in sorted(capture.glob("person-*"), key=natural_sort_key):
                for first, parts in _samples(person):
                    key = f"{capture.name}-{person.name}-{first:07d}"
                    for name, data in zip(PART_NAMES, parts, strict=True):
                        member = tarfile.TarInfo(f"{key}.{name}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
                    count += 1
            progress("label", done, 0)
    return count


def _samples(person: Path) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    motion = Motion.load(person / "motion.npz")
    with tempfile.TemporaryDirectory() as folder:
        for _, observations in iterate_windows(
            person / "observations.npz", FRAMES_PER_SAMPLE, images=_IMAGES
        ):
            first, last = int(observations.frame_index[0]), int(observations.frame_index[-1])
            within = (motion.frame_index >= first) & (motion.frame_index <= last)
            if within.any():
                paths = [Path(folder) / name for name in PART_NAMES]
                observations.save(paths[0])
                motion[within].save(paths[1])
                yield first, (paths[0].read_bytes(), paths[1].read_bytes())


class PseudoLabels:
    """The samples of a folder of shards in an endless shuffled order.

    Every sample has a number, so a run resumes after any number of samples, and processes share samples by number."""

    def __init__(self, folder: Path | str, seed: int = 0) -> None:
        """Read the index of the folder. Raises FileNotFoundError or ValueError if there is none, or an empty or damaged
        one."""
        self.folder, self.seed = Path(folder), seed
        path = existing_file(self.folder / SHARD_INDEX)
        try:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            self.shards = tuple((Path(line["shard"]).name, int(line["samples"])) for line in lines)
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{path}: expected a JSON line per shard; run capture-many --pseudo-labels again"
            ) from None
        if not len(self):
            raise ValueError(f"{path}: no samples: no person was found in the captures")

    def __len__(self) -> int:
        """Return the number of samples per epoch."""
        return sum(count for _, count in self.shards)

    def __getitem__(self, number: int) -> PseudoLabel:
        """Read sample `number`, counted from the beginning of the first epoch."""
        epoch, position = divmod(number, len(self))
        order, begins = _order(self.shards, self.seed, epoch)
        shard = bisect_right(begins, position) - 1
        name, count = self.shards[order[shard]]
        row = _shuffled(count, f"{self.seed} {epoch} {name}")[position - begins[shard]]
        return self._read(self.folder / name, count, row)

    def stream(self, first: int = 0, step: int = 1) -> Iterator[PseudoLabel]:
        """Yield samples `first`, `first + step`, ... without end: process r of n that has used k samples takes
        `stream(r + k * n, n)`."""
        return (self[number] for number in itertools.count(first, step))

    def _read(self, path: Path, count: int, row: int) -> PseudoLabel:
        samples = shard_contents(path)
        if len(samples) != count:
            raise ValueError(
                f"{path}: expected {count} samples (from {SHARD_INDEX}), found {len(samples)}; {SHARD_REMEDY}"
            )
        key, (observations, motion) = samples[row]
        with named_shard_errors(path):
            return PseudoLabel(
                key, Observations.load(read_part(path, observations)), Motion.load(read_part(path, motion))
            )


@functools.lru_cache(maxsize=2)
def _order(shards: tuple[tuple[str, int], ...], seed: int, epoch: int) -> tuple[list[int], list[int]]:
    """Return the shards of an epoch in order, and the number of each one's first sample."""
    order = _shuffled(len(shards), f"{seed} {epoch}")
    return order, list(itertools.accumulate((shards[n][1] for n in order[:-1]), initial=0))


@functools.lru_cache(maxsize=2)
def _shuffled(count: int, seed: str) -> list[int]:
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    return numbers
