"""Estimate the bodies of the people in a video.

The network adapts to a sample of their frames. On the same sample, held-out keypoints select between networks and
refinements for each person. The selected ones are then applied to all frames, a window at a time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from selfmocap.adaptation.objective import (
    FittingData,
    gather_fitting_data,
    heldout_reprojection_px,
    select_clip,
)
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.rotations import interpolate
from selfmocap.geometry.tensors import concat
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.estimator import Estimator
from selfmocap.pipeline.samples import CapturedPerson, needed_images, sample_frames

REFINE_WINDOW, WINDOW_OVERLAP = 256, 32
"""Frames that are refined together, and the frames over which one window is blended into the next."""

_REFINED_ERROR_RATIO = 1.15
"""Greatest ratio of held-out errors, refined to adapted, at which the refinement is kept: it is smoother, and on
validation motions nearer to the truth, even with a slightly larger error."""


@dataclass(frozen=True, eq=False)
class Solver:
    """The models that turn observations into bodies, all on one device."""

    network: Estimator
    body: Body
    device: torch.device
    max_frames: int
    """Size of a sample, see `samples.sample_frames`."""


def checked_device(name: str) -> torch.device:
    """Return the device of a name. Raises ValueError for another name, or where there is no such device."""
    if name not in ("cpu", "cuda") and not name.startswith("cuda:"):
        raise ValueError(f"device: {name!r}; expected cpu, cuda or cuda:N")
    if name != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"device: {name!r}; PyTorch finds no CUDA device; choose cpu")
    return torch.device(name)


@dataclass(frozen=True)
class PersonChoice:
    """The models that were selected for a person, and the shape that they gave."""

    accepted: bool
    """Use the adapted network."""
    refined: bool
    """Refine the network's estimate."""
    low_smoothness: bool
    """Refine an accepted estimate with `REFINE_LOW_SMOOTHNESS`."""
    betas: tuple[float, ...]
    """The shape of the whole clip."""
    before_px: float | None
    """Held-out error of the original network, px of the 128 px crop; None without held-out keypoints."""
    after_px: float | None
    """Held-out error of the selected estimate."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON data for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "PersonChoice":
        """Read the data of `as_json`."""
        return cls(**{**data, "betas": tuple(data["betas"])})

    @property
    def refinement(self) -> FitConfig:
        """The settings of the refinement."""
        adapted = REFINE_LOW_SMOOTHNESS if self.low_smoothness else REFINE
        return adapted if self.accepted else FitConfig()


def adapt_to_video(
    solver: Solver, people: Sequence[CapturedPerson], config: AdaptConfig, progress: ProgressCallback
) -> tuple[Estimator, Estimator]:
    """Adapt the network to a sample of the frames of all people together.

    Return the network adapted without the held-out keypoints, for `select_models`, and the one refit on all keypoints,
    for `estimate_person`."""
    images = needed_images(solver.network, config.weights)
    split, full = sample_frames(people, solver.network, solver.max_frames, images, solver.device)
    # The refit takes a quarter of the steps: progress counts both.
    adaptation = adapt(
        solver.network,
        solver.body,
        split,
        config,
        lambda done, total, _: progress("adapt", done, total + total // 4),
    )
    refitted = refit(
        adaptation,
        solver.body,
        full,
        config,
        lambda done, total, _: progress("adapt", 4 * total + done, 5 * total),
    )
    return adaptation.network, refitted


def select_models(
    solver: Solver, adapted: Estimator | None, people: Sequence[CapturedPerson], progress: ProgressCallback
) -> list[PersonChoice]:
    """Select the network and the refinement of each person by the error of held-out keypoints.

    The adapted network is accepted if it lowers the error. The refinement is kept unless it raises the error clearly,
    or above that of the original network. Without held-out keypoints, the network is not accepted and the refinement
    is kept."""
    progress("choose", 0, len(people))
    images = needed_images(solver.network, FitConfig().weights)
    data, _ = sample_frames(people, solver.network, solver.max_frames, images, solver.device)
    choices = []
    for number in range(len(people)):
        choices.append(_select(solver, adapted, select_clip(data, number)))
        progress("choose", number + 1, len(people))
    return choices


def _select(solver: Solver, adapted: Estimator | None, data: FittingData) -> PersonChoice:
    def error_px(estimate: BodyParameters) -> float:
        return float(heldout_reprojection_px(solver.body, estimate, data)[0])

    estimate = with_shared_shape(predict_bodies(solver.network, data), data)
    before = after = error_px(estimate)
    accepted = False
    if adapted is not None:
        adapted_estimate = with_shared_shape(predict_bodies(adapted, data), data)
        adapted_px = error_px(adapted_estimate)
        if accepted := adapted_px < before:
            estimate, after = adapted_estimate, adapted_px
    low_smoothness = False
    if accepted:
        refined_estimate, of_clip = refine_adapted(solver.body, estimate, data)
        low_smoothness = bool(of_clip)
    else:
        refined_estimate = fit(solver.body, estimate, data, FitConfig())
    refined_px = error_px(refined_estimate)
    if refined := not refined_px > max(min(before, _REFINED_ERROR_RATIO * after), after):
        estimate, after = refined_estimate, refined_px
    return PersonChoice(
        accepted,
        refined,
        low_smoothness,
        tuple(estimate.betas[0].tolist()),
        before if before == before else None,
        after if after == after else None,
    )


@dataclass(frozen=True, eq=False)
class Estimate:
    """A person's bodies in the camera frame, in all frames in which they are observed, with one shape."""

    before: BodyParameters
    """By the original network."""
    after: BodyParameters
    """By the selected network and refinement."""

    def save(self, path: Path) -> None:
        """Write an `.npz` atomically."""
        write_npz(
            path,
            {
                f"{when}_{name}": value.numpy()
                for when, p in vars(self).items()
                for name, value in vars(p).items()
            },
        )

    @classmethod
    def load(cls, path: Path) -> "Estimate":
        """Read a file of `save`."""
        arrays = {name: torch.from_numpy(array) for name, array in read_npz(path).items()}
        names = ("betas", "R_parent_joint", "p_world_root")
        return cls(*(BodyParameters(*(arrays[f"{w}_{n}"] for n in names)) for w in ("before", "after")))


