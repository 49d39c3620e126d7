import io
import itertools
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.pseudo_labels import SHARD_INDEX, PseudoLabels, write_shard
from selfmocap.datasets.shards import FRAMES_PER_SAMPLE
from selfmocap.geometry.camera import Camera
from selfmocap.tracking.observations import Observations
from tests.helpers.random_observations import SIZE, random_observations


def motion(body: Body, frames: int) -> Motion:
    pose = torch.eye(3).expand(frames, 24, 3, 3)
    steps = torch.arange(frames)[:, None] * torch.tensor([0.01, 0.0, 0.0])
    return Motion.from_parameters(
        body,
        BodyParameters(torch.zeros(16), pose, steps + torch.tensor([0.0, 0.0, 3.0])),
        Camera.looking_along_z(50.0, *SIZE),
        SIZE,
        frame_times=torch.arange(frames).double() / 30,
    )


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory, body: Body) -> list[Path]:
    """Captures of two, one and no people, in 150, 40 and 61 frames."""
    folder = tmp_path_factory.mktemp("captures")
    full = motion(body, 200)
    for clip, frames in (("a", (150, 40)), ("b", (61,)), ("c", ())):
        (folder / clip).mkdir()
        for number, count in enumerate(frames, start=1):
            person = folder / clip / f"person-{number}"
            person.mkdir()
            random_observations(count, number).save(person / "observations.npz")
            full[: count + 1].save(person / "motion.npz")
    return [folder / clip for clip in "abc"]


def shards(folder: Path, captures: list[Path]) -> Path:
    with (folder / SHARD_INDEX).open("w") as index:
        for number, clips in enumerate((captures[:1], captures[1:])):
            count = write_shard(folder / f"{number}.tar", clips, lambda *_: None)
            index.write(json.dumps({"shard": f"{number}.tar", "samples": count}) + "\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, captures: list[Path]) -> Path:
    return shards(tmp_path_factory.mktemp("shards"), captures)


def test_samples_are_the_captures_frames(captures: list[Path], folder: Path) -> None:
    labels = PseudoLabels(folder)
    samples = {sample.key: sample for sample in itertools.islice(labels.stream(), len(labels))}
    assert sorted(samples) == [
        "a-person-1-0000000", "a-person-1-0000060", "a-person-1-0000121", "a-person-2-0000000",
        "b-person-1-0000000", "b-person-1-0000061",
    ]  # fmt: skip
    first = [samples[key] for key in sorted(samples) if "a-person-1" in key]
    observed = Observations.load(captures[0] / "person-1" / "observations.npz")
    for name in ("frame_index", "boxes", "keypoints", "keypoint_confidence", "masks", "mask_certain"):
        assert torch.equal(torch.cat([getattr(s.observations, name) for s in first]), getattr(observed, name))
    assert [len(sample.observations) for sample in first] == [FRAMES_PER_SAMPLE, FRAMES_PER_SAMPLE, 30]
    assert all(s.observations.crops is None and s.observations.flow is None for s in first)
    for sample in samples.values():
        low, high = (int(sample.observations.frame_index[row]) for row in (0, -1))
        assert sample.motion.frame_index.tolist() == list(range(low, high + 1))
        assert torch.equal(sample.motion.parameters.p_world_root[:, 0], sample.motion.frame_index * 0.01)


def test_the_same_captures_give_the_same_bytes(tmp_path: Path, captures: list[Path], folder: Path) -> None:
    again = shards(tmp_path, captures)
    assert all((again / f"{n}.tar").read_bytes() == (folder / f"{n}.tar").read_bytes() for n in range(2))


def test_every_epoch_is_every_sample_in_another_order(folder: Path) -> None:
    labels = PseudoLabels(folder)
    keys = [sample.key for sample in itertools.islice(labels.stream(), 5 * len(labels))]
    epochs = [tuple(keys[first : first + len(labels)]) for first in range(0, len(keys), len(labels))]
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(sorted(epochs[0]))}
    assert len(set(epochs)) > 1
    others = [sample.key for sample in itertools.islice(PseudoLabels(folder, seed=1).stream(), len(keys))]
    assert others != keys


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_stopped_stream_resumes_in_any_number_of_processes(folder: Path, processes: int) -> None:
    full = [sample.key for sample in itertools.islice(PseudoLabels(folder).stream(), 18)]
    for used in range(18 // processes):
        streams = [
            PseudoLabels(folder).stream(rank + used * processes, processes) for rank in range(processes)
        ]
        together = [next(streams[n % processes]).key for n in range(18 - used * processes)]
        assert together == full[used * processes :]


def test_webdataset_reads_the_shards(folder: Path) -> None:
    reader = pytest.importorskip("webdataset.tariterators", reason="webdataset is not installed")
    with (folder / "0.tar").open("rb") as first, (folder / "1.tar").open("rb") as second:
        shards = [{"url": "0.tar", "stream": first}, {"url": "1.tar", "stream": second}]
        samples = list(reader.group_by_keys(reader.tar_file_expander(shards)))
    labels = PseudoLabels(folder)
    assert {s["__key__"] for s in samples} == {s.key for s in itertools.islice(labels.stream(), len(labels))}
    for sample in samples:
        with np.load(io.BytesIO(sample["motion.npz"]), allow_pickle=False) as arrays:
            assert arrays["rotations"].shape[1:] == (24, 3, 3)


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ([(link("a.motion.npz"), b"")], "is not part of a sample"),
        ([(tarfile.TarInfo("../../a.pyd"), b"pickled")], "is not part of a sample"),
        ([(tarfile.TarInfo("a.motion.npz"), b"x")], "sample 'a' is not complete"),
        (
            [(tarfile.TarInfo(f"a.{n}.npz"), b"x") for n in ("motion", "observations")],
            "expected an .npz file",
        ),
        (
            [(tarfile.TarInfo(f"{k}.{n}.npz"), b"x") for k in "ab" for n in ("motion", "observations")],
            "found 2",
        ),
    ],
)
def test_hostile_shards_are_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], match: str
) -> None:
    tar_of(tmp_path / "a.tar", *members)
    (tmp_path / SHARD_INDEX).write_text('{"shard": "../a.tar", "samples": 1}\n')
    with pytest.raises(ValueError, match=match):
        PseudoLabels(tmp_path)[0]


@pytest.mark.parametrize(
    ("index", "match"),
    [
        ("[]\n", "expected a JSON line"),
        ("{", "expected a JSON line"),
        ('{"shard": "a", "samples": 0}\n', "no samples"),
    ],
)
def test_a_bad_index_is_refused(tmp_path: Path, index: str, match: str) -> None:
    (tmp_path / SHARD_INDEX).write_text(index)
    with pytest.raises(ValueError, match=match):
        PseudoLabels(tmp_path)


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 1000)
    (tmp_path / SHARD_INDEX).write_text('{"shard": "a.tar", "samples": 1}\n')
    with pytest.raises(ValueError, match="expected a tar file"):
        PseudoLabels(tmp_path)[0]
