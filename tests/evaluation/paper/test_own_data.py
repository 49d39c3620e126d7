"""The papers on their own data: look-alikes of each set, the commands on them, and the scores of each protocol."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.adaptation.adapt import AdaptConfig
from selfmocap.adaptation.fit import FitConfig
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.cli.main import main
from selfmocap.datasets.labelled.clip import LabelledClip
from selfmocap.datasets.labelled.human36m import human36m_clips
from selfmocap.datasets.labelled.penn_action import penn_action_clips
from selfmocap.datasets.labelled.surreal import listed_files, surreal_clip, surreal_files
from selfmocap.datasets.labelled.three_dpw import three_dpw_clips
from selfmocap.datasets.three_dpw import read_three_dpw
from selfmocap.evaluation.paper.data_hmmr import clip_errors
from selfmocap.evaluation.paper.protocols import (
    ClipErrors,
    estimated_points,
    joint_scores,
    label_scores,
    mean_over_frames,
    mean_over_sequences,
    smpl_surface_errors,
)
from selfmocap.evaluation.paper.rows import ROWS, RowConfig
from selfmocap.io.pickles import read_pickle
from selfmocap.io.progress import no_progress
from selfmocap.models.config import NetworkConfig
from selfmocap.synthetic import write
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.config import Layout, SynthesizeConfig
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.training import train_frame
from selfmocap.training.surreal_frames import SurrealFrames, load_surreal_frames
from selfmocap.training.train_frame import FrameTrainConfig, train_frame_network

pytestmark = pytest.mark.slow

LAYOUTS: tuple[Layout, ...] = ("surreal", "human36m", "3dpw", "penn")
FRAMES = 6
QUICK = RowConfig(
    adapt=AdaptConfig(epochs=1),
    adapt_all=AdaptConfig(epochs=1),
    adapt_each=None,
    held_out_fraction=0.3,
    refine=FitConfig(1),
    refine_adapted=FitConfig(1),
    optimise=FitConfig(1, 0.03),
    gradient_descent=FitConfig(1, 2e-3, "constant", "gradient descent"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A look-alike of each set with two clips."""
    root = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "procedural_motions", lambda body: procedural_motions(body, 3, 3))
        patch.setattr(write, "procedural_backgrounds", lambda: procedural_backgrounds(3))
        for layout in LAYOUTS:
            write.synthesize(root / layout, SynthesizeConfig(2, FRAMES, 7, layout=layout))
        yield root


@pytest.fixture(scope="module")
def clips(data: Path, body: Body) -> dict[str, LabelledClip]:
    """A clip of each set; of Penn Action the second one, in which more than five keypoints are visible."""
    surreal = surreal_clip(surreal_files(data / "surreal", "test")[0], body, slice(None))
    return {
        "surreal": surreal,
        "human36m": next(human36m_clips(data / "human36m")),
        "3dpw": next(three_dpw_clips(data / "3dpw", body, None)),
        "penn": list(penn_action_clips(data / "penn"))[1],
    }


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main([str(arg) for arg in args])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


# ---- the sets -------------------------------------------------------------------------------------------------


def test_keypoints_are_where_the_joints_are_seen(clips: dict[str, LabelledClip], body: Body) -> None:
    """Within a fifth of a pixel; at their true depth the observed people are in their crops."""
    assert clips["surreal"].bodies is not None and clips["3dpw"].joints is not None
    points = estimated_points(body, clips["surreal"].bodies, "smpl-24")
    pixels = clips["surreal"].camera.project(points)
    assert (pixels - clips["surreal"].observations.keypoints[:, -24:]).abs().max() < 0.2
    assert len(clips["human36m"]) == FRAMES // 2 and clips["human36m"].fps == 25
    for name, clip in clips.items():
        observed = clip.observations
        assert observed.crops is not None and observed.crops.float().std() > 10, name
        inside = (observed.keypoints - observed.boxes[:, None, :2]).abs() < observed.boxes[:, None, 2:]
        assert inside.all(-1)[observed.keypoint_confidence > 0].float().mean() > 0.95, name
    masks = clips["surreal"].observations.masks
    assert masks is not None and 0.05 < masks.float().mean() < 0.6


