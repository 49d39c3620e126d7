"""Tables 1 and 2: every row's error on the same clips (Tung et al. 2017, section 4)."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfmocap.body_model.body import Body
from selfmocap.evaluation.paper.clips import AS_THE_PAPER, SHIFTED, ClipChoice, benchmark_clips
from selfmocap.evaluation.paper.paper import draw_table, table_in_words
from selfmocap.evaluation.paper.record import (
    about,
    fingerprint,
    load_answer,
    load_json,
    row_fingerprint,
    save_answer,
    save_json,
    save_text,
)
from selfmocap.evaluation.paper.rows import ROWS, Answer, Experiment, RowConfig
from selfmocap.evaluation.paper.scores import harm, scores_of
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.checkpoints import load_network
from selfmocap.models.temporal_inference import load_temporal

PROTOCOLS = {"table1": (AS_THE_PAPER, RowConfig.exact()), "table2": (SHIFTED, RowConfig())}
_LOWERED = ("mpjpe_mm", "surface_mm")


def table(
    what: str,
    out: Path,
    test_set: ClipChoice,
    weights: Path | None,
    progress: ProgressCallback,
    config: RowConfig | None = None,
) -> dict[str, Any]:
    """Runs all rows and writes `table1.json` (or `table2.json`) with the scores of each, the same in words and as a
    picture, and each row's answer. Rows that are there already with the same settings, clips and weights are kept."""
    (protocol, usual), body = PROTOCOLS[what], Body.load()
    config = config or usual
    (network, known), (temporal, known_temporal) = load_network(weights), load_temporal()
    clips = benchmark_clips(protocol, test_set, clips_folder(out, protocol.name), body, progress)
    experiment = Experiment.of(clips, network, temporal, body, config, test_set.seed)
    header = about(what, test_set, protocol.name, known["sha256"])
    on = {
        network: fingerprint(what, test_set.named(), about["sha256"], header["versions"]["selfmocap"])
        for network, about in (("frame", known), ("temporal", known_temporal))
    }
    marks = {row: row_fingerprint(row, config, on) for row in ROWS}
    kept = load_json(out / f"{what}.json").get("rows", {})
    rows = {row: scores for row, scores in kept.items() if scores["fingerprint"] == marks.get(row)}
    answers: dict[str, Answer] = {}
    result: dict[str, Any] = {}
    (out / "answers").mkdir(exist_ok=True)
    for number, row in enumerate(sorted(ROWS, key=lambda row: ROWS[row].lasts)):
        progress(f"{what}: rows", number, len(ROWS))
        path = out / "answers" / f"{what}-{row}.npz"
        answers[row], rows[row] = _row(row, experiment, answers, rows.get(row), path, marks[row], progress)
        result = _result(header, {row: rows[row] for row in ROWS if row in rows})
        save_json(out / f"{what}.json", result)
    progress(f"{what}: rows", len(ROWS), len(ROWS))
    save_text(out / f"{what}.md", table_in_words(what, result))
    draw_table(out / f"{what}.png", what, result)
    return result


def clips_folder(out: Path, protocol: str) -> Path:
    """Where an experiment's clips are kept: experiments of one protocol share them."""
    return out / f"clips-{protocol.replace(' ', '-')}"


def _row(
    row: str, experiment: Experiment, answers: dict[str, Answer], scores: dict[str, Any] | None, path: Path, mark: str,
    progress: ProgressCallback,
) -> tuple[Answer, dict[str, Any]]:  # fmt: skip
    kept = load_answer(path, mark)
    if kept is not None and scores is not None:
        return kept, scores
    start = time.perf_counter()
    answer = ROWS[row].answer(experiment, answers, progress)
    seconds = time.perf_counter() - start
    save_answer(path, answer, mark)
    scores = scores_of(experiment.body, answer.parameters, experiment.truth, experiment.whole)
    if answer.accepted is not None and answer.self_check_px is not None:
        checks = {"accepted": answer.accepted.tolist(), "self_check_px": answer.self_check_px.tolist()}
        scores |= {key: [_short(value) for value in values] for key, values in checks.items()}
    settings = asdict(experiment.config)
    return answer, scores | {
        "seconds": round(seconds, 1),
        "settings": {field: settings[field] for field in ROWS[row].depends_on},
        "fingerprint": mark,
    }


def _short(value: Any) -> Any:
    return [None if px != px else round(px, 3) for px in value] if isinstance(value, list) else value


def _result(header: dict[str, Any], rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    result = {
        "about": header | {"seconds": round(sum(row["seconds"] for row in rows.values()), 1)},
        "rows": rows,
    }
    if "pretrained" not in rows:
        return result
    first = rows["pretrained"]
    after = {
        r: s
        for r, s in rows.items()
        if r.startswith(("self_supervised", "optimisation_from_network", "temporal"))
    }
    return result | {
        "lower_than_pretrained_percent": {
            row: {score: round(100 * (1 - scores[score] / first[score]), 1) for score in _LOWERED}
            for row, scores in after.items()
        },
        "no_harm": {
            row: harm(first["clips_mpjpe_mm"], scores["clips_mpjpe_mm"], scores.get("accepted"))
            for row, scores in after.items()
        },
    }
