"""Tables 1 and 2 of Tung et al. 2017 on the paper's own data: SURREAL and Human3.6M."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.model_folder import find_model
from selfmocap.datasets.labelled.clip import LabelledClip, middle, spread
from selfmocap.datasets.labelled.human36m import human36m_clips
from selfmocap.datasets.labelled.surreal import listed_files, surreal_clip, surreal_files
from selfmocap.datasets.surreal import SURREAL_GENDERS, read_surreal
from selfmocap.evaluation.paper.clips import BenchmarkClip
from selfmocap.evaluation.paper.config import OwnDataConfig
from selfmocap.evaluation.paper.data_report import data_table_markdown
from selfmocap.evaluation.paper.protocols import (
    ClipErrors,
    estimated_points,
    joint_scores,
    mean_over_frames,
    smpl_surface_errors,
)
from selfmocap.evaluation.paper.rows import ROWS, Experiment, RowConfig
from selfmocap.evaluation.paper.tables import TableClips, TableRun, compute_table
from selfmocap.evaluation.scores import FrameErrors

_ROWS_WITHOUT_TRUE_BODIES = tuple(row for row in ROWS if "_R" not in row)
_SURREAL_PROTOCOL = "SURREAL, true keypoints and masks"
_HUMAN36M_PROTOCOL = "Human3.6M, S9 and S11, camera 60457274 at 25 frames a second, true keypoints"


def reproduce_table_on_data(run: TableRun, data: OwnDataConfig) -> dict[str, Any]:
    """Compute table 1 on clips of SURREAL's test split, or table 2 on Human3.6M; write it as JSON, Markdown and
    a picture."""
    body = Body.load()
    read = _surreal_table if run.name == "table1" else _human36m_table
    return compute_table(run, read(run, data, body), body)


def _surreal_table(run: TableRun, data: OwnDataConfig, body: Body) -> TableClips:
    """Read SURREAL. Joints are compared with the file's; surfaces, converted to SMPL, with the user's SMPL model."""
    assert data.surreal is not None
    models, files = _models(data.smpl_model), surreal_files(data.surreal, "test")
    chosen = (
        listed_files(files, data.surreal_list)
        if data.surreal_list
        else [files[index] for index in spread(len(files), run.benchmark.num_clips)]
    )
    clips = []
    for number, path in enumerate(chosen):
        run.progress("read SURREAL", number, len(chosen))
        clips.append(_surreal_clip(path, body, run.benchmark.num_frames, data.surreal_list is not None))
    run.progress("read SURREAL", len(chosen), len(chosen))

    def errors(bodies: BodyParameters, clip: LabelledClip) -> FrameErrors:
        found = joint_scores(estimated_points(body, bodies, clip.joint_set), clip)
        return found | (smpl_surface_errors(bodies, clip, body, models) if models else {})

    return _table(_SURREAL_PROTOCOL, clips, errors, tuple(ROWS), data)


def _surreal_clip(path: Path, body: Body, frames: int, middle_only: bool) -> LabelledClip:
    """Read the frames around the middle of a clip; of the literature's list only the middle frame counts."""
    count = len(read_surreal(path))
    chosen = middle(count, frames)
    clip = surreal_clip(path, body, chosen, flow=True)
    if not middle_only:
        return clip
    return replace(clip, scored=torch.arange(count)[chosen] == count // 2)


def _models(smpl_model: Path | None) -> dict[str, Body]:
    if smpl_model is None:
        return {}
    if not smpl_model.is_dir():
        return dict.fromkeys(SURREAL_GENDERS, Body.load(smpl_model))
    return {gender: Body.load(find_model(smpl_model, gender, ("smpl",))) for gender in SURREAL_GENDERS}


def _human36m_table(run: TableRun, data: OwnDataConfig, body: Body) -> TableClips:
    """Read Human3.6M. The scores are over 17 joints, relative to the pelvis; those named `_14` over 14, relative to the
    middle of the hips. Rows that start from a true rotation are left out: the set has no rotations."""
    assert data.human36m is not None
    clips, benchmark = [], run.benchmark
    for clip in human36m_clips(data.human36m, benchmark.num_frames, benchmark.num_clips, flow=True):
        clips.append(clip)
        run.progress("read Human3.6M", len(clips), benchmark.num_clips)

    def errors(bodies: BodyParameters, clip: LabelledClip) -> FrameErrors:
        points = estimated_points(body, bodies, clip.joint_set)
        fewer = joint_scores(points, clip, "lsp-14")
        return joint_scores(points, clip) | {
            "mpjpe_14_mm": fewer["mpjpe_mm"], "pa_mpjpe_14_mm": fewer["pa_mpjpe_mm"],
        }  # fmt: skip

    return _table(_HUMAN36M_PROTOCOL, clips, errors, _ROWS_WITHOUT_TRUE_BODIES, data)


def _table(
    protocol: str,
    clips: Sequence[LabelledClip],
    errors: Callable[[BodyParameters, LabelledClip], FrameErrors],
    rows: Sequence[str],
    data: OwnDataConfig,
) -> TableClips:
    lengths = [len(clip) for clip in clips]

    def score(estimate: BodyParameters, _: Experiment) -> dict[str, Any]:
        parts = zip(torch.arange(sum(lengths)).split(lengths), clips, strict=True)
        found = [ClipErrors(errors(estimate[rows], clip), clip.name) for rows, clip in parts]
        scores = {name: value and round(value, 3) for name, value in mean_over_frames(found).items()}
        return scores | {
            "frames": sum(len(one.frames["mpjpe_mm"]) for one in found),
            "clips_mpjpe_mm": [round(float(one.frames["mpjpe_mm"].mean()), 3) for one in found],
        }

    benchmark_clips = [BenchmarkClip(c.name, c.observations, c.camera, c.bodies, c.fps) for c in clips]
    options = [f"--{name.replace('_', '-')} {path.name}" for name, path in data.folders().items()]
    return TableClips(protocol, benchmark_clips, score, RowConfig.exact(), data_table_markdown, rows, options)
