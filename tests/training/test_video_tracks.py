import io
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.pseudo_labels import write_shard
from selfmocap.geometry.camera import Camera
from selfmocap.models.inference import default_camera
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.tracking.observations import Observations
from selfmocap.training.temporal_data import (
    CLIPS_PER_SCENE,
    ClipBatch,
)
from selfmocap.training.video_tracks import TrackClips, TrackSet, clean_tracks, load_tracks
from tests.conftest import ROOT
from tests.helpers.programs import start_program

FRAMES = 30


def quiet(stage: str, done: int, total: int) -> None:
    pass


def random_track(
    seed: int, index: torch.Tensor, fps: float = 30.0, size: tuple[int, int] = (640, 480)
) -> Observations:
    """Return a track with random keypoints and confidences."""
    random = torch.Generator().manual_seed(seed)
    frames = len(index)
    place = torch.rand(1, 23, 2, generator=random) * 200 + 200
    masks = torch.zeros(frames, 128, 128, dtype=torch.bool)
    return Observations(
        index,
        index.double() / fps,
        size,
        torch.tensor([320.0, 240.0, 150.0]) + torch.rand(frames, 3, generator=random),
        "coco-23",
        place + 10 * torch.rand(frames, 23, 2, generator=random),
        0.5 + 0.5 * torch.rand(frames, 23, generator=random),
        masks=masks,
        mask_certain=~masks,
    )


def all_tracks() -> dict[str, Observations]:
    """Return tracks: longer and shorter than a shard's samples, of a fast video, with a gap, hidden for a while."""
    hidden = random_track(3, torch.arange(190))
    hidden.keypoint_confidence[70:100] = 0
    every = torch.arange(230)
    return {
        "a/person-1": random_track(0, torch.arange(7, 157)),
        "a/person-2": random_track(1, torch.arange(45)),
        "b/person-1": random_track(2, torch.arange(200), fps=60.0, size=(720, 1280)),
        "c/person-1": hidden,
        "c/person-2": random_track(4, torch.arange(20)),
        "d/person-1": random_track(5, every[(every < 90) | (every > 93)]),
    }


def write_captures(folder: Path, body: Body) -> list[Path]:
    for name, seen in all_tracks().items():
        (folder / name).mkdir(parents=True)
        seen.save(folder / name / "observations.npz")
        frames = int(seen.frame_index[-1]) + 1
        at = torch.zeros(frames, 3)
        parameters = BodyParameters(torch.zeros(16), torch.eye(3).expand(frames, 24, 3, 3), at)
        camera = Camera.looking_along_z(500.0, *seen.image_size)
        times = torch.arange(frames, dtype=torch.float64) / 30
        motion = Motion.from_parameters(body, parameters, camera, seen.image_size, times)
        motion.save(folder / name / "motion.npz")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory, body: Body) -> list[Path]:
    return write_captures(tmp_path_factory.mktemp("captures"), body)