def test_3dpw_reads_back(data: Path, body: Body) -> None:
    path = data / "3dpw" / "sequenceFiles" / "test" / "clip_00000.pkl"
    (person,) = read_three_dpw(path)
    joints = body.pose(person.motion.on_mean_shape(body)).joints
    written = np.asarray(read_pickle(path)["jointPositions"][0]).reshape(FRAMES, 24, 3)
    assert np.abs(joints.numpy() - written).max() < 1e-4


def test_frames_of_3dpw_count_by_camera_and_visible_joints(
    data: Path, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (person, *_) = read_three_dpw(data / "3dpw" / "sequenceFiles" / "test" / "clip_00000.pkl")
    scores = torch.ones(FRAMES, 18)
    scores[1, 7:] = 0.1
    scores[2, 8:] = 0.1
    assert person.keypoints is not None
    person = replace(
        person,
        keypoints=torch.cat([person.keypoints[..., :2], scores[..., None]], dim=-1),
        camera_valid=torch.arange(FRAMES) != 4,
    )
    monkeypatch.setattr("selfmocap.datasets.labelled.three_dpw.read_three_dpw", lambda _: [person])
    (tmp_path / "x.pkl").touch()
    (clip,) = three_dpw_clips(tmp_path, body, None)
    assert clip.scored is not None and clip.scored.tolist() == [True, False, True, True, False, True]


def test_a_list_selects_clips(data: Path, tmp_path: Path) -> None:
    files, listing = surreal_files(data / "surreal", "test"), tmp_path / "list.txt"
    listing.write_text("run0_clip_00001_c0001.mp4\n\n/data/cmu/test/run0/clip_00000/clip_00000_c0001.mp4\n")
    assert listed_files(files, listing) == files[::-1]
    listing.write_text("run1_clip_00001_c0001.mp4\n")
    with pytest.raises(ValueError, match=r"list.txt, line 1: no clip 'run1_clip_00001"):
        listed_files(files, listing)


# ---- scores ---------------------------------------------------------------------------------------------------


def test_a_perfect_answer_has_no_error(clips: dict[str, LabelledClip], body: Body) -> None:
    for name in ("surreal", "human36m", "3dpw"):
        clip = replace(clips[name], scored=None)
        assert clip.joints is not None
        for joint_set in (None, "lsp-14") if name == "human36m" else (None,):
            scores = joint_scores(clip.joints, clip, joint_set)
            assert max(float(scores[s].max()) for s in scores if s != "acceleration_mm_per_frame2") < 0.01
    labels = torch.cat([clips["penn"].observations.keypoints, torch.ones(FRAMES, 17, 1)], dim=-1)
    pixels = replace(clips["penn"].camera, focal=torch.ones(2), center=torch.zeros(2))
    assert label_scores(labels, replace(clips["penn"], camera=pixels))["pck"].min() == 1
    bodies = clips["surreal"].bodies
    assert bodies is not None
    assert joint_scores(estimated_points(body, bodies, "smpl-24"), clips["surreal"])["mpjpe_mm"].max() < 0.5


@pytest.mark.parametrize(("name", "joint_set", "joints"), [
    ("surreal", None, 24), ("human36m", None, 17), ("human36m", "lsp-14", 14), ("3dpw", None, 14),
])  # fmt: skip
def test_a_displacement_is_the_error(
    clips: dict[str, LabelledClip], name: str, joint_set: str | None, joints: int
) -> None:
    clip = replace(clips[name], scored=None)
    assert clip.joints is not None
    moved = joint_scores(clip.joints + torch.tensor([0.03, 0.0, 0.04]), clip, joint_set)
    assert moved["absolute_mpjpe_mm"].tolist() == pytest.approx([50] * len(clip), abs=0.01)
    for score in ("mpjpe_mm", "pa_mpjpe_mm", "translation_aligned_mpjpe_mm"):
        assert moved[score].max() < 0.01
    wrist = clip.joints.clone()
    wrist[:, {24: 20, 17: 13, 14: 6}[clip.joints.shape[1]], 0] += 0.001 * torch.arange(len(clip)) ** 2
    scores = joint_scores(wrist, clip, joint_set)
    expected = torch.arange(len(clip)) ** 2 / joints
    assert torch.allclose(scores["mpjpe_mm"], expected, atol=0.01)
    assert torch.allclose(scores["acceleration_error_mm_per_frame2"], torch.tensor(2.0 / joints), atol=0.01)
    larger = joint_scores(1.1 * clip.joints, clip, joint_set)
    assert larger["pa_mpjpe_mm"].max() < 0.01 and larger["mpjpe_mm"].min() > 10
    still = joint_scores(clip.joints[:1].expand_as(clip.joints), clip, joint_set)
    assert still["acceleration_mm_per_frame2"].max() < 0.01 < still["acceleration_error_mm_per_frame2"].max()


def test_frames_that_do_not_count_are_left_out(clips: dict[str, LabelledClip]) -> None:
    clip = replace(clips["surreal"], scored=torch.tensor([True, True, True, True, False, True]))
    assert clip.joints is not None
    wrong = clip.joints.clone()
    wrong[4, 1:] += 1.0
    scores = joint_scores(wrong, clip)
    assert scores["mpjpe_mm"].shape == (5,) and scores["mpjpe_mm"].max() < 0.01
    assert scores["acceleration_error_mm_per_frame2"].shape == (2,)


def test_surfaces_are_compared_on_the_users_model(clips: dict[str, LabelledClip], body: Body) -> None:
    """Here the model is the default body: the estimate is converted to itself."""
    clip = clips["surreal"][:2]
    assert clip.smpl is not None
    truth = clip.smpl.parameters
    turn = torch.tensor([[-1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]])
    turned = torch.cat([turn @ truth.R_parent_joint[:, :1], truth.R_parent_joint[:, 1:]], dim=1)
    answer = BodyParameters(truth.betas[0], turned, truth.p_world_root + torch.tensor([0.0, 0.05, 0.0]))
    scores = smpl_surface_errors(answer, clip, body, {clip.smpl.gender: body})
    assert scores["unrotated_surface_mm"].max() < 5 < 50 < scores["surface_mm"].min()
    upright = replace(answer, R_parent_joint=truth.R_parent_joint)
    scores = smpl_surface_errors(upright, clip, body, {clip.smpl.gender: body})
    assert scores["surface_mm"].max() < 5
    assert scores["absolute_surface_mm"].tolist() == pytest.approx([50, 50], abs=5)


def test_sequences_count_the_same_for_the_release_and_frames_for_the_text() -> None:
    errors = [
        ClipErrors({"mpjpe_mm": torch.tensor([10.0] * 3)}, "a"),
        ClipErrors({"mpjpe_mm": torch.tensor([50.0])}, "a"),
        ClipErrors({"mpjpe_mm": torch.tensor([60.0])}, "b"),
        ClipErrors({"mpjpe_mm": torch.tensor([])}, "c"),
    ]
    assert mean_over_sequences(errors) == {"mpjpe_mm": 40.0}
    assert mean_over_frames(errors) == {"mpjpe_mm": pytest.approx(28.0)}


# ---- the commands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("table", "option", "layout"), [
    ("table1", "--surreal", "surreal"), ("table2", "--human36m", "human36m"),
])  # fmt: skip
def test_tables_run_on_their_data(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, option: str, layout: str
) -> None:
    monkeypatch.setattr(RowConfig, "exact", lambda: QUICK)
    (tmp_path / "list.txt").write_text("run0_clip_00001_c0001.mp4\n")
    more = ["--surreal-list", tmp_path / "list.txt"] if table == "table1" else []
    args = (
        "reproduce",
        table,
        option,
        data / layout,
        *more,
        "--out",
        tmp_path,
        "--clips",
        "1",
        "--frames",
        "3",
    )
    assert run(*args) == 0
    result = json.loads((tmp_path / f"{table}.json").read_text())
    rows = result["rows"]
    assert rows.keys() == {row for row in ROWS if table == "table1" or "_R" not in row}
    assert rows["pretrained"]["frames"] == (1 if table == "table1" else 3)
    assert 5 < rows["pretrained"]["mpjpe_mm"] < 600 < rows["optimisation"]["absolute_mpjpe_mm"]
    assert ("mpjpe_14_mm" in rows["pretrained"]) == (table == "table2")
    text = (tmp_path / f"{table}.md").read_text()
    assert "| *pretrained, the paper* | 1" in text and f"{option} {layout}" in text
    assert (tmp_path / f"{table}.png").stat().st_size > 5000


