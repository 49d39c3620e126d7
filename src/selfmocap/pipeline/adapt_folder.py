"""Adapt a network to observations in files, and write the motions."""

from pathlib import Path
from typing import Any

from selfmocap._version import __version__
from selfmocap.adaptation.adapt import (
    Adaptation,
    AdaptConfig,
    adapt,
    as_step_callback,
    predict_bodies,
    refit,
    with_shared_shape,
)
from selfmocap.adaptation.fit import (
    REFINE,
    REFINE_LOW_SMOOTHNESS,
    FitConfig,
    fit,
    refine_adapted,
    select_frames,
)
from selfmocap.adaptation.objective import FittingData, split_and_full
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.models.checkpoints import shipped_weights
from selfmocap.models.estimator import Estimator, frame_network_of, load_estimator, save_estimator
from selfmocap.models.inference import build_motion, default_camera, network_inputs
from selfmocap.pipeline.config import AdaptFolderConfig
from selfmocap.tracking.observations import Observations


def adapt_folder(
    observations: Path,
    out: Path,
    config: AdaptFolderConfig | None = None,
    progress: ProgressCallback = no_progress,
    adapt_config: AdaptConfig | None = None,
) -> list[dict[str, Any]]:
    """Adapt one network to an `observations.npz`, or to all in a folder together (except in folders called `truth`).

    Writes a motion.npz for each to the same place in `out`. A clip whose held-out error rises keeps the original
    network's estimate. Every frame is refined. Returns each clip's name, acceptance and held-out errors. Raises
    FileNotFoundError where there are no observations, ValueError for a file of another format."""
    config = config or AdaptFolderConfig()
    files = observations_in(observations)
    body, (network, about) = Body.load(), load_estimator(config.init_from or shipped_weights())
    frame_network = frame_network_of(network)
    people = [Observations.load(path).in_set(frame_network.config.keypoint_set) for path in files.values()]
    cameras = [default_camera(person, config.focal) for person in people]
    split, full = split_and_full(
        [
            (person, network_inputs(person, camera, frame_network), person.fps)
            for person, camera in zip(people, cameras, strict=True)
        ]
    )
    adaptation = adapt(network, body, split, adapt_config, as_step_callback(progress, "adapt"))
    refitted = refit(adaptation, body, full, adapt_config, as_step_callback(progress, "refit"))
    estimate = refine_clips(network, adaptation, refitted, body, split, full, progress)
    scores = [_scores(name, adaptation, number) for number, name in enumerate(files)]
    for number, (name, person, camera) in enumerate(zip(files, people, cameras, strict=True)):
        provenance = {"version": __version__, "weights": about["sha256"], **scores[number]}
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        motion = build_motion(body, estimate[full.clip == number], camera, person, provenance)
        motion.save(folder / "motion.npz")
    if config.save_weights is not None:
        save_estimator(config.save_weights, refitted, {"adapted_from": about["sha256"], "clips": scores})
    return scores


def observations_in(path: Path) -> dict[str, Path]:
    """Find the observations of a file or a folder, by the relative folder of their motions."""
    if not path.is_dir():
        return {"person-1": path}
    files = {
        str(file.parent.relative_to(path)): file
        for file in sorted(path.rglob("observations.npz"))
        if file.parent.name != "truth"
    }
    if not files:
        raise FileNotFoundError(f"{path}: expected observations.npz in it, found none; observe a video first")
    return {"person-1" if name == "." else name: file for name, file in files.items()}


def refine_clips(
    network: Estimator,
    adaptation: Adaptation,
    refitted: Estimator,
    body: Body,
    split: FittingData,
    full: FittingData,
    progress: ProgressCallback,
) -> BodyParameters:
    """Refine every frame: from the refit network where the adapted one was accepted, with the smoothness that lowers
    the error of the keypoints that `split` holds out, and from the original network elsewhere."""

    def best(adapted: Estimator, data: FittingData) -> BodyParameters:
        original, other = (with_shared_shape(predict_bodies(one, data), data) for one in (network, adapted))
        return select_frames(adaptation.accepted[data.clip], other, original)

    start = best(refitted, full)

    def refine(config: FitConfig) -> BodyParameters:
        return fit(body, start, full, config, as_step_callback(progress, "refine"))

    if not adaptation.accepted.any():
        return refine(FitConfig())
    _, low_smoothness = refine_adapted(body, best(adaptation.network, split), split)
    return select_frames(low_smoothness[full.clip], refine(REFINE_LOW_SMOOTHNESS), refine(REFINE))


def _scores(name: str, adaptation: Adaptation, number: int) -> dict[str, Any]:
    errors = {"before": float(adaptation.before_px[number]), "after": float(adaptation.after_px[number])}
    return {
        "clip": name,
        "accepted": bool(adaptation.accepted[number]),
        "heldout_reprojection_px": {when: round(px, 3) if px == px else None for when, px in errors.items()},
    }
