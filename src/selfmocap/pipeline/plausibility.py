"""Check whether a capture is plausible; each check returns a warning with its figure and its remedy, or none.

The limits are far from what people do in front of cameras, so that a warning is a reason to look."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.tensors import true_runs
from selfmocap.pipeline.postprocessing.flight import GRAVITY
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, keypoints_world
from selfmocap.tracking.observations import Observations

_LYING_COSINE, _MAX_LYING_FRACTION = 0.5, 0.5
"""Cosine of the angle between the back and the vertical below which a person lies, and fraction of all frames."""
_MAX_SPEED, _SPEED_SECONDS = 12.5, 0.3
"""m/s: the fastest sprinters reach 12.4 (Bolt 2009, over 20 m). It must be exceeded for as long as it is measured."""
_FLIGHT_HEIGHT, _MIN_FLIGHT_RISE, _MIN_FLIGHT_FRAMES = 0.06, 0.08, 6
"""Height of the feet from which a person is in the air, metres; least rise of the pelvis and number of frames from
which a fall is measured."""
_TAKE_OFF_FRAMES, _MAX_MISFIT = 8, 0.1
"""Frames around a flight in which feet touch the ground; largest deviation (rms) from a parabola, of the rise."""
_MAX_GRAVITY_RATIO = 3.4
"""Greatest ratio of a measured acceleration and gravity, or its inverse: less than that of a film at half speed, 4."""
_MAX_FLOOR_RATIO = 1.25
"""Greatest ratio of the heights of the camera above the floors of two people."""
_MAX_FOOT_HEIGHT, _MAX_OFF_FLOOR_FRACTION = 0.25, 0.3
"""Metres above or below the floor of a foot that stands, and fraction of the time."""
_MIN_MASK_IOU = 0.4
_MIN_BEST_CONFIDENCE = 0.5
"""Mean confidence of the better half of the keypoints."""
_LOST_SECONDS, _MIN_LOST_FRAMES = 0.2, 6
"""Time without detection after which a visible person is lost, and its least number of frames."""
_PLAINLY_VISIBLE = 0.9
"""Mean confidence of the better half of the keypoints of a person who is not hidden."""


@dataclass(frozen=True, eq=False)
class CheckedPerson:
    """One person of a capture."""

    number: int
    """From 1."""
    motion: Motion
    """Post-processed."""
    observations: Observations
    """Without images."""
    mask_iou: float | None
    """Overlap of the body and the mask; None without masks."""
    last_frame: int
    """Last frame of the person's shot."""
    in_world: bool

    @property
    def name(self) -> str:
        return f"person {self.number}"


def plausibility_warnings(people: Sequence[CheckedPerson], shots: Sequence[int]) -> list[str]:
    """Return a sentence for each doubt about the people of a video; `shots` has the number of each one's shot."""
    found = [lying_warning(people)]
    for person in people:
        found += [
            speed_warning(person),
            mask_warning(person),
            doubt_warning(person),
            *((gravity_warning(person), off_floor_warning(person)) if person.in_world else ()),
        ]
    for shot in sorted(set(shots)):
        members = [person for person, of in zip(people, shots, strict=True) if of == shot]
        found += [floor_warning(members), *(lost_warning(one, members) for one in members)]
    return [warning for warning in found if warning is not None]


# ---- the film -------------------------------------------------------------------------------------------------


def lying_warning(people: Sequence[CheckedPerson]) -> str | None:
    """Check that people do not lie, or stand on their heads, in most of the frames."""
    if not people:
        return None
    backs = torch.cat([_back(person.motion) for person in people])
    fraction = float((backs[:, 1] < _LYING_COSINE).double().mean())
    if fraction <= _MAX_LYING_FRACTION:
        return None
    angle = math.degrees(math.acos(float(backs[:, 1].median())))
    joints = torch.cat([person.motion.joints_cam for person in people])
    x, y = (joints[:, JOINT["neck"]] - joints[:, JOINT["pelvis"]])[:, :2].mean(0).tolist()
    turn = 180 if y > abs(x) else 270 if x > 0 else 90
    return (
        f"people lie or stand on their heads in {fraction:.0%} of the frames (their backs are {angle:.0f} degrees from "
        f"the vertical): if the film is turned, give --rotate {turn}"
    )


