from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.io.npz import read_npz, write_npz
from selfmocap.tracking.observations import Observations, concat_observations, iterate_windows, load_rows


@pytest.fixture
def observations() -> Observations:
    frames = 3
    return Observations(
        frame_index=torch.tensor([2, 3, 5]),
        frame_times=torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64),
        image_size=(640, 480),
        boxes=torch.rand(frames, 3) * 100,
        keypoint_set="coco-23",
        keypoints=torch.rand(frames, 23, 2) * 400,
        keypoint_confidence=torch.rand(frames, 23),
        crops=torch.randint(0, 256, (frames, 128, 128, 3), dtype=torch.uint8),
        masks=torch.rand(frames, 128, 128) > 0.5,
        mask_certain=torch.rand(frames, 128, 128) > 0.1,
        flow=torch.randn(frames, 128, 128, 2).half().float(),
        flow_confidence=torch.rand(frames, 128, 128).half().float(),
        hand_keypoints=torch.rand(frames, 2, 21, 2) * 400,
        hand_positions=torch.randn(frames, 2, 21, 3) / 20,
        hand_confidence=torch.rand(frames, 2),
    )


def test_save_and_load_give_the_same_observations(observations: Observations, tmp_path: Path) -> None:
    light = replace(observations, crops=None, masks=None, mask_certain=None, flow=None)
    without_hands = replace(observations, hand_keypoints=None, hand_positions=None, hand_confidence=None)
    for seen in (observations, light, without_hands):
        seen.save(tmp_path / "observations.npz")
        loaded = Observations.load(tmp_path / "observations.npz")
        for name, value in vars(seen).items():
            found = getattr(loaded, name)
            assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value, name


def test_masks_take_one_bit_a_pixel(observations: Observations, tmp_path: Path) -> None:
    observations.save(tmp_path / "observations.npz")
    arrays = read_npz(tmp_path / "observations.npz")
    assert arrays["masks"].nbytes == 3 * 128 * 128 // 8
    assert arrays["flow"].dtype == "float16"


def test_a_part_keeps_what_belongs_to_the_clip(observations: Observations) -> None:
    part = observations[1:]
    assert (len(part), part.image_size, part.keypoint_set) == (2, (640, 480), "coco-23")
    assert torch.equal(part.masks, observations.masks[1:])
    assert observations[[2, 0]].frame_index.tolist() == [5, 2]


def test_a_wrong_number_of_keypoints_is_named(observations: Observations) -> None:
    with pytest.raises(ValueError, match="keypoint set coco-17: expected 17 keypoints, found 23"):
        replace(observations, keypoint_set="coco-17")


def test_damaged_files_are_named(observations: Observations, tmp_path: Path) -> None:
    path = tmp_path / "observations.npz"
    observations.save(path)
    arrays = read_npz(path)
    write_npz(path, arrays | {"boxes": arrays["boxes"][:2]})
    with pytest.raises(ValueError, match=r"boxes has shape \(2, 3\), expected \(3, 3\)"):
        Observations.load(path)
    write_npz(path, arrays | {"masks": arrays["masks"][..., :4]})
    with pytest.raises(ValueError, match="masks has shape"):
        Observations.load(path)
    write_npz(path, arrays | {"hand_keypoints": arrays["hand_keypoints"][:, :1]})
    with pytest.raises(
        ValueError, match=r"hand_keypoints has shape \(3, 1, 21, 2\), expected \(3, 2, 21, 2\)"
    ):
        Observations.load(path)
    write_npz(path, arrays | {"keypoint_set": "nonsense"})
    with pytest.raises(ValueError, match=r"observations\.npz: no keypoint set 'nonsense'"):
        Observations.load(path)
    write_npz(path, arrays | {"masks": arrays["masks"].astype(np.float32)})
    with pytest.raises(ValueError, match="masks is of type float32, expected integers"):
        Observations.load(path)
    write_npz(path, arrays | {"boxes": arrays["boxes"].astype(complex)})
    with pytest.raises(ValueError, match="boxes is of type complex128, expected numbers"):
        Observations.load(path)
    write_npz(path, arrays | {"version": "a"})
    with pytest.raises(ValueError, match="expected the version of .* as a number"):
        Observations.load(path)


def tiled(observations: Observations, times: int) -> Observations:
    many = concat_observations([observations] * times)
    index = torch.arange(len(many))
    return replace(many, frame_index=index, frame_times=index.double() / 30)


def equal(a: Observations, b: Observations) -> bool:
    return all(
        torch.equal(value, getattr(b, name)) if isinstance(value, torch.Tensor) else value == getattr(b, name)
        for name, value in vars(a).items()
    )


def test_windows_are_the_whole_in_overlapping_parts(observations: Observations, tmp_path: Path) -> None:
    many = tiled(observations, 6)
    many.save(tmp_path / "observations.npz")
    found = list(iterate_windows(tmp_path / "observations.npz", length=5, overlap=2))
    assert [(first, len(window)) for first, window in found] == [(0, 5), (3, 7), (8, 7), (13, 5)]
    for first, window in found:
        assert equal(window, many[first : first + len(window)])
    (_, light), *_ = iterate_windows(tmp_path / "observations.npz", length=5, images=("masks",))
    assert light.masks is not None and light.hand_confidence is not None
    assert light.flow is None


def test_some_rows_are_read_as_if_all_were(observations: Observations, tmp_path: Path) -> None:
    many = tiled(observations, 30)
    many.save(tmp_path / "observations.npz")
    rows = torch.tensor([0, 1, 63, 64, 65, 89])
    assert equal(load_rows(tmp_path / "observations.npz", rows), many[rows])


def test_an_image_short_of_frames_is_refused_before_it_is_used(
    observations: Observations, tmp_path: Path
) -> None:
    path = tmp_path / "observations.npz"
    observations.save(path)
    write_npz(path, read_npz(path) | {"crops": np.zeros((2, 128, 128, 3), np.uint8)})
    with pytest.raises(ValueError, match="differ in length"):
        list(iterate_windows(path, length=2))
