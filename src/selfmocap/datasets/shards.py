"""Tar shards of pseudo-labels: their layout, and reading of samples with bounds.

A shard is a WebDataset (tar file). A sample is some frames of one person: `KEY.observations.npz` (2D tracks and masks)
and `KEY.motion.npz` of the same frames. The keys of one person's samples, which follow each other, differ after the
last `-`. Shards may come from untrusted sources: nothing is unpacked, and every array is read with bounds.
"""

import contextlib
import functools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.io.files import existing_file
from selfmocap.io.npz import NamedBytesIO
from selfmocap.tracking.observations import Observations

FRAMES_PER_SAMPLE = 60
"""The last sample of a person may have fewer."""
PART_NAMES = ("observations.npz", "motion.npz")
"""Files of a sample, after its key."""
SHARD_REMEDY = "delete it and run capture-many --pseudo-labels again, or train without it"
_MAX_PART_BYTES = 1 << 28
_MAX_TRACK_BYTES = 1 << 20
"""Of a sample's observations without images."""
_TAR_BLOCK = 512
"""Bytes of a block; a tar file ends with empty blocks."""


class ShardPart(NamedTuple):
    """The position of a file in a shard."""

    offset: int
    """Bytes from the start of the shard."""
    size: int
    """Bytes."""


def read_observations(shard: Path, part: ShardPart) -> Observations:
    """Read the observations of a sample without images, COCO-23. Raises ValueError if the shard is damaged."""
    with named_shard_errors(shard):
        observations = Observations.load(read_part(shard, part), images=(), max_bytes=_MAX_TRACK_BYTES)
        if not 1 <= len(observations) <= FRAMES_PER_SAMPLE:
            raise ValueError(
                f"expected samples of 1 to {FRAMES_PER_SAMPLE} frames, found {len(observations)}"
            )
        if not all(
            x.isfinite().all()
            for x in (observations.keypoints, observations.keypoint_confidence, observations.boxes)
        ):
            raise ValueError("keypoints or boxes are not finite")
        return observations.in_set(DEFAULT_KEYPOINTS.name)


def read_part(shard: Path, part: ShardPart) -> NamedBytesIO:
    """Read the bytes of a file in a shard."""
    with existing_file(shard).open("rb") as file:
        file.seek(part.offset)
        return NamedBytesIO(file.read(part.size), f"the sample at byte {part.offset}")


@contextlib.contextmanager
def named_shard_errors(shard: Path) -> Iterator[None]:
    """Add the shard's name and a remedy to errors of a sample; a TypeError comes from an array that is not numeric."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"{shard}: {error}; {SHARD_REMEDY}") from error


@functools.lru_cache(maxsize=2)
def shard_contents(path: Path) -> list[tuple[str, tuple[ShardPart, ShardPart]]]:
    """List the samples of a shard: key, and the parts with the observations and the motion. Raises ValueError if the
    shard is damaged."""
    found: dict[str, dict[str, ShardPart]] = {}
    end = 0
    try:
        with tarfile.open(existing_file(path), "r:") as tar:
            for member in tar:
                key, _, name = member.name.partition(".")
                if not member.isreg() or name not in PART_NAMES or member.size > _MAX_PART_BYTES:
                    raise ValueError(
                        f"{path}: {member.name!r} of {member.size} bytes is not part of a sample; {SHARD_REMEDY}"
                    )
                found.setdefault(key, {})[name] = ShardPart(member.offset_data, member.size)
                end = member.offset_data + -(-member.size // _TAR_BLOCK) * _TAR_BLOCK
    except tarfile.TarError as error:
        raise ValueError(f"{path}: expected a tar file ({error}); {SHARD_REMEDY}") from error
    if incomplete := [key for key, parts in found.items() if len(parts) != len(PART_NAMES)]:
        raise ValueError(f"{path}: sample {incomplete[0]!r} is not complete; {SHARD_REMEDY}")
    if path.stat().st_size < end + _TAR_BLOCK:
        raise ValueError(f"{path}: the end of the tar file is missing; {SHARD_REMEDY}")
    return [(key, (parts[PART_NAMES[0]], parts[PART_NAMES[1]])) for key, parts in found.items()]
