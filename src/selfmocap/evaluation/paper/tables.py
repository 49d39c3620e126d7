"""Tables 1 and 2: the errors of all rows on the same clips (Tung et al. 2017, section 4)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selfmocap._version import __version__
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.evaluation.paper.clips import PAPER_PROTOCOL, SHIFTED_PROTOCOL, BenchmarkClip, benchmark_clips
from selfmocap.evaluation.paper.config import BenchmarkConfig
from selfmocap.evaluation.paper.record import (
    RESULTS_VERSION,
    load_row,
    result_cache,
    result_header,
    save_row,
    write_text,
)
from selfmocap.evaluation.paper.report import draw_table, table_markdown
from selfmocap.evaluation.paper.rows import ROWS, Experiment, RowConfig, RowResult
from selfmocap.evaluation.paper.scores import regressions, score_bodies
from selfmocap.io.files import write_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.stage_cache import StageCache, StageRecord
from selfmocap.models.checkpoints import load_network
from selfmocap.models.temporal_inference import load_temporal

TABLE_PROTOCOLS = {"table1": (PAPER_PROTOCOL, RowConfig.exact()), "table2": (SHIFTED_PROTOCOL, RowConfig())}
_IMPROVED_SCORES = ("mpjpe_mm", "surface_mm")


def reproduce_table(
    name: str,
    out: Path,
    benchmark: BenchmarkConfig,
    weights: Path | None,
    progress: ProgressCallback,
    config: RowConfig | None = None,
) -> dict[str, Any]:
    """Compute all rows of `table1` or `table2`, and write their scores as JSON, Markdown and a picture.

    The estimate of each row is stored in `out/NAME`. Rows with the same settings, clips and weights are not computed
    again."""
    (protocol, default_config), body = TABLE_PROTOCOLS[name], Body.load()
    clips = benchmark_clips(protocol, benchmark, clips_folder(out, protocol.name), body, progress)

    def score(estimate: BodyParameters, experiment: Experiment) -> dict[str, Any]:
        assert experiment.truth is not None
        return score_bodies(body, estimate, experiment.truth, experiment.full)

    table = TableClips(protocol.name, clips, score, config or default_config)
    result = compute_table(name, out, benchmark, weights, progress, table, body)
    write_text(out / f"{name}.md", table_markdown(name, result))
    draw_table(out / f"{name}.png", name, result)
    return result


@dataclass(frozen=True, eq=False)
class TableClips:
    """Clips that the rows of a table are computed on."""

    protocol: str
    clips: Sequence[BenchmarkClip]
    score: Callable[[BodyParameters, Experiment], dict[str, Any]]
    """From the bodies of all frames to their scores, with `mpjpe_mm` and `clips_mpjpe_mm`."""
    config: RowConfig
    rows: Sequence[str] = tuple(ROWS)
    options: Sequence[str] = ()
    """Options of the command that name the clips."""


def compute_table(
    name: str,
    out: Path,
    benchmark: BenchmarkConfig,
    weights: Path | None,
    progress: ProgressCallback,
    table: TableClips,
    body: Body,
) -> dict[str, Any]:
    """Compute the rows of a table, write them to `out/NAME.json` as they are finished, and return them."""
    (network, about), (temporal, temporal_about) = load_network(weights), load_temporal()
    experiment = Experiment.of(table.clips, network, temporal, body, table.config, benchmark.seed)
    header = result_header(name, benchmark, table.protocol, about["sha256"], table.options)
    weights_sha256 = {"frame": about["sha256"], "temporal": temporal_about["sha256"]}
    needs = {"version": __version__, "benchmark": benchmark.as_json()}
    if table.options:
        needs |= {"data": list(table.options), "clips": [clip.name for clip in table.clips]}
    cache = result_cache(out, name)
    results: dict[str, RowResult] = {}
    result: dict[str, Any] = {}
    for number, row in enumerate(sorted(table.rows, key=lambda row: ROWS[row].is_slow)):
        progress(f"{name}: rows", number, len(table.rows))
        row_needs = needs | {"weights": weights_sha256[ROWS[row].network]}
        _compute_row(row, cache, row_needs, experiment, results, table.score, progress)
        results[row] = load_row(cache.folder / f"{row}.npz")
        result = _result(header, {row: cache.finished[row] for row in ROWS if row in cache.finished})
        write_json(out / f"{name}.json", result, indent=1)
    progress(f"{name}: rows", len(table.rows), len(table.rows))
    return result


def clips_folder(out: Path, protocol: str) -> Path:
    """Return the folder of a protocol's clips, which all experiments with that protocol share."""
    return out / f"clips-{protocol.replace(' ', '-')}"


def _compute_row(
    name: str,
    cache: StageCache,
    needs: dict[str, Any],
    experiment: Experiment,
    results: dict[str, RowResult],
    score: Callable[[BodyParameters, Experiment], dict[str, Any]],
    progress: ProgressCallback,
) -> None:
    """Compute a row's estimate and scores as a stage after the rows that it starts from."""
    row, path = ROWS[name], cache.folder / f"{name}.npz"
    all_settings = asdict(experiment.config)
    settings = {field: all_settings[field] for field in row.settings}

    def compute() -> tuple[dict[str, Any], list[Path]]:
        start = time.perf_counter()
        estimate = row.compute(experiment, results, progress)
        seconds = time.perf_counter() - start
        save_row(path, estimate)
        scores = score(estimate.parameters, experiment)
        if estimate.accepted is not None and estimate.heldout_reprojection_px is not None:
            scores["accepted"] = estimate.accepted.tolist()
            scores["heldout_reprojection_px"] = [
                [None if px != px else round(px, 3) for px in clip]
                for clip in estimate.heldout_reprojection_px.tolist()
            ]
        return scores | {"seconds": round(seconds, 1), "settings": settings}, [path]

    cache.run(name, needs | {"settings": settings}, [cache.finished[before] for before in row.after], compute)


def _result(header: dict[str, Any], stages: dict[str, StageRecord]) -> dict[str, Any]:
    rows = {row: stage.result for row, stage in stages.items()}
    seconds = round(sum(row["seconds"] for row in rows.values()), 1)
    result = {"version": RESULTS_VERSION, "about": header | {"seconds": seconds}, "rows": rows}
    if "pretrained" not in rows:
        return result
    first = rows["pretrained"]
    improved = {
        row: scores
        for row, scores in rows.items()
        if row.startswith(("self_supervised", "optimisation_from_network", "temporal"))
    }
    return result | {
        "improvement_percent": {
            row: {
                name: round(100 * (1 - scores[name] / first[name]), 1)
                for name in _IMPROVED_SCORES
                if first.get(name)
            }
            for row, scores in improved.items()
        },
        "regressions": {
            row: regressions(first["clips_mpjpe_mm"], scores["clips_mpjpe_mm"], scores.get("accepted"))
            for row, scores in improved.items()
        },
    }
