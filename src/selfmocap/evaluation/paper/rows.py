"""The rows of the papers' tables: the methods that estimate the bodies of the test clips from their observations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.adaptation.adapt import (
    AdaptConfig,
    adapt,
    as_step_callback,
    predict_bodies,
    refit,
    with_shared_shape,
)
from selfmocap.adaptation.fit import (
    REFINE,
    REFINEMENT_WEIGHTS,
    FitConfig,
    fit,
    random_start,
    select_frames,
    start_from_truth,
)
from selfmocap.adaptation.objective import (
    HELD_OUT_FRACTION,
    KEYPOINTS_ONLY,
    FittingData,
    LossWeights,
    split_clips,
)
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.evaluation.paper.clips import BenchmarkClip, benchmark_fitting_data, benchmark_truth
from selfmocap.geometry.tensors import concat
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.estimator import Estimator
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.temporal import TemporalNetwork

FROM_SCRATCH_WEIGHTS = LossWeights(shape=0.0, betas=REFINEMENT_WEIGHTS.betas, smoothness=0.0)
"""The three losses of the paper; frames are independent but for one shape per clip."""
FROM_SCRATCH_KEYPOINT_WEIGHTS = replace(FROM_SCRATCH_WEIGHTS, motion=0.0, segmentation=0.0)
"""The same without images: a step takes a thirtieth of the time, and the error is within a twentieth."""
_EXACT_KEYPOINT_WEIGHT = 30.0
"""Weight of keypoints without errors; those of a detector have 1."""


@dataclass(frozen=True)
class RowConfig:
    """Settings of the rows."""

    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    """Adaptation to all clips together."""
    adapt_all: AdaptConfig = field(default_factory=lambda: AdaptConfig(weights=LossWeights()))
    """The same with the three losses of the paper."""
    adapt_each: AdaptConfig | None = None
    """Further adaptation to each clip by itself; None refits on all keypoints instead."""
    held_out_fraction: float = HELD_OUT_FRACTION
    """Fraction of the keypoints that is held out of adaptation."""
    refine: FitConfig = field(default_factory=lambda: FitConfig(1200))
    """Fitting that starts from the network's estimate and takes about as long as adaptation."""
    refine_adapted: FitConfig = field(default_factory=lambda: REFINE)
    """Refinement of the adapted network's estimate."""
    optimise: FitConfig = field(
        default_factory=lambda: FitConfig(150, 0.03, "constant", "adam", FROM_SCRATCH_WEIGHTS)
    )
    """Fitting that starts from random poses as in the paper, by Adam."""
    gradient_descent: FitConfig = field(
        default_factory=lambda: FitConfig(
            1000, 2e-3, "constant", "gradient descent", FROM_SCRATCH_KEYPOINT_WEIGHTS
        )
    )
    """The same by the paper's gradient descent, with the learning rate of the lowest error."""

    @classmethod
    def exact(cls) -> "RowConfig":
        """Return settings for exact keypoints: they have 30 times the weight, and each clip has enough of them to adapt
        a network to it alone."""
        weight = _EXACT_KEYPOINT_WEIGHT
        alone, refined = (
            replace(KEYPOINTS_ONLY, keypoints=weight),
            replace(REFINEMENT_WEIGHTS, keypoints=weight),
        )
        scratch, scratch_keypoints = (
            replace(weights, keypoints=weight)
            for weights in (FROM_SCRATCH_WEIGHTS, FROM_SCRATCH_KEYPOINT_WEIGHTS)
        )
        return cls(
            adapt=AdaptConfig(240, 3e-4, weights=alone, balance_clips=False),
            adapt_all=AdaptConfig(learning_rate=2e-4, weights=LossWeights(weight), balance_clips=False),
            adapt_each=AdaptConfig(500, 1e-3, window=31, windows=1, weights=alone, balance_clips=False),
            refine=FitConfig(1200, weights=refined),
            refine_adapted=FitConfig(600, weights=replace(refined, smoothness=0.03)),
            optimise=FitConfig(150, 0.03, "constant", "adam", scratch),
            gradient_descent=FitConfig(
                1000, 2e-3 / weight, "constant", "gradient descent", scratch_keypoints
            ),
        )


