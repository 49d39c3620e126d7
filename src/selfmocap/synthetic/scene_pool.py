"""A pool of scenes on the training device, each of which is used several times."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from selfmocap.io.cores import cap_workers

USES_PER_SCENE = 4
"""Mean number of uses of a scene, and the number of its draws of detection errors."""
_POOL_CAPACITY = 400_000
"""Scenes: about 7 GB."""
SEEDS_PER_RUN = 1_000_003_000
"""Distance between the first seeds of training runs: run n draws sample i with seed n * SEEDS_PER_RUN + i."""

_Sample = TypeVar("_Sample")


@dataclass(frozen=True, eq=False)
class PooledScenes:
    """Images of people, draws of their detections, and the truth in the camera frame."""

    crops: UInt8[Tensor, "scenes side side 3"]
    masks: Bool[Tensor, "scenes side side"]
    keypoints: Float[Tensor, "scenes views keypoints 2"]
    """px of the image."""
    confidence: Float[Tensor, "scenes views keypoints"]
    boxes: Float[Tensor, "scenes 3"]
    focal: Float[Tensor, "scenes 2"]
    center: Float[Tensor, "scenes 2"]
    betas: Float[Tensor, "scenes betas"]
    R_cam_joint: Float[Tensor, "scenes 24 3 3"]
    """`R_parent_joint`; the root's is in the camera frame."""
    p_cam_root: Float[Tensor, "scenes 3"]

    def __len__(self) -> int:
        return len(self.boxes)

    def map(self, function: Callable[[Tensor], Tensor]) -> "PooledScenes":
        """Apply `function` to every tensor."""
        return PooledScenes(**{field.name: function(getattr(self, field.name)) for field in fields(self)})


class ScenePool:
    """The most recently added scenes, on one device. All parts that are added have the same size."""

    def __init__(self, device: torch.device, capacity: int) -> None:
        self.device, self.capacity = device, capacity
        self.scenes: PooledScenes | None = None
        self.num_added = 0

    def add(self, part: PooledScenes) -> None:
        """Add `part`. It replaces the oldest one when the pool is full."""
        room = max(1, self.capacity // len(part)) * len(part)
        if self.scenes is None:
            self.scenes = part.map(
                lambda x: torch.empty((room, *x.shape[1:]), dtype=x.dtype, device=self.device)
            )
        begin = self.num_added % room
        for field in fields(part):
            getattr(self.scenes, field.name)[begin : begin + len(part)] = getattr(part, field.name).to(
                self.device
            )
        self.num_added += len(part)

    def sample(self, generator: torch.Generator, count: int) -> PooledScenes:
        """Draw `count` scenes, with one draw of detections each."""
        assert self.scenes is not None, "no scene was added"
        some = min(self.num_added, len(self.scenes))
        chosen = torch.randint(some, (count,), generator=generator, device=self.device)
        chosen_scenes, rows = self.scenes.map(lambda x: x[chosen]), torch.arange(count, device=self.device)
        view = torch.randint(
            chosen_scenes.confidence.shape[1], (count,), generator=generator, device=self.device
        )
        detections = (x[rows, view][:, None] for x in (chosen_scenes.keypoints, chosen_scenes.confidence))
        return replace(chosen_scenes, **dict(zip(("keypoints", "confidence"), detections, strict=True)))


class _Samples(Dataset[_Sample]):
    def __init__(self, sample: Callable[[int], _Sample]) -> None:
        self.sample = sample

    def __getitem__(self, number: int) -> _Sample:
        return self.sample(number)


def map_in_workers(
    sample: Callable[[int], _Sample], numbers: Sequence[int], workers: int
) -> Iterator[_Sample]:
    """Yield `sample` of each number in order, computed ahead by `workers` processes (0: in this one)."""
    return iter(
        DataLoader(_Samples(sample), batch_size=None, sampler=numbers, num_workers=cap_workers(workers))
    )


def pooled_batches(
    scenes: Callable[[int], PooledScenes],
    part: int,
    steps: range,
    batch: int,
    seed: int,
    workers: int,
    device: torch.device,
) -> Iterator[tuple[PooledScenes, torch.Generator]]:
    """Yield `batch` scenes for each of `steps`, each used USES_PER_SCENE times on average, and the generator of that
    step.

    `scenes` makes `part` scenes from a seed; `workers` processes call it. The result depends on the
    arguments only, wherever `steps` begins: the pool's content is drawn again before the first step."""
    first = max(0, steps.start - (_POOL_CAPACITY + 2 * part) * USES_PER_SCENE // batch)
    added = [-(-step * batch // (USES_PER_SCENE * part)) for step in range(first, steps.stop + 1)]
    order = [seed * SEEDS_PER_RUN + number for number in range(added[0], added[-1])]
    parts = map_in_workers(scenes, order, workers)
    pool = ScenePool(device, _POOL_CAPACITY)
    pool.num_added = added[0] * part
    for step in range(first, steps.stop):
        for _ in range(added[step - first + 1] - added[step - first]):
            pool.add(next(parts))
        if step >= steps.start:
            generator = torch.Generator(device).manual_seed(seed * (SEEDS_PER_RUN + 1) + step)
            yield pool.sample(generator, batch), generator
