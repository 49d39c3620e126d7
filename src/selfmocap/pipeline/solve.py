"""What the network, adapted and refined, makes of the people: what to trust is decided on a sample of their frames,
and then done to all of them, a window at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from selfmocap.adaptation.adapt import AdaptConfig, adapt, predict_bodies, refit, with_shared_shape
from selfmocap.adaptation.fit import (
    REFINE,
    REFINE_LOW_SMOOTHNESS,
    FitConfig,
    fit,
    refine_adapted,
    rescale_depth_for_shape,
)
from selfmocap.adaptation.objective import FittingData, gather_fitting_data, heldout_reprojection_px
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.rotations import interpolate
from selfmocap.geometry.tensors import concat
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.models.estimator import Estimator
from selfmocap.pipeline.samples import CapturedPerson, alone, needed_images, on_device, sample_frames
from selfmocap.tracking.observations import iterate_windows

REFINE_WINDOW, WINDOW_OVERLAP = 256, 32
"""Frames that are refined together, and over which one window fades into the next."""

_ROUGHER = 1.15
"""By how much a refinement may explain what nothing has seen worse than an adapted network: it is smoother, and on
validation motions nearer to the truth all the same."""

Report = Callable[[int, int], None]
"""How far, and how far to go."""


@dataclass(frozen=True, eq=False)
class Solver:
    """What turns evidence into bodies, all on one device."""

    network: Estimator
    body: Body
    device: torch.device
    most: int
    """Frames of a sample: see `people.sample`."""


def adapt_to_video(
    solver: Solver, people: Sequence[CapturedPerson], config: AdaptConfig, progress: Report
) -> tuple[Estimator, Estimator]:
    """The network, adapted to a sample of the frames of all people together: to be checked, and settled, for the answer
    if the check accepts it."""
    images = needed_images(solver.network, config.weights)
    checked, whole = sample_frames(people, solver.network, solver.most, images, solver.device)
    found = adapt(
        solver.network,
        solver.body,
        checked,
        config,
        lambda done, total, _: progress(done, total + total // 4),
    )
    return found.network, refit(
        found, solver.body, whole, config, lambda done, total, _: progress(4 * total + done, 5 * total)
    )


def select_models(
    solver: Solver, adapted_network: Estimator | None, people: Sequence[CapturedPerson], progress: Report
) -> list[dict[str, Any]]:
    """For each person, judged by keypoints that nothing has seen (`heldout_reprojection_px`, before and after): whether the
    adapted network is `accepted`, whether its answer is to be `refined`, whether it moves `fast`, and the `betas` of
    the whole clip. A network that cannot be checked is not accepted, a refinement is unless it is clearly worse, or
    worse than nothing."""
    images = needed_images(solver.network, FitConfig().weights)
    evidence, _ = sample_frames(people, solver.network, solver.most, images, solver.device)
    found = []
    for number in range(len(people)):
        mine = alone(evidence, number)
        found.append(_choice(solver, adapted_network, mine))
        progress(number + 1, len(people))
    return found


def _choice(solver: Solver, adapted_network: Estimator | None, evidence: FittingData) -> dict[str, Any]:
    def px(answer: BodyParameters) -> float:
        return float(heldout_reprojection_px(solver.body, answer, evidence)[0])

    answer = with_shared_shape(predict_bodies(solver.network, evidence), evidence)
    before = after = px(answer)
    accepted = False
    if adapted_network is not None:
        other = with_shared_shape(predict_bodies(adapted_network, evidence), evidence)
        adapted_px = px(other)
        if accepted := adapted_px < before:
            answer, after = other, adapted_px
    fast = False
    if accepted:
        finer, moves_fast = refine_adapted(solver.body, answer, evidence)
        fast = bool(moves_fast)
    else:
        finer = fit(solver.body, answer, evidence, FitConfig())
    finer_px = px(finer)
    if refined := not finer_px > max(min(before, _ROUGHER * after), after):
        answer, after = finer, finer_px
    return {
        "accepted": accepted,
        "refined": refined,
        "fast": fast,
        "betas": answer.betas[0].tolist(),
        "before_px": before if before == before else None,
        "after_px": after if after == after else None,
    }


def _refinement(choice: dict[str, Any]) -> FitConfig:
    adapted_to = REFINE_LOW_SMOOTHNESS if choice["fast"] else REFINE
    return adapted_to if choice["accepted"] else FitConfig()


@dataclass(frozen=True, eq=False)
class Estimate:
    """A person's bodies in the camera frame, in all frames in which it is seen; one shape for the clip."""

    before: BodyParameters
    """By the network as it came."""
    after: BodyParameters
    """By the choices that were made."""

    def save(self, path: Path) -> None:
        """Writes an `.npz`, whole or not at all."""
        write_npz(
            path,
            {
                f"{when}_{name}": value.numpy()
                for when, p in vars(self).items()
                for name, value in vars(p).items()
            },
        )

    @classmethod
    def load(cls, path: Path) -> "Answer":
        """Reads what `save` wrote."""
        arrays = {name: torch.from_numpy(array) for name, array in read_npz(path).items()}
        names = ("betas", "R_parent_joint", "p_world_root")
        return cls(*(BodyParameters(*(arrays[f"{w}_{n}"] for n in names)) for w in ("before", "after")))


def estimate_person(
    solver: Solver,
    adapted_network: Estimator | None,
    person: CapturedPerson,
    choice: dict[str, Any],
    progress: Report,
) -> Estimate:
    """The person in all frames. Each window is refined by itself with the clip's shape (which moves on where the clip
    is one window); where two overlap, one fades into the other."""
    config = replace(_refinement(choice), free_shape=len(person.seen) <= REFINE_WINDOW)
    network = adapted_network if adapted_network is not None and choice["accepted"] else solver.network
    betas = torch.tensor(choice["betas"])
    before: list[BodyParameters] = []
    after: list[BodyParameters] = []
    done = 0
    for begin, window in iterate_windows(
        person.observations, REFINE_WINDOW, WINDOW_OVERLAP, needed_images(network, config.weights)
    ):
        evidence = on_device(gather_fitting_data([person.clip(window, network)]), solver.device)
        first = predict_bodies(solver.network, evidence)
        found = first if network is solver.network else predict_bodies(network, evidence)
        found = rescale_depth_for_shape(solver.body, found, betas.to(solver.device).expand(len(window), -1))
        if choice["refined"]:
            found = fit(solver.body, found, evidence, config)
        before.append(first[done - begin :].to("cpu"))
        after = _faded(after, found.to("cpu"), done - begin)
        done = begin + len(window)
        progress(done, len(person.seen))
    seen = person.seen.keypoint_confidence.mean(-1, keepdim=True).clamp_min(1e-3)
    whole = concat(before)
    betas = (whole.betas * seen).sum(0) / seen.sum()
    return Estimate(replace(whole, betas=betas), replace(concat(after), betas=after[0].betas[0]))


def _faded(parts: list[BodyParameters], part: BodyParameters, overlap: int) -> list[BodyParameters]:
    """The parts with one more, whose first frames are also the last ones of those before."""
    if not overlap:
        return [*parts, part]
    share = torch.arange(1, overlap + 1) / (overlap + 1)
    old, fresh = parts[-1][-overlap:], part[:overlap]
    blend = BodyParameters(
        fresh.betas,
        interpolate(old.R_parent_joint, fresh.R_parent_joint, share[:, None]),
        torch.lerp(old.p_world_root, fresh.p_world_root, share[:, None]),
    )
    return [*parts[:-1], parts[-1][:-overlap], blend, part[overlap:]]