@pytest.fixture
def shards(tmp_path: Path, captures: list[Path]) -> Path:
    """Write shards of one, two and one capture, in their order."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, chosen in (("0", captures[:1]), ("1", captures[1:3]), ("2", captures[3:])):
        write_shard(folder / f"{name}.tar", chosen, quiet)
    return folder


def open_clips(path: Path, index: Path, fraction: float = 1.0) -> TrackClips:
    return TrackClips(load_tracks(path, FRAMES, fraction, index, quiet), FRAMES, 16)


def same(first: TrackClips, second: TrackClips, seeds: range = range(0, 60, 2)) -> bool:
    def tensors(clips: TrackClips, seed: int) -> list[torch.Tensor]:
        made = clips(seed)
        return [x for part in (made.inputs, made.targets) for x in vars(part).values() if x is not None]

    return all(
        torch.equal(a.nan_to_num(-1.0), b.nan_to_num(-1.0))
        for seed in seeds
        for a, b in zip(tensors(first, seed), tensors(second, seed), strict=True)
    )


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_shards_give_the_same_clips_as_their_captures(
    tmp_path: Path, captures: list[Path], shards: Path, fraction: float
) -> None:
    folder, streamed = (
        open_clips(captures[0].parent, tmp_path, fraction),
        open_clips(shards, tmp_path / "index", fraction),
    )
    assert (folder.tracks.num_long_tracks, folder.tracks.num_frames) == (
        streamed.tracks.num_long_tracks,
        streamed.tracks.num_frames,
    )
    assert folder.tracks.num_long_tracks == 7
    assert same(folder, streamed)


def test_a_glob_and_a_single_shard_select_shards(tmp_path: Path, captures: list[Path], shards: Path) -> None:
    for pattern, lengths in (("[01].tar", [150, 45, 100, 70, 90]), ("2.tar", [90, 136])):
        tracks = load_tracks(shards / pattern, FRAMES, 1.0, tmp_path / f"index of {pattern}", quiet)
        assert [len(track) for group in tracks.groups for track in group] == lengths
    with pytest.raises(ValueError, match=r"no shards \(\*.tar\), .*0 observations.npz"):
        load_tracks(shards / "*.tgz", FRAMES, 1.0, tmp_path / "index", quiet)
    with pytest.raises(ValueError, match="1 shards, and in them no track of 200 frames"):
        load_tracks(shards / "0.tar", 200, 1.0, tmp_path / "index", quiet)


def test_a_run_uses_the_shards_of_its_index(tmp_path: Path, captures: list[Path], shards: Path) -> None:
    index = tmp_path / "index"
    before = open_clips(shards, index)
    write_shard(shards / "00.tar", captures[2:], quiet)
    assert same(before, open_clips(shards, index))
    assert open_clips(shards, tmp_path / "other").tracks.num_long_tracks > before.tracks.num_long_tracks
    (shards / "1.tar").write_bytes((shards / "0.tar").read_bytes())
    with pytest.raises(
        ValueError, match=r"1.tar is missing or has changed since this run started; restore it"
    ):
        open_clips(shards, index)
    (shards / "1.tar").unlink()
    with pytest.raises(
        ValueError, match=r"1.tar is missing or has changed since this run started; restore it"
    ):
        open_clips(shards, index)


def test_only_the_samples_of_a_clip_are_read(
    tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = open_clips(shards, tmp_path / "index")
    read, load = [], Observations.load
    monkeypatch.setattr(Observations, "load", lambda *a, **k: read.append(a) or load(*a, **k))
    for seed in range(20):
        clips(seed)
    assert 40 <= len(read) <= 80  # 30 frames of 2 clips, from one or two samples; of fast video, from two.


def training(out: Path, shards: Path, pause: float) -> Any:
    """Start a training of six steps with a checkpoint after every other one."""
    return start_program(ROOT / "tests" / "helpers" / "temporal_run.py", [out, 6, shards, pause])


def ends_well(process: Any) -> bool:
    process.join(240)
    return process.exitcode == 0


def history(out: Path) -> list[dict]:
    path = out / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
def test_a_killed_training_on_shards_resumes_bit_for_bit(
    tmp_path: Path, captures: list[Path], shards: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert ends_well(training(whole, shards, 0.0))
    running = training(killed, shards, 1.5)
    try:
        while len(history(killed)) < 3:
            assert running.is_alive()
            time.sleep(0.02)
    finally:
        running.kill()
        running.join()
    assert 3 <= len(history(killed)) < 6
    write_shard(shards / "3.tar", captures[:2], quiet)  # For later runs.
    assert ends_well(training(killed, shards, 0.0))
    assert history(killed) == history(whole)
    resumed, expected = (
        load_temporal(out / "network.safetensors")[0].state_dict() for out in (killed, whole)
    )
    assert all(torch.equal(resumed[name], expected[name]) for name in resumed)


def rewritten(shard: Path, change: Callable[[str, bytes], tuple[str, bytes]]) -> None:
    with tarfile.open(shard) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]  # pyright: ignore
    with tarfile.open(shard, "w") as tar:
        for name, data in members:
            name, data = change(name, data)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def with_arrays(**others: np.ndarray) -> Callable[[str, bytes], tuple[str, bytes]]:
    """Return a change that replaces arrays of observations."""

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if "observations" not in name:
            return name, data
        arrays = dict(np.load(io.BytesIO(data)))
        file = io.BytesIO()
        np.savez_compressed(file, **arrays | others)
        return name, file.getvalue()

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda name, data: (name, data[: len(data) // 2]), "expected an .npz file"),
        (lambda name, data: (name.replace("a-person-1-0000007", "../x"), data), "not part of a sample"),
        (lambda name, data: (name.replace("-0000007", "-9"), data), None),
        (lambda name, data: (name.replace("person-2-0000000", "person-1-9"), data), "do not follow each other"),
        (with_arrays(keypoints=np.array([object()])), "pickled objects, which are refused"),
        (with_arrays(keypoints=np.full((60, 23, 2), "x")), "expected numbers"),
        (with_arrays(keypoints=np.full((60, 23, 2), np.nan, np.float32)), "not finite|shape"),
        (with_arrays(keypoints=np.zeros((20000, 23, 2), np.float32)), "at most 1048576 bytes"),
        (with_arrays(keypoint_set=np.array("coco-99")), "coco-99"),
    ],
)  # fmt: skip
def test_malformed_samples_are_refused_with_the_name_of_the_shard(
    tmp_path: Path, shards: Path, change: Callable, match: str | None
) -> None:
    rewritten(shards / "0.tar", change)
    if match is None:
        assert open_clips(shards, tmp_path / "index").tracks.num_long_tracks == 7
        return
    with pytest.raises(ValueError, match=match) as refused:
        open_clips(shards, tmp_path / "index")
    assert str(refused.value).startswith(str(shards / "0.tar"))
    assert "delete it and run capture-many" in str(refused.value)


@pytest.mark.parametrize("missing", [512, 10240, 30000, 512 * 60])
def test_a_truncated_shard_is_refused(tmp_path: Path, shards: Path, missing: int) -> None:
    whole = (shards / "1.tar").read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    (shards / "1.tar").write_bytes(whole[: end + 512 - missing])
    with pytest.raises(ValueError, match=r"1.tar: .*; delete it and run capture-many"):
        open_clips(shards, tmp_path / "index")


def test_a_shard_that_is_damaged_during_training_is_named(tmp_path: Path, shards: Path) -> None:
    clips = open_clips(shards, tmp_path / "index")
    for shard in shards.iterdir():
        shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(ValueError, match=r"\d.tar: the sample at byte \d+: .*; delete it and run"):
        clips(0)


def some_track(frames: int, fps: float = 30.0) -> Observations:
    random = torch.Generator().manual_seed(1)
    return Observations(
        frame_index=torch.arange(frames),
        frame_times=torch.arange(frames, dtype=torch.float64) / fps,
        image_size=(640, 480),
        boxes=torch.tensor([320.0, 240.0, 150.0]).repeat(frames, 1),
        keypoint_set="coco-23",
        keypoints=torch.rand(frames, 23, 2, generator=random) * 200 + 200,
        keypoint_confidence=torch.ones(frames, 23),
    )


def test_tracks_are_cut_by_the_papers_rules() -> None:
    track = some_track(700)
    assert [len(piece) for piece in clean_tracks(track)] == [500, 200]
    assert [len(piece) for piece in clean_tracks(some_track(200, fps=60.0))] == [100]
    track.keypoint_confidence[100:120, 4:] = 0  # Four keypoints: the track ends.
    track.keypoint_confidence[300:330, 6:] = 0  # Six: the track continues, but none would start.
    track.keypoint_confidence[650, 1:] = 0  # A single frame has no effect.
    assert [piece.frame_index[[0, -1]].tolist() for piece in clean_tracks(track)] == [
        [0, 99], [120, 619], [620, 699],
    ]  # fmt: skip
    gaps = track[[*range(30), *range(31, 100)]]
    assert [piece.frame_index[[0, -1]].tolist() for piece in clean_tracks(gaps)] == [[31, 99]]
    head = some_track(60)
    head.keypoint_confidence[:, 7:] = 0
    assert clean_tracks(head) == []


def test_tracks_of_a_folder_are_read_and_open_clips(tmp_path: Path, body: Body) -> None:
    (tmp_path / "person-1").mkdir()
    some_track(60).save(tmp_path / "person-1" / "observations.npz")
    tracks = load_tracks(tmp_path, 13, 1.0, tmp_path / "index", lambda *_: None)
    clips = TrackClips(tracks, 13, body.num_betas)(4)
    assert isinstance(clips, ClipBatch) and clips.targets.has_truth.shape == (CLIPS_PER_SCENE, 13)
    assert not clips.targets.has_truth.any() and (clips.targets.keypoint_weight == 1).all()
    assert torch.equal(
        clips.inputs.focal, default_camera(some_track(1), None).focal.expand(CLIPS_PER_SCENE * 13, 2)
    )
    with pytest.raises(ValueError, match="1 observations.npz, and in them no track of 100 frames"):
        load_tracks(tmp_path, 100, 1.0, tmp_path / "index", lambda *_: None)


def test_tracks_are_found_by_frame_and_fractions_are_spread() -> None:
    groups = [[some_track(n) for n in (20, 40, 12)], [], [some_track(n) for n in (13, 30, 16, 17)]]
    tracks = TrackSet(groups, min_frames=13)
    assert (tracks.num_long_tracks, tracks.num_frames) == (6, 136)
    assert [len(tracks.track_at(frame)) for frame in range(136)] == [
        length for length in (20, 40, 13, 30, 16, 17) for _ in range(length)
    ]
    with pytest.raises(IndexError):
        tracks.track_at(136)
    half = TrackSet(groups, min_frames=13, fraction=0.5)
    assert (half.num_long_tracks, half.num_frames) == (6, 20 + 13 + 16)
    assert TrackSet(groups, min_frames=13, fraction=0.0).num_frames == 0
