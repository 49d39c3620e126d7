"""Figure 3: the effect of each loss over the steps of adaptation (Tung et al. 2017, section 4.3)."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap.adaptation.adapt import AdaptConfig, adapt, as_step_callback, predict_bodies, with_shared_shape
from selfmocap.adaptation.objective import LossWeights
from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT
from selfmocap.evaluation.paper.clips import (
    PAPER_PROTOCOL,
    BenchmarkClip,
    benchmark_clips,
    benchmark_fitting_data,
    benchmark_truth,
    weaken_keypoints,
)
from selfmocap.evaluation.paper.config import BenchmarkConfig
from selfmocap.evaluation.paper.record import RESULTS_VERSION, result_cache, result_header, write_text
from selfmocap.evaluation.paper.report import draw_curves, report_heading
from selfmocap.evaluation.paper.tables import clips_folder
from selfmocap.io.files import write_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.stage_cache import StageRecord
from selfmocap.losses.metrics import root_aligned_error
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameNetwork

KEYPOINT_QUALITIES = ("complete", "weak")
"""All true keypoints; or noisy ones, of which a third is missing."""
_SEEDS = (0, 1, 2)


def loss_combinations(weights: LossWeights) -> dict[str, LossWeights]:
    """Return the paper's sums of losses (keypoints, segmentation, motion): without temporal smoothness as in the paper,
    and with it, since it has a similar effect to the motion loss."""
    unsmoothed, keypoints_only = replace(weights, smoothness=0.0), {"segmentation": 0.0, "motion": 0.0}
    return {
        "K": replace(unsmoothed, **keypoints_only),
        "K+S": replace(unsmoothed, motion=0.0),
        "K+S+M": unsmoothed,
        "K, smooth": replace(weights, **keypoints_only),
        "K+S+M, smooth": weights,
    }


def reproduce_figure3(
    out: Path,
    benchmark: BenchmarkConfig,
    weights: Path | None,
    progress: ProgressCallback,
    config: AdaptConfig | None = None,
) -> dict[str, Any]:
    """Adapt with every sum of losses, on complete and on weak keypoints, with three seeds each. Write the error before
    and after every epoch as JSON, Markdown and a picture. Finished runs are not repeated."""
    config, body = config or AdaptConfig(learning_rate=2e-4, weights=LossWeights()), Body.load()
    network, about = load_network(weights)
    clips = benchmark_clips(PAPER_PROTOCOL, benchmark, clips_folder(out, PAPER_PROTOCOL.name), body, progress)
    header = result_header("figure3", benchmark, PAPER_PROTOCOL.name, about["sha256"])
    cache = result_cache(out, "figure3")
    combinations = loss_combinations(config.weights)
    runs = [
        (quality, name, seed) for quality in KEYPOINT_QUALITIES for name in combinations for seed in _SEEDS
    ]
    finished: dict[tuple[str, str, int], StageRecord] = {}
    for number, (quality, name, seed) in enumerate(runs):
        progress("figure3: runs", number, len(runs))
        settings = replace(config, weights=combinations[name], seed=seed)
        needs = {"adapt": asdict(settings), "benchmark": benchmark.as_json(), "weights": about["sha256"]}
        is_weak = quality == "weak"
        shown = [weaken_keypoints(clip, [seed, i]) for i, clip in enumerate(clips)] if is_weak else clips

        def compute(
            clips: Sequence[BenchmarkClip] = shown, settings: AdaptConfig = settings
        ) -> tuple[dict[str, Any], list[Path]]:
            return adaptation_curve(network, body, clips, settings, progress), []

        finished[quality, name, seed] = cache.run(f"{quality}-{name}-{seed}", needs, [], compute)
    progress("figure3: runs", len(runs), len(runs))
    seconds = round(sum(run.seconds for run in finished.values()), 1)
    curves = _average_curves(finished, list(combinations))
    result = {"version": RESULTS_VERSION, "about": header | {"seconds": seconds}, **curves}
    write_json(out / "figure3.json", result, indent=1)
    write_text(out / "figure3.md", _markdown(result))
    draw_curves(
        out / "figure3.png",
        {
            f"{quality} keypoints": {
                name: (curve["steps"], np.array(curve["mpjpe_mm"]))
                for name, curve in result["curves"][quality].items()
            }
            for quality in KEYPOINT_QUALITIES
        },
    )
    return result


def adaptation_curve(
    network: FrameNetwork,
    body: Body,
    clips: Sequence[BenchmarkClip],
    config: AdaptConfig,
    progress: ProgressCallback,
) -> dict[str, list[Any]]:
    """Adapt a network once, and return `steps` and the `mpjpe_mm` after them."""
    data, truth = benchmark_fitting_data(clips, network), benchmark_truth(clips)
    joint_body = body.with_vertices(torch.arange(1))
    true_joints, root = joint_body.pose(truth).joints, JOINT["pelvis"]
    steps: list[int] = []
    errors_mm: list[float] = []

    def on_epoch(step: int, adapted: FrameNetwork) -> None:
        joints = joint_body.pose(with_shared_shape(predict_bodies(adapted, data), data)).joints
        error = root_aligned_error(joints, true_joints, joints[:, root], true_joints[:, root])
        steps.append(step)
        errors_mm.append(round(1000 * float(error.mean()), 3))

    adapt(network, body, data, config, as_step_callback(progress, "adapt"), on_epoch)
    return {"steps": steps, "mpjpe_mm": errors_mm}


def _average_curves(
    finished: dict[tuple[str, str, int], StageRecord], names: Sequence[str]
) -> dict[str, Any]:
    """Compute the means over seeds, and the improvement over keypoints alone."""
    curves: dict[str, dict[str, Any]] = {}
    for quality in KEYPOINT_QUALITIES:
        for name in names:
            runs = [finished[quality, name, seed].result for seed in _SEEDS]
            last = np.array([run["mpjpe_mm"][-1] for run in runs])
            curves.setdefault(quality, {})[name] = {
                "steps": runs[0]["steps"],
                "mpjpe_mm": [run["mpjpe_mm"] for run in runs],
                "before_mm": round(float(np.mean([run["mpjpe_mm"][0] for run in runs])), 3),
                "after_mm": round(float(last.mean()), 3),
                "spread_mm": round(float(last.std(ddof=1)), 3),
            }
    improvement = {
        quality: {
            name: round(
                100 * (1 - curves[quality][name]["after_mm"] / curves[quality][names[0]]["after_mm"]), 1
            )
            for name in names[1:]
        }
        for quality in KEYPOINT_QUALITIES
    }
    return {"curves": curves, "improvement_over_keypoints_percent": improvement}


def _markdown(result: dict[str, Any]) -> str:
    note = f"Error per joint, mm: mean and standard deviation over {len(_SEEDS)} seeds."
    lines = [
        *report_heading("figure3: error over adaptation, by losses", result["about"], note),
        "| keypoints | losses | before | after | % lower than K |",
        "|---|---|---|---|---|",
    ]
    for quality, curves in result["curves"].items():
        for name, curve in curves.items():
            improvement = result["improvement_over_keypoints_percent"][quality].get(name, "")
            after = f"{curve['after_mm']:.1f} ± {curve['spread_mm']:.1f}"
            lines.append(f"| {quality} | {name} | {curve['before_mm']:.1f} | {after} | {improvement} |")
    return "\n".join(lines) + "\n"
