"""Shots: cuts and dissolves are found at their frame; what goes on in the same scene is neither."""

import numpy as np
import pytest

from selfmocap.io.video import open_video
from selfmocap.tracking.camera_motion import grey_thumbnail
from selfmocap.tracking.shots import Shot, guess_same_people, shot_starts, shots_between
from tests.conftest import SHARED_DATA
from tests.helpers.stick_figures import RED, WIDTH, blocks, filmed

Images = list[np.ndarray]


def starts(images: Images) -> list[int]:
    return shot_starts(map(grey_thumbnail, images), fps=30.0)


def still(seed: int, count: int = 10) -> Images:
    """A person who walks before a static camera."""
    background = blocks(seed)
    return [filmed(background, 100, {RED: (100.0 + 3 * k % 150, 100.0)}) for k in range(count)]


def test_cuts_are_found_at_their_frames() -> None:
    assert starts([*still(0), *still(1, 5), *still(2)]) == [0, 10, 15]
    assert starts([*still(0), *still(1), *still(0)]) == [0, 10, 20]
    assert starts([*still(0, 1), *still(1, 1)]) == [0, 1]
    assert starts(still(0, 1)) == [0]


def test_the_scene_goes_on_after_a_flash_or_in_another_light() -> None:
    images = still(0, 20)
    white = np.full_like(images[0], 255)
    assert starts([*images[:8], white, white, white, *images[11:]]) == [0]
    dark = [(0.4 * image).astype(np.uint8) for image in images[10:]]
    assert starts([*images[:10], *dark]) == [0]


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_a_fast_pan_is_no_cut(fraction: float) -> None:
    step = round(fraction * WIDTH)
    assert starts([filmed(blocks(), step * k, {}) for k in range(6)]) == [0]


def test_a_person_who_covers_the_picture_is_no_cut() -> None:
    clothes = blocks(3)[:, : 2 * WIDTH]
    images = []
    for left in range(-2 * WIDTH, WIDTH, 30):
        image = filmed(blocks(), 100, {})
        x0, x1 = max(left, 0), min(left + 2 * WIDTH, WIDTH)
        image[:, x0:x1] = clothes[:, x0 - left : x1 - left]
        images.append(image)
    assert starts(images) == [0]


def mixed(before: Images, after: Images) -> Images:
    """Dissolve one shot into another over all of their frames."""
    weights = np.linspace(0, 1, len(before) + 2)[1:-1]
    return [((1 - w) * a + w * b).astype(np.uint8) for w, a, b in zip(weights, before, after, strict=True)]


@pytest.mark.parametrize("length", [6, 30])
def test_a_shot_ends_in_the_middle_of_a_dissolve(length: int) -> None:
    before, after = still(0, 20 + length), still(1, 20 + length)
    images = [*before[:20], *mixed(before[20:], after[:length]), *after[length:], *still(2)]
    first, middle, cut = starts(images)
    assert (first, cut) == (0, 40 + length)
    assert middle == pytest.approx(20 + length / 2, abs=1)


def test_a_shot_that_fades_out_ends_before_the_next_fades_in() -> None:
    black = [np.zeros_like(still(0, 1)[0])] * 12
    before, after = still(0, 32), still(1, 32)
    images = [*before[:20], *mixed(before[20:], black), *mixed(black, after[:12]), *after[12:]]
    first, middle = starts(images)
    assert first == 0 and middle == pytest.approx(32, abs=3)


def test_a_fade_within_a_scene_is_no_dissolve() -> None:
    images, black = still(0, 64), [np.zeros_like(still(0, 1)[0])] * 12
    assert starts(
        [*images[:20], *mixed(images[20:32], black), *mixed(black, images[32:44]), *images[44:]]
    ) == [0]
    dimmed = [(image * np.linspace(1, 0.3, 64)[k]).astype(np.uint8) for k, image in enumerate(images)]
    assert starts(dimmed) == [0]


@pytest.mark.parametrize("step", [4, 15])
def test_a_pan_is_no_dissolve(step: int) -> None:
    background = blocks()
    assert starts([filmed(background, step * k, {}) for k in range(70) if step * k < WIDTH]) == [0]


def test_shots_between_their_starts() -> None:
    assert shots_between([0, 4], 6) == [Shot(0, 3), Shot(4, 5)]


def histogram(*counts: float) -> np.ndarray:
    values = np.zeros(384, np.float32)
    values[: len(counts)] = np.array(counts) / (2 * sum(counts))
    return values


def test_people_of_other_shots_are_guessed_by_appearance_if_it_is_clear() -> None:
    red, blue, twin = histogram(1, 0), histogram(0, 1), histogram(1, 0.01)
    assert guess_same_people([red, blue, blue, red], [0, 0, 1, 1]) == {2: 1, 3: 0}
    assert guess_same_people([red, red], [0, 0]) == {}
    assert guess_same_people([red, twin, red], [0, 0, 1]) == {}
    assert guess_same_people([red, red, twin], [0, 1, 1]) == {}
    assert guess_same_people([red, blue, red], [0, 1, 2]) == {2: 0}


CLIPS = {
    "clips/ibm_baseball.mp4": [0],
    "clips/sam2_bedroom.mp4": [0],
    "clips/torchcodec_nasa.mp4": [0, 139, 202],
    "troubles/cuts/three_shots.mp4": [0, 45, 90],
    "troubles/crossing/unlike.mp4": [0],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_real_clips(name: str) -> None:
    if not (SHARED_DATA / name).is_file():
        pytest.skip(f"{name} is not in the shared data")
    thumbnails = (grey_thumbnail(frame.image) for frame in open_video(SHARED_DATA / name).frames())
    assert shot_starts(thumbnails, 30.0) == CLIPS[name]
