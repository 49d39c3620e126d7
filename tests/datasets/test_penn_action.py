import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.cli.main import main
from selfmocap.datasets.penn_action import PENN_ACTION_KEYPOINTS, penn_action_label_files, read_penn_action
from selfmocap.evaluation.pck import evaluate_any, evaluate_keypoints
from selfmocap.geometry.camera import project
from selfmocap.training.video_tracks import TrackClips, load_tracks
from tests.helpers.exported_files import wandering_motion
from tests.helpers.penn_action_files import COCO, JOINTS, film_labels, write_film


def some_points(frames: int = 5) -> np.ndarray:
    return np.random.default_rng(0).uniform(20, 250, (frames, len(COCO.names), 2))


# ---- reading --------------------------------------------------------------------------------------------------


def test_a_video_is_read_with_the_persons_own_left_and_right(tmp_path: Path) -> None:
    points = some_points()
    hidden = np.ones((5, 13), bool)
    hidden[2, 1] = False  # What the set calls the left shoulder.
    video = read_penn_action(write_film(tmp_path, "0007", film_labels(points, visibility=hidden, train=-1)))
    assert (video.name, video.is_train, video.image_size, len(video)) == ("0007", False, (480, 270), 5)
    for name in COCO.names:
        column = PENN_ACTION_KEYPOINTS.index(name)
        assert video.visible[:, column].any() == (name in JOINTS)
        if name in JOINTS:
            np.testing.assert_allclose(video.keypoints[:, column], points[:, COCO.index(name)], rtol=1e-6)
    assert video.visible[:, PENN_ACTION_KEYPOINTS.index("right_shoulder")].tolist() == [
        True,
        True,
        False,
        True,
        True,
    ]
    assert video.visible[:, PENN_ACTION_KEYPOINTS.index("left_shoulder")].all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"visibility": None}, "lacks visibility"),
        ({"x": np.ones((5, 12))}, r"x is float64 of shape \(5, 12\); expected numbers \(5, 13\)"),
        ({"nframes": 6}, r"x is float64 of shape \(5, 13\); expected numbers \(6, 13\)"),
        ({"y": np.full((5, 13), np.nan)}, "y contains values that are not finite"),
        ({"y": np.full((5, 13), 1e9)}, "y contains values that are not finite, or beyond 100000 px"),
        ({"dimensions": [270, 480]}, "dimensions is .* expected 3 numbers"),
        ({"dimensions": [0, 480, 5]}, "dimensions is .* from 1 to"),
        ({"train": "yes"}, "train is "),
        ({"x": {"a": 1}}, "expected plain numbers"),
    ],
)
def test_a_damaged_video_is_refused_by_file_key_and_remedy(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    path = write_film(tmp_path, "0001", film_labels(some_points()) | fields)
    with pytest.raises(ValueError, match=rf"0001\.mat: .*{message}") as error:
        read_penn_action(path)
    assert "again" in str(error.value)


def test_a_video_that_decompresses_to_too_much_is_refused(tmp_path: Path) -> None:
    path = write_film(tmp_path, "0001", film_labels(some_points(), x=np.zeros((1_000_000, 13))))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"0001\.mat.*allowed"):
        read_penn_action(path)


def test_only_the_label_files_of_the_set_are_found(tmp_path: Path) -> None:
    path = write_film(tmp_path / "Penn_Action", "0001", film_labels(some_points()))
    for path_given in (tmp_path / "Penn_Action", path.parent, path):
        assert penn_action_label_files(path_given) == [path]
    assert penn_action_label_files(tmp_path) == penn_action_label_files(tmp_path / "motion.npz") == []


