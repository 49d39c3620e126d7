"""From observations on disk to motions, by a network that adapts itself to them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfmocap._version import __version__
from selfmocap.adaptation.adapt import (
    Adaptation,
    AdaptConfig,
    adapt,
    as_stage,
    predict,
    settled,
    with_shared_shape,
)
from selfmocap.adaptation.fit import (
    AFTER_ADAPTATION,
    OF_FAST_MOTION,
    OptimiseConfig,
    chosen,
    optimise,
    refined_by_speed,
)
from selfmocap.adaptation.objective import Evidence, checked_and_whole
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.models.checkpoints import shipped_weights
from selfmocap.models.estimator import Estimator, frame_network_of, load_estimator, save_estimator
from selfmocap.models.inference import camera_of, inputs_of, motion_of
from selfmocap.tracking.observations import Observations


@dataclass(frozen=True)
class AdaptFolderConfig:
    """How to adapt to a folder of observations."""

    focal: float | None = None
    """Focal length, px; None assumes 1.2 times the longer side of the image."""
    learn_from: Path | None = None
    """Weights to begin with; None for those that come with the project."""
    save_weights: Path | None = None
    """Where to write the adapted weights."""
    adapt: AdaptConfig | None = None
    """None for the defaults."""


def adapt_folder(
    observations: Path,
    out: Path,
    config: AdaptFolderConfig | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[dict[str, Any]]:
    """Adapts one network to an `observations.npz`, or to all in a folder (but those in folders called `truth`) at once,
    and writes a motion.npz for each to the same place in `out`. A clip whose self-check gets worse keeps the first
    answer; every frame is refined. Gives each clip's name and self-check. Raises FileNotFoundError where there are no
    observations, ValueError for a file that is not one."""
    config = config or AdaptFolderConfig()
    found = observations_in(observations)
    body, (network, about) = Body.load(), load_estimator(config.learn_from or shipped_weights())
    eyes = frame_network_of(network)
    people = [Observations.load(path).in_set(eyes.config.keypoint_set) for path in found.values()]
    cameras = [camera_of(seen, config.focal) for seen in people]
    clips = [
        (seen, inputs_of(seen, camera, eyes), seen.fps) for seen, camera in zip(people, cameras, strict=True)
    ]
    checked, whole = checked_and_whole(clips)

    adaptation = adapt(network, body, checked, config.adapt, as_stage(progress, "adapt"))
    final = settled(adaptation, body, whole, config.adapt, as_stage(progress, "settle"))
    answer = refined(network, adaptation, final, body, checked, whole, progress)
    scores = [_score(name, adaptation, number) for number, name in enumerate(found)]
    for number, (name, seen, camera) in enumerate(zip(found, people, cameras, strict=True)):
        provenance = {"version": __version__, "weights": about["sha256"], **scores[number]}
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        motion_of(body, answer[whole.clip == number], camera, seen, provenance).save(folder / "motion.npz")
    if config.save_weights is not None:
        save_estimator(config.save_weights, final, {"adapted_from": about["sha256"], "clips": scores})
    return scores


def observations_in(path: Path) -> dict[str, Path]:
    """The observations of a file or a folder, by where their motions go."""
    if not path.is_dir():
        return {"person-1": path}
    found = {
        str(place.parent.relative_to(path)): place
        for place in sorted(path.rglob("observations.npz"))
        if place.parent.name != "truth"
    }
    if not found:
        raise FileNotFoundError(f"{path}: no observations.npz in it; observe a video first")
    return {"person-1" if name == "." else name: place for name, place in found.items()}


def refined(
    network: Estimator,
    adaptation: Adaptation,
    final: Estimator,
    body: Body,
    checked: Evidence,
    whole: Evidence,
    progress: Callable[[str, int, int], None],
) -> BodyParameters:
    """Every clip's answer, by the `final` network where the adapted one was accepted, refined frame by frame: as
    smoothly as the keypoints that `checked` keeps out allow."""

    def best(adapted: Estimator, evidence: Evidence) -> BodyParameters:
        first, second = (with_shared_shape(predict(one, evidence), evidence) for one in (network, adapted))
        return chosen(adaptation.accepted[evidence.clip], second, first)

    start = best(final, whole)

    def by(settings: OptimiseConfig) -> BodyParameters:
        return optimise(body, start, whole, settings, as_stage(progress, "refine"))

    if not adaptation.accepted.any():
        return by(OptimiseConfig())
    _, fast = refined_by_speed(body, best(adaptation.network, checked), checked)
    return chosen(fast[whole.clip], by(OF_FAST_MOTION), by(AFTER_ADAPTATION))


def _score(name: str, adaptation: Adaptation, number: int) -> dict[str, Any]:
    before, after = (float(px[number]) for px in (adaptation.before_px, adaptation.after_px))
    checks = {"before": before, "after": after}
    return {
        "clip": name,
        "accepted": bool(adaptation.accepted[number]),
        "self_check_px": {key: round(px, 3) if px == px else None for key, px in checks.items()},
    }
