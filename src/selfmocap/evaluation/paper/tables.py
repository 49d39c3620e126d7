"""Tables 1 and 2: the errors of all rows on the same clips (Tung et al. 2017, section 4)."""

import time
from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, eq=False)
class TableRun:
    """What to compute a table with, and where."""

    name: str
    """`table1` or `table2`."""
    out: Path
    """Output folder. The estimate of each row is stored in `out/NAME`. Rows with the same settings, clips and weights
    are not computed again."""
    benchmark: BenchmarkConfig
    weights: Path | None
    """Weights of the frame network; None uses the shipped ones."""
    progress: ProgressCallback
    config: RowConfig | None = None
    """Settings of the rows; None uses the table's."""


@dataclass(frozen=True, eq=False)
class TableClips:
    """Clips that the rows of a table are computed on."""

    protocol: str
    clips: Sequence[BenchmarkClip]
    score: Callable[[BodyParameters, Experiment], dict[str, Any]]
    """From the bodies of all frames to their scores, with `mpjpe_mm` and `clips_mpjpe_mm`."""
    config: RowConfig
    """Settings of the rows, if the run has none."""
    markdown: Callable[[str, Mapping[str, Any]], str]
    """From the table's name and its result to its page."""
    rows: Sequence[str] = tuple(ROWS)
    options: Sequence[str] = ()
    """Options of the command that name the clips."""


def reproduce_table(run: TableRun) -> dict[str, Any]:
    """Compute all rows of a table on synthetic people, and write their scores as JSON, Markdown and a picture."""
    (protocol, config), body = TABLE_PROTOCOLS[run.name], Body.load()
    clips = benchmark_clips(protocol, run.benchmark, clips_folder(run.out, protocol.name), body, run.progress)

    def score(estimate: BodyParameters, experiment: Experiment) -> dict[str, Any]:
        assert experiment.truth is not None
        return score_bodies(body, estimate, experiment.truth, experiment.full)

    return compute_table(run, TableClips(protocol.name, clips, score, config, table_markdown), body)


def compute_table(run: TableRun, table: TableClips, body: Body) -> dict[str, Any]:
    """Compute the rows of a table, write them to `out/NAME.json` as they are finished, then their page and picture, and
    return them."""
    (network, about), (temporal, temporal_about) = load_network(run.weights), load_temporal()
    config = run.config or table.config
    experiment = Experiment.of(table.clips, network, temporal, body, config, run.benchmark.seed)
    header = result_header(run.name, run.benchmark, table.protocol, about["sha256"], table.options)
    weights_sha256 = {"frame": about["sha256"], "temporal": temporal_about["sha256"]}
    needs = {"version": __version__, "benchmark": run.benchmark.as_json()}
    if table.options:
        needs |= {"data": list(table.options), "clips": [clip.name for clip in table.clips]}
    cache = result_cache(run.out, run.name)
    results: dict[str, RowResult] = {}
    result: dict[str, Any] = {}
    for number, row in enumerate(sorted(table.rows, key=lambda row: ROWS[row].is_slow)):
        run.progress(f"{run.name}: rows", number, len(table.rows))
        row_needs = needs | {"weights": weights_sha256[ROWS[row].network]}
        _compute_row(row, cache, row_needs, experiment, results, table.score, run.progress)
        results[row] = load_row(cache.folder / f"{row}.npz")
        result = _result(header, {row: cache.finished[row] for row in ROWS if row in cache.finished})
        write_json(run.out / f"{run.name}.json", result, indent=1)
    run.progress(f"{run.name}: rows", len(table.rows), len(table.rows))
    write_text(run.out / f"{run.name}.md", table.markdown(run.name, result))
    draw_table(run.out / f"{run.name}.png", run.name, result)
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