def test_hmmr_runs_on_its_data(
    data: Path, tmp_path: Path, body: Body, clips: dict[str, LabelledClip]
) -> None:
    sets = {"threedpw": "3dpw", "human36m": "human36m", "penn": "penn"}
    options = [part for name, layout in sets.items() for part in (f"--{name}", data / layout)]
    assert run("reproduce", "hmmr", *options, "--out", tmp_path) == 0
    result = json.loads((tmp_path / "hmmr.json").read_text())
    assert result["sets"].keys() == sets.keys()
    for name, part in result["sets"].items():
        assert part["rows"].keys() == {"frame", "temporal", "temporal_windows"} and part["with_images"] == 2
        assert ("pck" in part["rows"]["frame"]) == (name == "penn")
    text = (tmp_path / "hmmr.md").read_text()
    assert "| *the paper, 3DPW* | 116.5 | 72.6 | 15.2 | - |" in text and "## penn: 2 sequences" in text
    bodies = BodyParameters(
        torch.zeros(16), torch.eye(3).expand(FRAMES, 24, 3, 3), torch.tensor([[0.0, 0, 3]])
    )
    assert clip_errors(
        replace(bodies, p_world_root=bodies.p_world_root.expand(FRAMES, 3)), clips["penn"], body
    )


def test_networks_train_and_validate_on_surreal(data: Path, tmp_path: Path) -> None:
    surreal = ("--surreal", data / "surreal")
    args = (
        "--preset",
        "keypoints",
        "--steps",
        "1",
        "--batch",
        "32",
        "--workers",
        "0",
        "--surreal-frames",
        "4",
    )
    assert run("train", *surreal, "--out", tmp_path / "run", *args) == 0
    weights = tmp_path / "run" / "network.safetensors"
    assert run("validate", *surreal, "--weights", weights, "--validation-frames", "4") == 0


