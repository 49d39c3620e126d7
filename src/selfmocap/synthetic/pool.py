"""Scenes that are kept where a network learns, to be seen several times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from selfmocap.io.cores import cap_workers

SEEN = 4
"""How often a scene is seen, in the mean; and in how many detectors' words."""
_KEPT = 400_000
"""Scenes: some 7 GB."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures of people, what detectors said of each, and the truth in the camera frame."""

    crops: UInt8[Tensor, "scenes side side 3"]
    masks: Bool[Tensor, "scenes side side"]
    keypoints: Float[Tensor, "scenes looks keypoints 2"]
    """px of the image."""
    confidence: Float[Tensor, "scenes looks keypoints"]
    boxes: Float[Tensor, "scenes 3"]
    focal: Float[Tensor, "scenes 2"]
    center: Float[Tensor, "scenes 2"]
    betas: Float[Tensor, "scenes betas"]
    R_cam_joint: Float[Tensor, "scenes 24 3 3"]
    """`R_parent_joint`; the root's is in the camera frame."""
    p_cam_root: Float[Tensor, "scenes 3"]

    def __len__(self) -> int:
        return len(self.boxes)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Scenes":
        """`function` of every tensor."""
        return Scenes(**{field.name: function(getattr(self, field.name)) for field in fields(self)})


class ScenePool:
    """The last scenes of those that were added, on one device. All parts that are added have the same size."""

    def __init__(self, device: torch.device, capacity: int) -> None:
        self.device, self.capacity = device, capacity
        self.kept: Scenes | None = None
        self.added = 0

    def add(self, part: Scenes) -> None:
        """Keeps `part` in the place of the oldest one, where there is no more room."""
        room = max(1, self.capacity // len(part)) * len(part)
        if self.kept is None:
            self.kept = part.map(
                lambda x: torch.empty((room, *x.shape[1:]), dtype=x.dtype, device=self.device)
            )
        begin = self.added % room
        for field in fields(part):
            getattr(self.kept, field.name)[begin : begin + len(part)] = getattr(part, field.name).to(
                self.device
            )
        self.added += len(part)

    def drawn(self, random: torch.Generator, count: int) -> Scenes:
        """Any `count` of them, with one detector's words each."""
        assert self.kept is not None, "no scene was added"
        some = min(self.added, len(self.kept))
        chosen = torch.randint(some, (count,), generator=random, device=self.device)
        found, each = self.kept.map(lambda x: x[chosen]), torch.arange(count, device=self.device)
        look = torch.randint(found.confidence.shape[1], (count,), generator=random, device=self.device)
        said = (x[each, look][:, None] for x in (found.keypoints, found.confidence))
        return replace(found, **dict(zip(("keypoints", "confidence"), said, strict=True)))


class _Drawing(Dataset[Scenes]):
    def __init__(self, scenes: Callable[[int], Scenes]) -> None:
        self.scenes = scenes

    def __getitem__(self, seed: int) -> Scenes:
        return self.scenes(seed)


def pooled(
    scenes: Callable[[int], Scenes],
    part: int,
    steps: range,
    batch: int,
    seed: int,
    workers: int,
    device: torch.device,
) -> Iterator[tuple[Scenes, torch.Generator]]:
    """`batch` scenes for each of `steps`, each seen SEEN times in the mean, and what to draw from for that step.

    `scenes` gives, from a seed, `part` of them; `workers` processes draw them. The same for the same arguments,
    wherever `steps` begins: what was kept by then is drawn again, before the first step."""
    first = max(0, steps.start - (_KEPT + 2 * part) * SEEN // batch)
    added = [-(-step * batch // (SEEN * part)) for step in range(first, steps.stop + 1)]
    order = [seed * 1_000_003_000 + number for number in range(added[0], added[-1])]
    parts = iter(
        DataLoader(_Drawing(scenes), batch_size=None, sampler=order, num_workers=cap_workers(workers))
    )
    pool = ScenePool(device, _KEPT)
    pool.added = added[0] * part
    for step in range(first, steps.stop):
        for _ in range(added[step - first + 1] - added[step - first]):
            pool.add(next(parts))
        if step >= steps.start:
            random = torch.Generator(device).manual_seed(seed * 1_000_003_001 + step)
            yield pool.drawn(random, batch), random
