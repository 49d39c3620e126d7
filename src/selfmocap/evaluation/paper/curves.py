"""Figure 3: what each loss does, over the steps of adaptation (Tung et al. 2017, section 4.3)."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap.adaptation.adapt import AdaptConfig, adapt, as_step_callback, predict_bodies, with_shared_shape
from selfmocap.adaptation.objective import LossWeights
from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT
from selfmocap.evaluation.paper.clips import (
    AS_THE_PAPER,
    BenchmarkClip,
    ClipChoice,
    benchmark_clips,
    evidence_of,
    truth_of,
    weakened,
)
from selfmocap.evaluation.paper.paper import draw_curves, heading
from selfmocap.evaluation.paper.record import about, fingerprint, once, save_json, save_text
from selfmocap.evaluation.paper.tables import clips_folder
from selfmocap.io.progress import ProgressCallback
from selfmocap.losses.metrics import root_aligned_error
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameNetwork

EVIDENCE = ("complete", "weak")
"""All keypoints as they truly are; or with noise, a third of them missing."""
_SEEDS = (0, 1, 2)


def losses(weights: LossWeights) -> dict[str, LossWeights]:
    """The paper's sums of losses: keypoints, segmentation, motion. As there, without temporal smoothness; and with it,
    since it does what motion does."""
    rough, alone = replace(weights, smoothness=0.0), {"segmentation": 0.0, "motion": 0.0}
    return {
        "K": replace(rough, **alone),
        "K+S": replace(rough, motion=0.0),
        "K+S+M": rough,
        "K, smooth": replace(weights, **alone),
        "K+S+M, smooth": weights,
    }


def figure(
    out: Path,
    test_set: ClipChoice,
    weights: Path | None,
    progress: ProgressCallback,
    config: AdaptConfig | None = None,
) -> dict[str, Any]:
    """Adapts with every sum of losses, on complete and on weak keypoints, three times each; writes `figure3.json` with
    the error before and after every epoch, the same in words and as a picture. Runs that are there are kept."""
    config, body = config or AdaptConfig(learning_rate=2e-4, weights=LossWeights()), Body.load()
    network, known = load_network(weights)
    clips = benchmark_clips(AS_THE_PAPER, test_set, clips_folder(out, AS_THE_PAPER.name), body, progress)
    header = about("figure3", test_set, AS_THE_PAPER.name, known["sha256"])
    (out / "figure3").mkdir(exist_ok=True)
    runs = [(kind, name, seed) for kind in EVIDENCE for name in losses(config.weights) for seed in _SEEDS]
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for number, (kind, name, seed) in enumerate(runs):
        progress("figure3: runs", number, len(runs))
        settings = replace(config, weights=losses(config.weights)[name], seed=seed)
        mark = fingerprint(kind, asdict(settings), test_set.named(), known["sha256"])
        shown = [weakened(clip, [seed, i]) for i, clip in enumerate(clips)] if kind == "weak" else clips
        found[kind, name, seed] = once(
            out / "figure3" / f"{kind}-{name}-{seed}.json",
            mark,
            partial(run, network, body, shown, settings, progress),
        )
    progress("figure3: runs", len(runs), len(runs))
    seconds = round(sum(curve["seconds"] for curve in found.values()), 1)
    result = {"about": header | {"seconds": seconds}, **_gathered(found, list(losses(config.weights)))}
    save_json(out / "figure3.json", result)
    save_text(out / "figure3.md", _in_words(result))
    draw_curves(
        out / "figure3.png",
        {
            f"{kind} keypoints": {
                n: (c["steps"], np.array(c["mpjpe_mm"])) for n, c in result["curves"][kind].items()
            }
            for kind in EVIDENCE
        },
    )
    return result


def run(
    network: FrameNetwork,
    body: Body,
    clips: Sequence[BenchmarkClip],
    config: AdaptConfig,
    progress: ProgressCallback,
) -> dict[str, list[Any]]:
    """One adaptation's `steps`, and the `mpjpe_mm` after them."""
    evidence, truth = evidence_of(clips, network), truth_of(clips)
    bones = body.with_vertices(torch.arange(1))
    true_joints, root = bones.pose(truth).joints, JOINT["pelvis"]
    steps: list[int] = []
    errors_mm: list[float] = []

    def watch(step: int, adapted: FrameNetwork) -> None:
        joints = bones.pose(with_shared_shape(predict_bodies(adapted, evidence), evidence)).joints
        error = root_aligned_error(joints, true_joints, joints[:, root], true_joints[:, root])
        steps.append(step)
        errors_mm.append(round(1000 * float(error.mean()), 3))

    adapt(network, body, evidence, config, as_step_callback(progress, "adapt"), watch)
    return {"steps": steps, "mpjpe_mm": errors_mm}


def _gathered(found: dict[tuple[str, str, int], dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    curves: dict[str, dict[str, Any]] = {}
    for kind in EVIDENCE:
        for name in names:
            each = [found[kind, name, seed] for seed in _SEEDS]
            last = np.array([curve["mpjpe_mm"][-1] for curve in each])
            curves.setdefault(kind, {})[name] = {
                "steps": each[0]["steps"],
                "mpjpe_mm": [curve["mpjpe_mm"] for curve in each],
                "before_mm": round(float(np.mean([curve["mpjpe_mm"][0] for curve in each])), 3),
                "after_mm": round(float(last.mean()), 3),
                "spread_mm": round(float(last.std(ddof=1)), 3),
            }
    lower = {
        kind: {
            name: round(100 * (1 - curves[kind][name]["after_mm"] / curves[kind][names[0]]["after_mm"]), 1)
            for name in names[1:]
        }
        for kind in EVIDENCE
    }
    return {"curves": curves, "lower_than_keypoints_alone_percent": lower}


def _in_words(result: dict[str, Any]) -> str:
    note = f"Error per joint, mm: mean and standard deviation over {len(_SEEDS)} seeds."
    lines = [
        *heading("figure3: error over adaptation, by losses", result["about"], note),
        "| keypoints | losses | before | after | % lower than K |",
        "|---|---|---|---|---|",
    ]
    for kind, curves in result["curves"].items():
        for name, curve in curves.items():
            lower = result["lower_than_keypoints_alone_percent"][kind].get(name, "")
            after = f"{curve['after_mm']:.1f} ± {curve['spread_mm']:.1f}"
            lines.append(f"| {kind} | {name} | {curve['before_mm']:.1f} | {after} | {lower} |")
    return "\n".join(lines) + "\n"
