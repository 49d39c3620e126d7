import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfmocap.adaptation.adapt import predict_bodies
from selfmocap.adaptation.fit import FitConfig, fit
from selfmocap.adaptation.objective import gather_fitting_data
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import named_pose
from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.geometry.camera import Camera, project
from selfmocap.geometry.lens import Lens
from selfmocap.geometry.rotations import interpolate
from selfmocap.geometry.tensors import concat
from selfmocap.io.stage_cache import StageRecord
from selfmocap.losses.keypoint_residuals import keypoint_residuals_px
from selfmocap.losses.reprojection import body_mask
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.inference import network_inputs
from selfmocap.pipeline import samples, solve
from selfmocap.pipeline.diagnostics import (
    low_confidence_ranges,
    motion_diagnostics,
)
from selfmocap.pipeline.lens_choice import LensChoice
from selfmocap.pipeline.moving_camera import ShotCamera
from selfmocap.pipeline.samples import SAMPLE_BLOCK, CapturedPerson, needed_images, sample_frames
from selfmocap.pipeline.solve import Estimate, PersonChoice
from selfmocap.pipeline.summary import REPORT_VERSION, capture_report, read_report
from selfmocap.tracking.observations import Observations, spread_rows

# ---- samples and windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "most"), [(7, 20), (20, 20), (41, 20), (1000, 100), (18000, 1500)])
def test_a_sample_is_spread_from_the_first_frame_to_the_last(count: int, most: int) -> None:
    rows = spread_rows(count, most, SAMPLE_BLOCK)
    assert len(rows) <= max(most, SAMPLE_BLOCK)
    assert (rows.diff() >= 1).all()
    assert rows[0] == 0
    assert count <= most or rows[-1] == count - 1 or most < 2 * SAMPLE_BLOCK
    assert len(rows) == count or (rows.diff() == 1).float().mean() > 0.9


def turning(frames: int) -> BodyParameters:
    fraction = torch.linspace(0, 1, frames)
    R = interpolate(torch.eye(3).expand(24, 3, 3), named_pose("squat"), fraction[:, None])
    return BodyParameters(torch.zeros(frames, 16), R, torch.stack([fraction, 1 - fraction, fraction], dim=1))


def test_equal_windows_blend_to_the_original() -> None:
    whole = turning(30)
    parts: list[BodyParameters] = []
    for begin, end, overlap in ((0, 12, 0), (8, 24, 4), (20, 30, 4)):
        parts = solve.append_blended(parts, whole[begin:end], overlap)
    found = concat(parts)
    torch.testing.assert_close(found.R_parent_joint, whole.R_parent_joint, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.p_world_root, whole.p_world_root)


def test_different_windows_blend_without_a_step() -> None:
    whole = turning(30)
    other = BodyParameters(whole.betas, whole.R_parent_joint, whole.p_world_root + 0.1)
    found = concat(solve.append_blended([whole[:20]], other[10:], 10))
    steps = found.p_world_root.diff(dim=0) - whole.p_world_root.diff(dim=0)
    assert len(found.p_world_root) == 30
    assert steps.abs().max() < 0.1 / 10


def test_a_fixed_shape_stays(standing: Motion, body: Body, tmp_path: Path) -> None:
    person = person_of(exact_observations(standing, body), tmp_path)
    network = FrameNetwork(NetworkConfig(trunk="none", rgb=False))
    data = gather_fitting_data([person.clip(person.observations, network)])
    start = replace(predict_bodies(network, data), betas=torch.full((12, 16), 0.3))
    found = fit(body, start, data, FitConfig(steps=3, free_shape=False))
    torch.testing.assert_close(found.betas, start.betas)
    assert (found.R_parent_joint - start.R_parent_joint).abs().max() > 1e-3