def test_the_papers_loss_halves_on_surreal(
    data: Path, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow network of the paper's kind on the frames of two clips."""
    monkeypatch.setattr(train_frame, "fastest_precision", lambda *_: torch.float32)
    network = replace(NetworkConfig.paper(), width=4)
    config = replace(FrameTrainConfig.paper(), network=network, steps=20, learning_rate=3e-4)
    table = load_surreal_frames(data / "surreal", "train", 12, network, body, no_progress)
    totals: list[float] = []
    train_frame_network(
        config, SurrealFrames(table, None), body, tmp_path,
        progress=lambda status: totals.append(status.losses["total"]),
    )  # fmt: skip
    assert np.mean(totals[-5:]) < 0.5 * np.mean(totals[:3])


def test_wrong_data_are_refused(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    for args, match in (
        (("table1", "--penn", data / "penn"), "table1 takes --surreal, found --penn"),
        (("figure3", "--penn", data / "penn"), "figure3 takes no data, found --penn"),
        (("hmmr", "--smpl-model", data), "hmmr takes --human36m or --penn or --threedpw, found --smpl-model"),
        (("hmmr", "--penn", data / "penn", "--train"), "--train is for synthetic people"),
        (("hmmr", "--penn", data / "surreal"), "no labels/*.mat in it"),
        (("hmmr", "--threedpw", data / "penn"), "no *.pkl in it; expected 3DPW's"),
        (("table1", "--surreal", data / "penn"), "no *_info.mat in it; expected SURREAL as unpacked"),
        (("table2", "--human36m", data / "penn"), "no joints of Human3.6M; expected data_3d_h36m.npz"),
    ):
        assert run("reproduce", *args, "--out", tmp_path) == 2
        assert match in capfd.readouterr().err
    assert run("train", "--surreal", data / "surreal", "--motions", data, "--out", tmp_path) == 2