def _back(motion: Motion) -> Float[torch.Tensor, "time 3"]:
    """Return the direction from the pelvis to the neck in the world."""
    joints = motion.camera.to_world(motion.joints_cam)
    return torch.nn.functional.normalize(joints[:, JOINT["neck"]] - joints[:, JOINT["pelvis"]], dim=-1)


# ---- time -----------------------------------------------------------------------------------------------------


def speed_warning(person: CheckedPerson) -> str | None:
    """Check that a person is not faster than any athlete."""
    motion = person.motion
    reach = max(round(_SPEED_SECONDS * nominal_fps(motion.frame_index, motion.frame_times)), 1)
    p = motion.camera.to_world(motion.joints_cam)[:, JOINT["pelvis"]]
    speeds = [
        (p[rows][reach:] - p[rows][:-reach]).norm(dim=-1)
        / (motion.frame_times[rows][reach:] - motion.frame_times[rows][:-reach])
        for rows in consecutive_slices(motion)
    ]
    fastest = torch.cat(speeds).sort(descending=True).values[reach - 1 : reach]
    if not len(fastest) or float(fastest) <= _MAX_SPEED:
        return None
    return (
        f"{person.name} moves at {float(fastest):.0f} m/s, and no athlete is faster than {_MAX_SPEED:g}: check the "
        "rate of the film (--input-fps, --slow-motion), and the person's --height"
    )


def gravity_warning(person: CheckedPerson) -> str | None:
    """Check that a person who jumps before a static camera falls as fast as gravity makes them."""
    acceleration = _fall(person.motion)
    if acceleration is None or 1 / _MAX_GRAVITY_RATIO < acceleration / GRAVITY < _MAX_GRAVITY_RATIO:
        return None
    factor = math.sqrt(GRAVITY / acceleration)
    return (
        f"{person.name} falls at {acceleration:.1f} m/s^2, and gravity is {GRAVITY}: if the film is "
        f"{'slow motion' if factor > 1 else 'faster than life'}, give --slow-motion {factor:.2g}, or its true rate by "
        "--input-fps"
    )


def _fall(motion: Motion) -> float | None:
    """Measure the downward acceleration of the pelvis in flight, m/s^2, by parabolas; None without a clear flight: feet
    that are in contact shortly before and after it, and a path that is a parabola."""
    contact = find_contacts(motion).any(1)
    lowest = keypoints_world(motion, FOOT_POINTS)[..., 1].amin(1)
    height = motion.camera.to_world(motion.joints_cam)[:, JOINT["pelvis"], 1].double().numpy()
    times = motion.frame_times.double().numpy()
    found = []
    for rows in consecutive_slices(motion):
        for start, end in true_runs(lowest[rows] > _FLIGHT_HEIGHT):
            flight = slice(rows.start + start, rows.start + end)
            before = contact[max(flight.start - _TAKE_OFF_FRAMES, rows.start) : flight.start]
            after = contact[flight.stop : min(flight.stop + _TAKE_OFF_FRAMES, rows.stop)]
            rise = np.ptp(height[flight])
            if (
                end - start < _MIN_FLIGHT_FRAMES
                or rise < _MIN_FLIGHT_RISE
                or not (before.any() and after.any())
            ):
                continue
            parabola = np.polynomial.Polynomial.fit(times[flight], height[flight], 2)
            if (height[flight] - parabola(times[flight])).std() < _MAX_MISFIT * rise:
                found.append(-float(parabola.deriv(2)(0.0)))
    acceleration = float(np.median(found)) if found else 0.0
    return acceleration if acceleration > 0 else None


# ---- the floor ------------------------------------------------------------------------------------------------


