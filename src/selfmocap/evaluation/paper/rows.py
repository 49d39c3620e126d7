"""The rows of the paper's tables: every way from what is seen of the test clips to their bodies."""

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
    select_frames,
    fit,
    random_start,
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
from selfmocap.evaluation.paper.clips import BenchmarkClip, evidence_of, truth_of
from selfmocap.geometry.tensors import concat
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.estimator import Estimator
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.temporal import TemporalNetwork

DIRECT = LossWeights(shape=0.0, betas=REFINEMENT_WEIGHTS.betas, smoothness=0.0)
"""The paper's losses, all three, and nothing that ties frames together but the clip's one shape."""
DIRECT_KEYPOINTS = replace(DIRECT, motion=0.0, segmentation=0.0)
"""Without images a step costs a thirtieth, and ends within a twentieth of the same error."""
_SURE = 30.0
"""How much keypoints without errors count; a detector's count 1."""


@dataclass(frozen=True)
class RowConfig:
    """How the rows are computed."""

    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    adapt_all: AdaptConfig = field(default_factory=lambda: AdaptConfig(weights=LossWeights()))
    """By the paper's three losses."""
    adapt_each: AdaptConfig | None = None
    """How the network, adapted to all clips, goes on adapting to each clip by itself; None: it does not."""
    keep_out: float = HELD_OUT_FRACTION
    """Share of keypoints that adaptation never sees, for the self-check."""
    refine: FitConfig = field(default_factory=lambda: FitConfig(1200))
    """From the network's answer, for about as long as adaptation takes."""
    refine_adapted: FitConfig = field(default_factory=lambda: REFINE)
    optimise: FitConfig = field(
        default_factory=lambda: FitConfig(150, 0.03, "constant", "adam", DIRECT)
    )
    """From the paper's beginnings, by a modern optimiser."""
    descend: FitConfig = field(
        default_factory=lambda: FitConfig(1000, 2e-3, "constant", "gradient descent", DIRECT_KEYPOINTS)
    )
    """From the paper's beginnings, by the paper's gradient descent, at the learning rate that ends lowest."""

    @classmethod
    def exact(cls) -> "RowConfig":
        """For keypoints without errors: they count 30 times as much, and each clip has enough of them for a network of
        its own."""
        alone, refined = replace(KEYPOINTS_ONLY, keypoints=_SURE), replace(REFINEMENT_WEIGHTS, keypoints=_SURE)
        return cls(
            adapt=AdaptConfig(240, 3e-4, weights=alone, balance_clips=False),
            adapt_all=AdaptConfig(learning_rate=2e-4, weights=LossWeights(_SURE), balance_clips=False),
            adapt_each=AdaptConfig(500, 1e-3, window=31, windows=1, weights=alone, balance_clips=False),
            refine=FitConfig(1200, weights=refined),
            refine_adapted=FitConfig(600, weights=replace(refined, smoothness=0.03)),
            optimise=FitConfig(150, 0.03, "constant", "adam", replace(DIRECT, keypoints=_SURE)),
            descend=FitConfig(
                1000, 2e-3 / _SURE, "constant", "gradient descent", replace(DIRECT_KEYPOINTS, keypoints=_SURE)
            ),
        )


