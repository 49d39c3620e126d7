import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.cli.main import main
from selfmocap.datasets.three_dpw import read_three_dpw
from selfmocap.evaluation.evaluate import evaluate
from selfmocap.evaluation.scores import joint_errors, mean_scores
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import wandering_motion
from tests.helpers.recordings import threedpw_data


@pytest.fixture(scope="module")
def truth(body: Body) -> Motion:
    return wandering_motion(body, frames=12)


def changed(body: Body, motion: Motion, parameters: BodyParameters) -> Motion:
    return Motion.from_parameters(
        body, parameters, motion.camera, motion.image_size, motion.frame_times, motion.frame_index
    )


def saved(motion: Motion, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    motion.save(path)
    return path


def scored(estimate: Motion, truth: Motion, folder: Path) -> dict:
    return evaluate(saved(estimate, folder / "e" / "motion.npz"), saved(truth, folder / "t" / "motion.npz"))[
        "all"
    ]


def test_the_truth_has_no_error(truth: Motion, tmp_path: Path) -> None:
    scores = scored(truth, truth, tmp_path)
    assert scores.pop("frames") == 12 and scores.pop("joints") == 24
    assert scores.pop("missing_frames") == scores.pop("extra_frames") == 0
    assert scores.pop("jitter_10m_per_s3") > 0
    scores.pop("foot_slide_mm")  # Of a motion by itself, as jitter.
    assert set(scores) == {
        "w_mpjpe_mm", "wa_mpjpe_mm", "rte_percent",
        "mpjpe_mm", "pa_mpjpe_mm", "absolute_mpjpe_mm", "translation_aligned_mpjpe_mm", "surface_mm",
        "absolute_surface_mm", "acceleration_error_mm_per_frame2", "acceleration_error_m_per_s2",
    }  # fmt: skip
    assert max(scores.values()) < 0.01


def test_a_shift_counts_only_without_alignment(body: Body, truth: Motion, tmp_path: Path) -> None:
    p_world_root = truth.parameters.p_world_root + torch.tensor([0.006, 0.0, -0.008])
    shifted = changed(body, truth, replace(truth.parameters, p_world_root=p_world_root))
    scores = scored(shifted, truth, tmp_path)
    assert scores["absolute_mpjpe_mm"] == scores["absolute_surface_mm"] == pytest.approx(10, abs=1e-2)
    for aligned in ("mpjpe_mm", "pa_mpjpe_mm", "translation_aligned_mpjpe_mm", "surface_mm"):
        assert scores[aligned] < 0.01
    assert scores["acceleration_error_m_per_s2"] < 0.01


def test_a_rotation_counts_until_it_is_aligned(body: Body, truth: Motion, tmp_path: Path) -> None:
    """After 90 degrees about the vertical, the error of each joint is sqrt 2 times its distance from the axis."""
    R = truth.parameters.R_parent_joint.clone()
    R[:, 0] = roma.rotvec_to_rotmat(torch.tensor([0.0, torch.pi / 2, 0.0])) @ R[:, 0]
    scores = scored(changed(body, truth, replace(truth.parameters, R_parent_joint=R)), truth, tmp_path)
    joints = truth.camera.to_world(truth.joints_cam)
    from_axis = (joints - joints[:, :1])[..., [0, 2]].norm(dim=-1).mean()
    assert scores["mpjpe_mm"] == pytest.approx(1000 * 2**0.5 * float(from_axis), rel=1e-3)
    assert scores["pa_mpjpe_mm"] < 0.05


def test_scale_acceleration_and_the_best_translation(truth: Motion) -> None:
    joints, index = truth.joints_cam.double(), truth.frame_index
    root = joints[:, :1]
    grown = joint_errors(root + 1.1 * (joints - root), joints, index, 30.0)
    assert grown["pa_mpjpe_mm"].max() < 1e-6
    assert torch.allclose(grown["mpjpe_mm"], 100 * (joints - root).norm(dim=-1).mean(-1))
    one_joint = joints.clone()
    one_joint[:, JOINT["head"], 0] += 0.024
    errors = joint_errors(one_joint, joints, index, 30.0)
    assert torch.allclose(errors["mpjpe_mm"], torch.tensor(1.0).double())
    assert torch.allclose(errors["translation_aligned_mpjpe_mm"], torch.tensor((23 + 23) / 24).double())
    time = torch.arange(12.0).double()[:, None, None]
    quick = joint_errors(joints + 0.001 * time**2 * torch.tensor([1.0, 0, 0]), joints, index, 30.0)
    assert torch.allclose(quick["acceleration_error_mm_per_frame2"], torch.tensor(2.0).double())
    assert torch.allclose(quick["acceleration_error_m_per_s2"], torch.tensor(1.8).double())


def test_accelerations_do_not_span_gaps(truth: Motion) -> None:
    index = torch.tensor([0, 1, 2, 5, 6, 9, 10, 11, 12, 20, 30, 31])
    errors = joint_errors(truth.joints_cam, truth.joints_cam, index, 30.0)
    assert len(errors["acceleration_error_mm_per_frame2"]) == 3
    alone = joint_errors(truth.joints_cam[:1], truth.joints_cam[:1], index[:1], 0.0)
    assert mean_scores([alone])["acceleration_error_m_per_s2"] is None


def test_missing_frames_are_counted_on_both_sides(truth: Motion, tmp_path: Path) -> None:
    both = scored(truth[2:9], truth[:7], tmp_path)
    assert (both["frames"], both["missing_frames"], both["extra_frames"]) == (5, 2, 2)
    assert both["mpjpe_mm"] < 0.01


def test_clips_match_by_path_and_people_by_position(body: Body, truth: Motion, tmp_path: Path) -> None:
    away = replace(
        truth.parameters, p_world_root=truth.parameters.p_world_root + torch.tensor([0.5, 0.0, 0.0])
    )
    other = changed(body, truth, away)
    for clip in ("a", "deep/b"):
        saved(truth, tmp_path / "t" / clip / "person-1" / "motion.npz")
        saved(other, tmp_path / "t" / clip / "person-2" / "motion.npz")
    saved(other, tmp_path / "e" / "a" / "person-1" / "motion.npz")
    saved(truth, tmp_path / "e" / "a" / "person-2" / "motion.npz")
    saved(truth[:2], tmp_path / "e" / "a" / "person-3" / "motion.npz")
    saved(truth[:6], tmp_path / "e" / "deep" / "b" / "person-1" / "motion.npz")
    saved(truth, tmp_path / "e" / "c" / "motion.npz")
    result = evaluate(tmp_path / "e", tmp_path / "t")
    assert result["all"]["frames"] == 30 and result["all"]["missing_frames"] == 6 + 12
    assert result["all"]["absolute_mpjpe_mm"] < 0.01
    assert result["clips"]["a/person-1"]["estimate"] == "person-2"
    assert result["missing"] == ["deep/b/person-2"] and result["extra"] == ["a/person-3", "c"]


def test_different_bodies_are_scored_by_their_joints(truth: Motion, tmp_path: Path) -> None:
    result = evaluate(
        saved(replace(truth, body="another sha256:0"), tmp_path / "motion.npz"),
        saved(truth, tmp_path / "truth.npz"),
    )
    assert "surface_mm" not in result["all"] and result["all"]["mpjpe_mm"] == 0
    assert "another sha256:0" in result["notes"][0]


def test_exported_amass_has_no_error(body: Body, tmp_path: Path) -> None:
    """A motion of the mean shape with straight hands, compared in the world, since AMASS has no camera."""
    motion = wandering_motion(body, frames=12)
    R = motion.parameters.R_parent_joint.clone()
    R[:, [JOINT["left_hand"], JOINT["right_hand"]]] = torch.eye(3)
    motion = changed(body, motion, BodyParameters(torch.zeros(16), R, motion.parameters.p_world_root))
    export_motion(motion, body, tmp_path, ("amass",))
    (amass,) = tmp_path.glob("*amass*.npz")
    result = evaluate(amass, saved(motion, tmp_path / "motion.npz"))
    scores = result["all"]
    assert scores["frames"] == 12 and "mean shape" in result["notes"][0]
    assert scores["mpjpe_mm"] < 0.1 and scores["absolute_surface_mm"] < 0.1


def test_threedpw_is_scored_by_person_in_valid_frames(body: Body, smpl_path: Path, tmp_path: Path) -> None:
    from tests.helpers.recordings import random_motion

    smpl = Body.load(smpl_path)
    people = [random_motion(5, seed) for seed in (1, 2)]
    (tmp_path / "courtyard.pkl").write_bytes(pickle.dumps(threedpw_data(people, smpl), protocol=2))
    for number, person in enumerate(reversed(read_three_dpw(tmp_path / "courtyard.pkl"))):
        motion = Motion.from_parameters(
            smpl, person.motion.parameters(smpl), person.camera, (1080, 1920), torch.arange(5).double() / 30
        )
        saved(motion, tmp_path / "e" / "courtyard" / f"person-{number + 1}" / "motion.npz")
    (tmp_path / "t").mkdir()
    (tmp_path / "courtyard.pkl").rename(tmp_path / "t" / "courtyard.pkl")
    result = evaluate(tmp_path / "e", tmp_path / "t", smpl_path)
    assert result["all"]["frames"] == 6 and result["all"]["extra_frames"] == 4
    assert result["all"]["absolute_mpjpe_mm"] < 0.01
    assert result["clips"]["courtyard/courtyard_0"]["estimate"] == "person-2"


@pytest.mark.parametrize("wrong", ["no folder", "empty", "names", "rate", "frames", "format"])
def test_sides_that_cannot_be_compared_are_refused_with_a_remedy(
    truth: Motion, tmp_path: Path, wrong: str
) -> None:
    saved(truth, tmp_path / "t" / "a" / "motion.npz")
    saved(truth, tmp_path / "t" / "b" / "motion.npz")
    estimates, says = tmp_path / "e", {
        "no folder": "does not exist", "empty": "no motion in it", "names": "nothing matches: .*x, y.* has a, b",
        "rate": "estimated at 15.000 .* 30.000; resample", "frames": "no frame in common", "format": "expected .*AMASS",
    }[wrong]  # fmt: skip
    if wrong != "no folder":
        estimates.mkdir()
    if wrong == "names":
        saved(truth, estimates / "x" / "motion.npz")
        saved(truth, estimates / "y" / "motion.npz")
    elif wrong == "rate":
        saved(replace(truth, frame_times=truth.frame_times * 2), estimates / "a" / "motion.npz")
    elif wrong == "frames":
        saved(replace(truth, frame_index=truth.frame_index + 100), estimates / "a" / "motion.npz")
    elif wrong == "format":
        np.savez(estimates / "a.npz", x=np.zeros(3))
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        evaluate(estimates, tmp_path / "t")


def test_the_command_prints_a_table_and_writes_json(
    truth: Motion, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    paths = [str(saved(truth, tmp_path / side / "walk" / "motion.npz").parents[1]) for side in ("e", "t")]
    with pytest.raises(SystemExit) as exit_info:
        main(["evaluate", *paths, "--json-out", str(tmp_path / "scores.json")])
    assert exit_info.value.code == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["version"] == 2 and scores["clips"]["walk"]["frames"] == 12
    printed = capsys.readouterr().out
    assert "walk" in printed and "MPJPE" in printed
