"""What captures found, as labels to learn from: WebDataset shards (tar files), written and streamed.

A sample is some frames of one person: `KEY.observations.npz` (2D tracks and masks) and `KEY.motion.npz` of the same
frames. Shards may come from strangers: nothing is unpacked, and every array is read with bounds.
"""

import functools
import io
import itertools
import json
import random
import tarfile
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfmocap.files import existing_file, written_whole
from selfmocap.motion import Motion
from selfmocap.observations import Observations, windows
from selfmocap.video import numbered

FRAMES = 60
"""Of a sample; the last one of a person may have less."""
INDEX = "shards.jsonl"
_IMAGES = ("masks", "mask_certain")
_PARTS = ("observations.npz", "motion.npz")
_MAX_PART_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class PseudoLabel:
    """Some frames of one person, and what a capture made of them."""

    key: str
    observations: Observations
    """Without crops and flow."""
    motion: Motion


def write_shard(path: Path, captures: Sequence[Path], report: Callable[[str, int, int], None]) -> int:
    """Writes the samples of captures (folders with `person-N`), and gives how many there are. The same bytes for the
    same captures."""
    count = 0
    with written_whole(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for done, capture in enumerate(captures, start=1):
            for person in sorted(capture.glob("person-*"), key=numbered):
                for first, parts in _samples(person):
                    key = f"{capture.name}-{person.name}-{first:07d}"
                    for name, data in zip(_PARTS, parts, strict=True):
                        member = tarfile.TarInfo(f"{key}.{name}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
                    count += 1
            report("label", done, len(captures))
    return count


def _samples(person: Path) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    motion = Motion.load(person / "motion.npz")
    with tempfile.TemporaryDirectory() as folder:
        for _, seen in windows(person / "observations.npz", FRAMES, images=_IMAGES):
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
            raise ValueError(f"{path}: {len(samples)} samples, {INDEX} says {count}; write the shards again")
        key, parts = samples[row]
        with path.open("rb") as file, tempfile.TemporaryDirectory() as folder:
            for name, (offset, size) in zip(_PARTS, parts, strict=True):
                file.seek(offset)
                (Path(folder) / name).write_bytes(file.read(size))
            seen, motion = (Path(folder) / name for name in _PARTS)
            return PseudoLabel(key, Observations.load(seen), Motion.load(motion))


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


@functools.lru_cache(maxsize=2)
def _contents(path: Path) -> list[tuple[str, list[tuple[int, int]]]]:
    """Each sample of a shard: its key, and the places and sizes of its parts."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(existing_file(path), "r:") as tar:
            for member in tar:
                key, _, name = member.name.partition(".")
                if not member.isreg() or name not in _PARTS or member.size > _MAX_PART_BYTES:
                    raise ValueError(
                        f"{path}: {member.name!r} of {member.size} bytes is not part of a sample"
                    )
                found.setdefault(key, {})[name] = (member.offset_data, member.size)
    except tarfile.TarError as error:
        raise ValueError(f"{path}: expected a tar file ({error}); write the shards again") from error
    if incomplete := [key for key, parts in found.items() if len(parts) != len(_PARTS)]:
        raise ValueError(f"{path}: sample {incomplete[0]} is not complete; write the shards again")
    return [(key, [parts[name] for name in _PARTS]) for key, parts in found.items()]