def test_training_videos_are_unlabelled_video(tmp_path: Path, body: Body) -> None:
    points = some_points(1) + 0.5 * np.arange(50)[:, None, None]
    hidden = np.ones((50, 13), bool)
    hidden[:, 5:7] = False  # The wrists.
    write_film(tmp_path, "0001", film_labels(points, visibility=hidden))
    write_film(tmp_path, "0002", film_labels(points, train=-1))
    tracks = load_tracks(tmp_path, 30, 1.0, tmp_path / "index", lambda *_: None)
    assert tracks.num_long_tracks == 1 and tracks.num_frames == 50
    clips = TrackClips(tracks, 30, body.num_betas)(3)
    assert not clips.targets.has_truth.any()
    visible = clips.targets.keypoint_weight[0, 0] > 0
    names = {DEFAULT_KEYPOINTS.names[column] for column in visible.nonzero().squeeze(1).tolist()}
    assert names == set(JOINTS) - {"left_wrist", "right_wrist"}
    limbs = clips.targets.keypoints[0, 0][visible]
    cx, cy, half = clips.targets.boxes[0, 0].tolist()
    assert ((limbs - torch.tensor([cx, cy])).abs() < 2 * half).all()
    with pytest.raises(ValueError, match=r"1 videos of Penn Action, .* no track of 60 frames"):
        load_tracks(tmp_path, 60, 1.0, tmp_path / "index", lambda *_: None)


# ---- scores ---------------------------------------------------------------------------------------------------


def seen_of(motion: Motion) -> np.ndarray:
    """(time, 17, 2) px."""
    columns = [DEFAULT_KEYPOINTS.index(name) for name in COCO.names]
    return project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)[:, columns].numpy()


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    return wandering_motion(body, frames=12)


@pytest.fixture(scope="module")
def films(motion: Motion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training video, a test video of the motion, and a test video with a wrist off by a tenth of the person."""
    root = tmp_path_factory.mktemp("films")
    points = seen_of(motion)
    write_film(root, "0001", film_labels(points))
    write_film(root, "0002", film_labels(points, train=-1))
    off = points.copy()
    joints = points[:, [COCO.index(name) for name in JOINTS]]
    off[:, COCO.index("left_wrist"), 0] += 0.15 * np.linalg.norm(joints.max(1) - joints.min(1), axis=-1)
    write_film(root, "0003", film_labels(off, train=-1))
    return root


def saved(motion: Motion, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    motion.save(folder / "motion.npz")


def test_pck_counts_correct_keypoints_of_the_test_videos(films: Path, motion: Motion, tmp_path: Path) -> None:
    for name in ("0001", "0002", "0003"):
        saved(motion, tmp_path / name / "person-1")
    result = evaluate_any(tmp_path, films, None, lambda *_: None)
    assert set(result["clips"]) == {"0002", "0003"} and result["extra"] == ["0001"]
    assert result["clips"]["0002"]["pck"] == 1.0
    assert result["clips"]["0003"]["pck"] == pytest.approx(11 / 12, abs=1e-4)
    assert result["all"] == {
        "pck": pytest.approx(23 / 24, abs=1e-4), "frames": 24, "missing_frames": 0, "extra_frames": 0,
    }  # fmt: skip


def test_pck_takes_the_person_nearest_to_the_labels_and_counts_frames(
    films: Path, motion: Motion, body: Body, tmp_path: Path
) -> None:
    away = motion.keypoints_cam + torch.tensor([1.5, 0.0, 0.0])
    saved(replace(motion, keypoints_cam=away), tmp_path / "0002" / "person-1")
    saved(motion[3:9], tmp_path / "0002" / "person-2")
    saved(replace(motion, frame_index=motion.frame_index + 6)[:8], tmp_path / "0003" / "person-1")
    result = evaluate_keypoints(tmp_path, films)
    assert result["clips"]["0002"] == {
        "pck": 1.0, "frames": 6, "missing_frames": 6, "extra_frames": 0, "estimate": "person-2",
    }  # fmt: skip
    late = result["clips"]["0003"]
    assert (late["frames"], late["missing_frames"], late["extra_frames"]) == (6, 6, 2)
    with pytest.raises(ValueError, match="has the test clips 0002, 0003"):
        evaluate_keypoints(tmp_path / "0002", films)


def test_the_command_scores_one_video(
    films: Path, motion: Motion, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    motion.save(tmp_path / "motion.npz")
    with pytest.raises(SystemExit) as exit_info:
        main(
            [
                "evaluate",
                str(tmp_path / "motion.npz"),
                str(films / "labels" / "0001.mat"),
                "--json-out",
                str(tmp_path / "s"),
            ]
        )
    assert exit_info.value.code == 0
    assert json.loads((tmp_path / "s").read_text())["all"]["pck"] == 1.0
    printed = capsys.readouterr().out
    assert "PCK" in printed and "100.0 %" in printed and "MPJPE" not in printed