def estimate_person(
    solver: Solver,
    refitted: Estimator | None,
    person: CapturedPerson,
    choice: PersonChoice,
    progress: ProgressCallback,
) -> Estimate:
    """Estimate the person's bodies in all frames with the selected network and refinement.

    Each window is refined by itself, with the clip's shape fixed; a clip of a single window refines its shape too.
    Overlapping windows are blended."""
    progress(f"refine {person.number}", 0, len(person.observations))
    config = replace(choice.refinement, free_shape=len(person.observations) <= REFINE_WINDOW)
    network = refitted if refitted is not None and choice.accepted else solver.network
    clip_betas = torch.tensor(choice.betas)
    before: list[BodyParameters] = []
    after: list[BodyParameters] = []
    done = 0
    images = needed_images(solver.network, config.weights)
    for begin, window in person.windows(REFINE_WINDOW, WINDOW_OVERLAP, images):
        data = gather_fitting_data([person.clip(window, solver.network)]).to(solver.device)
        first = predict_bodies(solver.network, data)
        estimate = first if network is solver.network else predict_bodies(network, data)
        betas = clip_betas.to(solver.device).expand(len(window), -1)
        estimate = rescale_depth_for_shape(solver.body, estimate, betas)
        if choice.refined:
            estimate = fit(solver.body, estimate, data, config)
        before.append(first[done - begin :].to("cpu"))
        after = append_blended(after, estimate.to("cpu"), done - begin)
        done = begin + len(window)
        progress(f"refine {person.number}", done, len(person.observations))
    confidence = person.observations.keypoint_confidence.mean(-1, keepdim=True).clamp_min(1e-3)
    original = concat(before)
    mean_betas = (original.betas * confidence).sum(0) / confidence.sum()
    return Estimate(replace(original, betas=mean_betas), replace(concat(after), betas=after[0].betas[0]))


def append_blended(parts: list[BodyParameters], part: BodyParameters, overlap: int) -> list[BodyParameters]:
    """Append a part whose first `overlap` frames are the last ones of the parts before, and blend those frames."""
    if not overlap:
        return [*parts, part]
    weight = torch.arange(1, overlap + 1) / (overlap + 1)
    old, new = parts[-1][-overlap:], part[:overlap]
    blend = BodyParameters(
        new.betas,
        interpolate(old.R_parent_joint, new.R_parent_joint, weight[:, None]),
        torch.lerp(old.p_world_root, new.p_world_root, weight[:, None]),
    )
    return [*parts[:-1], parts[-1][:-overlap], blend, part[overlap:]]