@dataclass(frozen=True, eq=False)
class RowResult:
    """The estimate of a row for all frames."""

    parameters: BodyParameters
    """One row per frame, in the camera frame."""
    accepted: Bool[Tensor, " clips"] | None = None
    """Whether the held-out error of each clip fell; None for rows without adaptation."""
    heldout_reprojection_px: Float[Tensor, "clips 2"] | None = None
    """Held-out error of each clip before and after adaptation."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """The test clips and the networks that are tested."""

    networks: Mapping[str, Estimator]
    """`frame` and `temporal`, with the same inputs."""
    body: Body
    config: RowConfig
    full: FittingData
    """All keypoints."""
    split: FittingData
    """A fraction of the keypoints is held out."""
    truth: BodyParameters | None
    """None for clips with true joints only."""
    seed: int

    @classmethod
    def of(
        cls,
        clips: Sequence[BenchmarkClip],
        frame: FrameNetwork,
        temporal: TemporalNetwork,
        body: Body,
        config: RowConfig,
        seed: int,
    ) -> "Experiment":
        """Gather the data of some clips."""
        full, split = (
            benchmark_fitting_data(clips, frame, fraction, joints=True)
            for fraction in (0.0, config.held_out_fraction)
        )
        networks = {"frame": frame, "temporal": temporal}
        truth = benchmark_truth(clips) if all(clip.truth is not None for clip in clips) else None
        return cls(networks, body, config, full, split, truth, seed)


RowResults = Mapping[str, RowResult]
ComputeRow = Callable[[Experiment, RowResults, ProgressCallback], RowResult]


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    compute: ComputeRow
    settings: tuple[str, ...] = ()
    """Fields of RowConfig that the result depends on."""
    after: tuple[str, ...] = ()
    """Rows whose results it needs."""
    network: str = "frame"
    """Network that it uses."""
    is_slow: bool = False
    """Whether it takes as long as all others together; slow rows are computed last."""


def _pretrained(network: str) -> Row:
    """Make a row of a network without adaptation."""

    def compute(experiment: Experiment, results: RowResults, progress: ProgressCallback) -> RowResult:
        data = experiment.full
        return RowResult(with_shared_shape(predict_bodies(experiment.networks[network], data), data))

    return Row(compute, network=network)


def _adapted(config: str, each: str | None = None, network: str = "frame") -> Row:
    """Make a row of a network that is adapted to all clips, and then, with the settings that `each` names, to each clip
    by itself. If `each` names None, the network is refit instead."""

    def compute(experiment: Experiment, results: RowResults, progress: ProgressCallback) -> RowResult:
        together, body = getattr(experiment.config, config), experiment.body
        adaptation = adapt(
            experiment.networks[network],
            body,
            experiment.split,
            together,
            as_step_callback(progress, "adapt"),
        )
        networks, after_px, clips = [adaptation.network], adaptation.after_px, [experiment.full]
        settings: AdaptConfig | None = getattr(experiment.config, each) if each else None
        if settings is not None:
            clips, by_clip = split_clips(experiment.full), []
            for clip in split_clips(experiment.split):
                by_clip.append(adapt(adaptation.network, body, clip, settings))
                progress("adapt to each clip", len(by_clip), len(clips))
            networks, after_px = (
                [one.network for one in by_clip],
                torch.cat([one.after_px for one in by_clip]),
            )
        elif each is not None:
            networks = [
                refit(adaptation, body, experiment.full, together, as_step_callback(progress, "refit"))
            ]
        bodies = [
            with_shared_shape(predict_bodies(one, clip), clip)
            for one, clip in zip(networks, clips, strict=True)
        ]
        accepted = after_px < adaptation.before_px
        return RowResult(concat(bodies), accepted, torch.stack([adaptation.before_px, after_px], dim=1))

    return Row(compute, (config, *([each] if each else []), "held_out_fraction"), network=network)


def _accepted(adapted: str, pretrained: str, network: str = "frame") -> Row:
    """Make a row of the adapted network's estimate where it was accepted, and of the first estimate elsewhere."""

    def compute(experiment: Experiment, results: RowResults, progress: ProgressCallback) -> RowResult:
        second, clip = results[adapted], experiment.full.clip
        assert second.accepted is not None
        first = results[pretrained].parameters
        return RowResult(select_frames(second.accepted[clip], second.parameters, first))

    return Row(compute, (), (pretrained, adapted), network)


def _fitted_from_row(row: str, config: str, network: str = "frame") -> Row:
    """Make a row of direct fitting that starts from another row's estimate."""

    def compute(experiment: Experiment, results: RowResults, progress: ProgressCallback) -> RowResult:
        return _fitted(experiment, results[row].parameters, config, progress)

    return Row(compute, (config,), (row,), network)


def _fitted_from_scratch(R: bool, T: bool, config: str) -> Row:
    """Make a row of the paper's baseline: fitting that starts from random poses, with the true rotation (R) and
    position (T) of the root if wanted."""

    def compute(experiment: Experiment, results: RowResults, progress: ProgressCallback) -> RowResult:
        start = random_start(experiment.full, experiment.body.num_betas, experiment.seed)
        if R:
            assert experiment.truth is not None
            start = start_from_truth(start, experiment.truth, translation=T)
        return _fitted(experiment, start, config, progress)

    return Row(compute, (config,), is_slow=True)


def _fitted(
    experiment: Experiment, start: BodyParameters, config: str, progress: ProgressCallback
) -> RowResult:
    settings, on_step = getattr(experiment.config, config), as_step_callback(progress, "fit")
    return RowResult(fit(experiment.body, start, experiment.full, settings, on_step))


ROWS: dict[str, Row] = {
    "optimisation": _fitted_from_scratch(False, False, "optimise"),
    "optimisation_gradient_descent": _fitted_from_scratch(False, False, "gradient_descent"),
    "optimisation_R": _fitted_from_scratch(True, False, "optimise"),
    "optimisation_R_gradient_descent": _fitted_from_scratch(True, False, "gradient_descent"),
    "optimisation_RT": _fitted_from_scratch(True, True, "optimise"),
    "optimisation_RT_gradient_descent": _fitted_from_scratch(True, True, "gradient_descent"),
    "pretrained": _pretrained("frame"),
    "optimisation_from_network": _fitted_from_row("pretrained", "refine"),
    "self_supervised_all_losses": _adapted("adapt_all"),
    "self_supervised": _adapted("adapt", "adapt_each"),
    "self_supervised_accepted": _accepted("self_supervised", "pretrained"),
    "self_supervised_refined": _fitted_from_row("self_supervised_accepted", "refine_adapted"),
    "temporal": _pretrained("temporal"),
    "temporal_self_supervised": _adapted("adapt", "adapt_each", "temporal"),
    "temporal_self_supervised_accepted": _accepted("temporal_self_supervised", "temporal", "temporal"),
    "temporal_self_supervised_refined": _fitted_from_row(
        "temporal_self_supervised_accepted", "refine_adapted", "temporal"
    ),
}
"""In the order of the paper. A row starts only from rows that are not slow and precede it."""