@dataclass(frozen=True, eq=False)
class Answer:
    """What a row says of all frames."""

    parameters: BodyParameters
    """A row a frame, in the camera frame."""
    accepted: Bool[Tensor, " clips"] | None = None
    """The self-check's verdict, where there is one."""
    self_check_px: Float[Tensor, "clips 2"] | None = None
    """Before and after adaptation."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """The test clips, and the networks that meet them."""

    clips: Sequence[BenchmarkClip]
    networks: Mapping[str, Estimator]
    """`frame` and `temporal`, which see the same."""
    body: Body
    config: RowConfig
    whole: FittingData
    checked: FittingData
    """Without the keypoints that are kept out."""
    truth: BodyParameters
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
        """The experiment on some clips."""
        whole, checked = (
            evidence_of(clips, frame, keep_out, joints=True) for keep_out in (0.0, config.keep_out)
        )
        networks = {"frame": frame, "temporal": temporal}
        return cls(clips, networks, body, config, whole, checked, truth_of(clips), seed)


Answers = Mapping[str, Answer]
Compute = Callable[[Experiment, Answers, ProgressCallback], Answer]


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    answer: Compute
    depends_on: tuple[str, ...] = ()
    """The fields of RowConfig that it is computed by."""
    after: tuple[str, ...] = ()
    """The rows whose answers it needs."""
    network: str = "frame"
    """Which of the networks it is by."""
    lasts: bool = False
    """Whether it takes as long as all the others together."""


def _first(network: str) -> Row:
    """The network as it came."""

    def first(experiment: Experiment, answers: Answers, progress: ProgressCallback) -> Answer:
        evidence = experiment.whole
        return Answer(with_shared_shape(predict_bodies(experiment.networks[network], evidence), evidence))

    return Row(first, network=network)


def _adapted(config: str, then: str | None = None, network: str = "frame") -> Row:
    """The network adapted to all clips, and then by the settings that `then` names to each of them; where those are
    None, settled."""

    def adapted(experiment: Experiment, answers: Answers, progress: ProgressCallback) -> Answer:
        together, body = getattr(experiment.config, config), experiment.body
        found = adapt(
            experiment.networks[network], body, experiment.checked, together, as_step_callback(progress, "adapt")
        )
        networks, after_px, clips = [found.network], found.after_px, [experiment.whole]
        settings: AdaptConfig | None = getattr(experiment.config, then) if then else None
        if settings is not None:
            clips, alone = split_clips(experiment.whole), []
            for clip in split_clips(experiment.checked):
                alone.append(adapt(found.network, body, clip, settings))
                progress("adapt to each clip", len(alone), len(clips))
            networks, after_px = [one.network for one in alone], torch.cat([one.after_px for one in alone])
        elif then is not None:
            networks = [refit(found, body, experiment.whole, together, as_step_callback(progress, "settle"))]
        told = [with_shared_shape(predict_bodies(n, clip), clip) for n, clip in zip(networks, clips, strict=True)]
        accepted = after_px < found.before_px
        return Answer(concat(told), accepted, torch.stack([found.before_px, after_px], dim=1))

    return Row(adapted, (config, *([then] if then else []), "keep_out"), network=network)


def _accepted(adapted: str, first: str, network: str = "frame") -> Row:
    """The adapted network's answer where the self-check accepts it."""

    def accepted(experiment: Experiment, answers: Answers, progress: ProgressCallback) -> Answer:
        second, clip = answers[adapted], experiment.whole.clip
        assert second.accepted is not None
        return Answer(select_frames(second.accepted[clip], second.parameters, answers[first].parameters))

    return Row(accepted, (), (first, adapted), network)


def _from(row: str, config: str, network: str = "frame") -> Row:
    """Direct optimisation that starts at another row's answer."""

    def optimised(experiment: Experiment, answers: Answers, progress: ProgressCallback) -> Answer:
        return _optimised(experiment, answers[row].parameters, config, progress)

    return Row(optimised, (config,), (row,), network)


def _from_scratch(R: bool, T: bool, config: str) -> Row:
    """The paper's baseline: from random poses, with the true rotation and place of the root to begin with, or not."""

    def optimised(experiment: Experiment, answers: Answers, progress: ProgressCallback) -> Answer:
        start = random_start(experiment.whole, experiment.body.num_betas, experiment.seed)
        if R:
            start = start_from_truth(start, experiment.truth, translation=T)
        return _optimised(experiment, start, config, progress)

    return Row(optimised, (config,), lasts=True)


def _optimised(
    experiment: Experiment, start: BodyParameters, config: str, progress: ProgressCallback
) -> Answer:
    settings = getattr(experiment.config, config)
    return Answer(
        fit(
            experiment.body,
            start,
            experiment.whole,
            settings,
            as_step_callback(progress, "optimise"),
        )
    )


ROWS: dict[str, Row] = {
    "optimisation": _from_scratch(False, False, "optimise"),
    "optimisation_gradient_descent": _from_scratch(False, False, "descend"),
    "optimisation_R": _from_scratch(True, False, "optimise"),
    "optimisation_R_gradient_descent": _from_scratch(True, False, "descend"),
    "optimisation_RT": _from_scratch(True, True, "optimise"),
    "optimisation_RT_gradient_descent": _from_scratch(True, True, "descend"),
    "pretrained": _first("frame"),
    "optimisation_from_network": _from("pretrained", "refine"),
    "self_supervised_all_losses": _adapted("adapt_all"),
    "self_supervised": _adapted("adapt", "adapt_each"),
    "self_supervised_accepted": _accepted("self_supervised", "pretrained"),
    "self_supervised_refined": _from("self_supervised_accepted", "refine_adapted"),
    "temporal": _first("temporal"),
    "temporal_self_supervised": _adapted("adapt", "adapt_each", "temporal"),
    "temporal_self_supervised_accepted": _accepted("temporal_self_supervised", "temporal", "temporal"),
    "temporal_self_supervised_refined": _from(
        "temporal_self_supervised_accepted", "refine_adapted", "temporal"
    ),
}
"""In the paper's order; later rows start from earlier ones."""