def test_a_corrector_reads_the_images_once(
    standing: Motion, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = person_of(exact_observations(standing, body), tmp_path)
    network = FrameNetwork(NetworkConfig(trunk="none", rgb=False, corrector=True)).eval()
    expected = network_inputs(person.rows(torch.arange(12)), person.camera, network)
    some = person.observations[torch.tensor([3, 4, 7])]
    assert needed_images(network, FitConfig().weights) == ()
    _, first, _ = person.clip(some, network)
    monkeypatch.setattr(samples, "network_inputs", None)
    _, again, _ = person.clip(some, network)
    for found in (first, again):
        torch.testing.assert_close(vars(found), vars(expected[torch.tensor([3, 4, 7])]))


def test_an_estimate_round_trips_through_its_file(tmp_path: Path) -> None:
    whole = turning(5)
    Estimate(whole, whole[1:]).save(tmp_path / "estimate.npz")
    found = Estimate.load(tmp_path / "estimate.npz")
    assert torch.equal(found.before.R_parent_joint, whole.R_parent_joint)
    assert torch.equal(found.after.p_world_root, whole.p_world_root[1:])


# ---- diagnostics -------------------------------------------------------------------------------------------------


@pytest.fixture
def standing(body: Body) -> Motion:
    """Return twelve frames of a person who stands still, three metres away."""
    pose, position = named_pose("arms-down"), torch.tensor([0.0, 0.0, -3.0])
    return Motion.from_parameters(
        body,
        BodyParameters(torch.zeros(16), pose.expand(12, -1, -1, -1), position.expand(12, 3)),
        Camera.looking_along_z(600.0, 640, 480),
        (640, 480),
        torch.arange(12).double() / 30,
    )


def exact_observations(motion: Motion, body: Body) -> Observations:
    frames = len(motion)
    keypoints = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    boxes = torch.tensor([320.0, 240.0, 200.0]).expand(frames, 3)
    return Observations(
        frame_index=motion.frame_index,
        frame_times=motion.frame_times,
        image_size=motion.image_size,
        boxes=boxes,
        keypoint_set="coco-23",
        keypoints=keypoints,
        keypoint_confidence=torch.ones(frames, 23),
        masks=body_mask(body, motion.parameters, motion.camera, boxes),
        flow=torch.zeros(frames, 128, 128, 2),
        flow_confidence=torch.ones(frames, 128, 128),
        hand_keypoints=torch.zeros(frames, 2, 21, 2),
        hand_positions=torch.zeros(frames, 2, 21, 3),
        hand_confidence=torch.zeros(frames, 2),
    )


def person_of(seen: Observations, folder: Path) -> CapturedPerson:
    seen.save(folder / "observations.npz")
    return CapturedPerson.load(1, folder, Lens.pinhole(600.0, seen.image_size))


def test_people_with_and_without_hands_are_sampled_together(
    standing: Motion, body: Body, tmp_path: Path
) -> None:
    seen = exact_observations(standing, body)
    without = replace(seen, hand_keypoints=None, hand_positions=None, hand_confidence=None)
    people = []
    for name, observations in (("with", seen), ("without", without)):
        (tmp_path / name).mkdir()
        people.append(person_of(observations, tmp_path / name))
    network = FrameNetwork(NetworkConfig(trunk="none", rgb=False))
    _, full = sample_frames(people, network, 100, (), torch.device("cpu"))
    assert len(full) == 2 * len(seen) and full.clip.unique().tolist() == [0, 1]


def test_a_motion_equal_to_the_observations_has_no_error(
    standing: Motion, body: Body, tmp_path: Path
) -> None:
    person = person_of(exact_observations(standing, body), tmp_path)
    found = motion_diagnostics(standing, person, body)
    assert found["keypoint_px"] == pytest.approx(0, abs=1e-3)
    assert found["mask_iou"] == 1
    assert found["flow_px"] == pytest.approx(0, abs=1e-3)
    assert found["jitter"] == pytest.approx(0, abs=1e-3)
    assert low_confidence_ranges(standing, person.observations) == []


def test_known_residuals_are_measured_and_unreliable_frames_listed(
    standing: Motion, body: Body, tmp_path: Path
) -> None:
    seen = exact_observations(standing, body)
    keypoints = seen.keypoints.clone()
    keypoints[5:8, :, 0] += 100
    person = person_of(
        replace(seen, keypoints=keypoints, masks=None, flow=None, flow_confidence=None), tmp_path
    )
    px, total = keypoint_residuals_px(standing, person.observations)
    length = 100 * 128 / 400
    robust = 2 * ((1 + length**2 / 4) ** 0.5 - 1)
    torch.testing.assert_close(px[5:8], torch.full((3,), robust), atol=1e-2, rtol=0)
    assert total.tolist() == [23.0] * 12
    filled = torch.zeros(12, dtype=torch.bool)
    filled[10] = True
    doubtful = replace(standing, filled=filled, confidence=torch.tensor([0.1, *[1.0] * 11]))
    found = low_confidence_ranges(doubtful, person.observations)
    assert [(first, last, why.split(":")[0]) for first, last, why in found] == [
        (0, 0, "low keypoint confidence"),
        (5, 7, "far from the observed keypoints"),
        (10, 10, "not observed"),
    ]
    assert motion_diagnostics(standing, person, body)["mask_iou"] is None
    assert motion_diagnostics(standing, person, body)["flow_px"] is None


def test_the_report_warns_of_partly_visible_people(standing: Motion, body: Body, tmp_path: Path) -> None:
    seen = exact_observations(standing, body)[:3]
    confidence = seen.keypoint_confidence.clone()
    confidence[:, [name.endswith(("knee", "ankle")) for name in keypoint_set("coco-23").names]] = 0.1
    person = person_of(replace(seen, keypoint_confidence=confidence), tmp_path)
    video = {"sha256": "0", "frames": 3, "fps": 30.0, "corrupt_frames": [1]}
    measured = StageRecord(
        "measure-1",
        "",
        {
            "before": {},
            "after": {},
            "pops": {},
            "low_confidence_ranges": [[0, 2, "far"]],
            "stature": 1.7,
            "stature_from": "floor",
        },
        0.5,
    )
    choice = PersonChoice(False, True, False, (0.0,) * 16, None, 1.00001)
    seen_in_shots = {
        "video": video,
        "shots": [{"first_frame": 0, "last_frame": 1}, {"first_frame": 2, "last_frame": 2}],
        "people": [{"shot": 1, "perhaps_person": None}],
    }
    report = capture_report(
        "a.mp4",
        StageRecord("observe", "", seen_in_shots, 1.0),
        [measured],
        [person],
        [choice],
        [measured],
        [standing[:3]],
        [ShotCamera(1, [person], None)],
        LensChoice(person.lens, "default", 0.3, ("a note",)),
    )
    assert report["focal"] == {"px": 600.0, "source": "default", "uncertainty": 0.3}
    assert "a note" in report["warnings"]
    assert report["shots"] == [
        {"first_frame": 0, "last_frame": 1, "camera": {"static": True}},
        {"first_frame": 2, "last_frame": 2, "camera": None},
    ]
    assert report["people"][0]["shot"] == 1 and report["people"][0]["perhaps_person"] is None
    assert report["people"][0]["before"] == {"heldout_reprojection_px": None}
    assert [stage["name"] for stage in report["stages"]] == ["observe", "measure", "total"]
    assert report["stages"][-1] == {"name": "total", "seconds": 1.5, "frames_per_second": 2.0}
    about = " ".join(report["warnings"])
    for part in (
        "1 of the 3 frames are damaged",
        "3 frames only",
        "legs are rarely visible; leg pose is unreliable",
        "3 of 3 frames are unreliable",
    ):
        assert part in about
    assert "arms" not in about


def test_a_report_of_version_1_is_read_with_the_present_names(tmp_path: Path) -> None:
    former = {
        "video": {"path": "a.mp4"},
        "stages": [{"name": name, "seconds": 1.0} for name in ("observe", "clean", "whole")],
        "people": [
            {"before": {"self_check_px": 2.0}, "after": {"self_check_px": 1.0}, "untrusted": [[0, 2, "far"]]}
        ],
        "warnings": [],
    }
    path = tmp_path / "report.json"
    path.write_text(json.dumps(former))
    report = read_report(path)
    assert report["version"] == REPORT_VERSION
    assert [stage["name"] for stage in report["stages"]] == ["observe", "postprocess", "total"]
    assert report["people"] == [
        {
            "before": {"heldout_reprojection_px": 2.0},
            "after": {"heldout_reprojection_px": 1.0},
            "low_confidence_ranges": [[0, 2, "far"]],
        }
    ]
    for version in (2, REPORT_VERSION):
        path.write_text(json.dumps(report | {"version": version}))
        assert read_report(path) == report
    for unreadable in ({**report, "version": 99}, {}):
        path.write_text(json.dumps(unreadable))
        with pytest.raises(ValueError, match="capture the video again"):
            read_report(path)