def floor_warning(people: Sequence[CheckedPerson]) -> str | None:
    """Check that people of one shot stand on one floor below the camera, on average if it moves."""
    drops = {
        person.number: float(person.motion.camera.p_world_cam[..., 1].mean())
        for person in people
        if person.in_world and find_contacts(person.motion).any()
    }
    low, high = (choose(drops, key=lambda n: drops[n], default=0) for choose in (min, max))
    if not drops or drops[low] <= 0 or drops[high] / drops[low] <= _MAX_FLOOR_RATIO:
        return None
    ratio = drops[high] / drops[low]
    return (
        f"the floor lies {drops[low]:.1f} m below the camera at person {low}, and {drops[high]:.1f} m at person {high}"
        f": if they stand on one floor, person {high} is {ratio:.2f} times too large, compared with person {low}; give "
        "their statures by --height, one value a person"
    )


def off_floor_warning(person: CheckedPerson) -> str | None:
    """Check that the feet of a person stand on the floor, y = 0."""
    contacts = find_contacts(person.motion)
    heights = keypoints_world(person.motion, FOOT_POINTS)[..., 1][contacts]
    off = heights.abs() > _MAX_FOOT_HEIGHT
    if not len(heights) or float(off.double().mean()) <= _MAX_OFF_FLOOR_FRACTION:
        return None
    return (
        f"{person.name} stands {float(heights[off].median()):+.1f} m off the floor in "
        f"{float(off.double().mean()):.0%} of the time: if the floor is level, check --focal, and whether the camera "
        "stands still (--static-camera)"
    )


# ---- the person -----------------------------------------------------------------------------------------------


def mask_warning(person: CheckedPerson) -> str | None:
    """Check that the body covers the person."""
    if person.mask_iou is None or person.mask_iou >= _MIN_MASK_IOU:
        return None
    return (
        f"{person.name}: the body and the person's mask overlap by {person.mask_iou:.0%} only; look at overlay.mp4, "
        "and try --quality best"
    )


def doubt_warning(person: CheckedPerson) -> str | None:
    """Check that the detector sees a person."""
    confidence = float(_best_confidence(person.observations).mean())
    if confidence >= _MIN_BEST_CONFIDENCE:
        return None
    return (
        f"{person.name}: the detector doubts (mean confidence {confidence:.2f} of the better half of the keypoints); "
        "it may be no person: look at observations.mp4 (see --overlay all), and try --quality best, or fewer --people"
    )


def lost_warning(person: CheckedPerson, others: Sequence[CheckedPerson]) -> str | None:
    """Check that a person is not lost who is plainly visible, inside the picture and apart from the others."""
    seen, fps = person.observations, person.motion.fps or 1.0
    frames = seen.frame_index.tolist()
    limit = max(round(_LOST_SECONDS * fps), _MIN_LOST_FRAMES)
    confidence = _best_confidence(seen)
    for row, (frame, following) in enumerate(itertools.pairwise([*frames, person.last_frame + 1])):
        if following - frame <= limit or float(confidence[row]) < _PLAINLY_VISIBLE:
            continue
        rivals = [one.observations for one in others if one is not person]
        if _is_inside(seen, row) and not any(_touches(seen, row, other, frame) for other in rivals):
            return (
                f"{person.name} is lost after frame {frame} although plainly visible there; "
                "look at observations.mp4 (see --overlay all), and try --quality best"
            )
    return None


def _best_confidence(observations: Observations) -> Float[torch.Tensor, " time"]:
    """Average the better half of each frame's keypoints."""
    confidence = observations.keypoint_confidence
    return confidence.topk((confidence.shape[1] + 1) // 2, dim=1).values.mean(1)


def _is_inside(observations: Observations, row: int) -> bool:
    """Decide whether the square box of a person lies in the picture."""
    x, y, half = observations.boxes[row].tolist()
    width, height = observations.image_size
    return 0 < x - half and x + half < width and 0 < y - half and y + half < height


def _touches(observations: Observations, row: int, other: Observations, frame: int) -> bool:
    """Decide whether the boxes of two people overlap in a frame."""
    rows = (other.frame_index == frame).nonzero().flatten()
    if not len(rows):
        return False
    apart = (other.boxes[rows[0], :2] - observations.boxes[row, :2]).abs().amax()
    return bool(apart < other.boxes[rows[0], 2] + observations.boxes[row, 2])
