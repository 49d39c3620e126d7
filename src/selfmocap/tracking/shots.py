"""Shots: find the cuts and dissolves of a video, and guess which people of different shots are the same.

At a cut the picture changes, and no part of it continues in the next frame or in the frames around it. So neither a
flash, a change of the light, a fast pan nor a person who passes before the camera is a cut.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from selfmocap.tracking.appearance import Histogram, appearance_similarity
from selfmocap.tracking.camera_motion import GreyImage, show_different_scenes
from selfmocap.tracking.dissolves import (
    Dissolve,
    SmallImage,
    dissolve_in,
    distinct_dissolves,
    small_image,
    window_lengths,
)

_FLASH_SECONDS = 0.15
"""Longest disturbance after which the same scene goes on."""
_MIN_FLASH_FRAMES, _MAX_FLASH_FRAMES = 2, 30
_SAME_PERSON_SIMILARITY = 0.85
"""Appearance similarity of two people from which they may be one person."""
_SIMILARITY_MARGIN = 0.08
"""Margin by which they must be more similar than any other pair."""


@dataclass(frozen=True)
class Shot:
    """The frames between two cuts."""

    first_frame: int
    last_frame: int


def shot_starts(thumbnails: Iterable[GreyImage], fps: float) -> list[int]:
    """Find the first frame of each shot, 0 first, from the thumbnails of all frames of a video.

    Between two shots every frame shortly before the cut differs from the first one after it, and the last one before
    from every frame shortly after. A shot that dissolves into the next one ends in the middle of the dissolve."""
    reach = min(max(round(_FLASH_SECONDS * fps), _MIN_FLASH_FRAMES), _MAX_FLASH_FRAMES)
    lengths = window_lengths(fps)
    recent: deque[GreyImage | None] = deque([None] * (2 * reach), maxlen=2 * reach)
    window: deque[tuple[GreyImage, SmallImage]] = deque(maxlen=lengths[-1] + 1)
    cuts = [0]

    def gradual_changes() -> Iterator[Dissolve]:
        """Yield the windows that look like dissolves, and find the cuts on the way."""
        for frame, thumbnail in enumerate(chain(thumbnails, [None] * (reach - 1))):
            recent.append(thumbnail)
            images = list(recent)
            before = [image for image in reversed(images[:reach]) if image is not None]
            after = [image for image in images[reach:] if image is not None]
            if before and after and _is_cut(before, after):
                cuts.append(frame + 1 - reach)
            if thumbnail is not None:
                window.append((thumbnail, small_image(thumbnail)))
                found = _dissolves_at(list(window), lengths, frame)
                yield from (one for one in found if one.first_frame >= cuts[-1])

    dissolves = list(distinct_dissolves(gradual_changes()))
    middles = [
        one.middle for one in dissolves if not any(one.first_frame < c <= one.last_frame for c in cuts)
    ]
    return sorted([*cuts, *middles])


def _dissolves_at(
    window: Sequence[tuple[GreyImage, SmallImage]], lengths: Sequence[int], frame: int
) -> Iterator[Dissolve]:
    """Yield the windows that end at a frame and look like dissolves."""
    for length in lengths:
        if len(window) > length:
            (first, _), *_, (last, _) = part = window[-length - 1 :]
            if (found := dissolve_in([small for _, small in part], (first, last), frame)) is not None:
                yield found


def _is_cut(before: Sequence[GreyImage], after: Sequence[GreyImage]) -> bool:
    """Decide whether two scenes meet; both begin with the frame next to the cut."""
    return all(show_different_scenes(before[0], image) for image in after) and all(
        show_different_scenes(image, after[0]) for image in before[1:]
    )


def shots_between(starts: Sequence[int], end: int) -> list[Shot]:
    """Return the shots that begin at these frames; `end` is the index after the last frame of the video."""
    ends = (*starts[1:], end)
    return [Shot(first, end - 1) for first, end in zip(starts, ends, strict=True)]


def guess_same_people(appearance: Sequence[Histogram], shots: Sequence[int]) -> dict[int, int]:
    """Guess which people were in an earlier shot, by the colours of their clothes alone.

    `appearance` and `shots` have the appearance and the shot of each person; the result maps the index of a person to
    that of the earlier one. There is no guess where two people of one shot look alike."""
    guesses: dict[int, int] = {}
    for person, shot in enumerate(shots):
        for earlier in sorted({one for one in shots if one < shot}, reverse=True):
            match = _match(person, shot, earlier, appearance, shots)
            if match is not None:
                guesses[person] = match
                break
    return guesses


def _match(
    person: int, shot: int, earlier: int, appearance: Sequence[Histogram], shots: Sequence[int]
) -> int | None:
    """Return the person of the earlier shot who looks like a person, if each looks like no other in both shots."""
    there = [other for other in range(len(shots)) if shots[other] == earlier]
    best = max(there, key=lambda other: appearance_similarity(appearance[person], appearance[other]))
    similarity = appearance_similarity(appearance[person], appearance[best])
    rivals = [
        *(appearance_similarity(appearance[person], appearance[other]) for other in there if other != best),
        *(
            appearance_similarity(appearance[other], appearance[best])
            for other in range(len(shots))
            if shots[other] == shot and other != person
        ),
    ]
    is_clear = similarity - max(rivals, default=0.0) >= _SIMILARITY_MARGIN
    return best if similarity >= _SAME_PERSON_SIMILARITY and is_clear else None
