"""Choose the lens of a video: what the user gives, its metadata, an estimate, or the usual lens of such a video."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from selfmocap.body_model.body import Body
from selfmocap.geometry.focal_prior import (
    FILM_DIAGONAL_MM,
    LogNormal,
    combine,
    focal_of_view,
    focal_prior,
    input_kind,
)
from selfmocap.geometry.lens import Lens
from selfmocap.io.calibration_files import Intrinsics, read_calibration
from selfmocap.io.files import InputError
from selfmocap.io.focal_metadata import read_focal_metadata
from selfmocap.io.lens_options import LensOptions
from selfmocap.io.pictures import is_picture
from selfmocap.io.video import Video
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.pipeline.planted_feet import depth_changes, estimate_focal
from selfmocap.tracking.observations import Observations

FocalSource = Literal["option", "calibration", "metadata", "estimate", "default", "result"]

_FOV_SPREAD, _EQUIVALENT_SPREAD = 0.02, 0.03
"""Relative uncertainty of an angle of view and of a 35 mm equivalent: they are given in whole numbers."""
_MAX_SPREADS = 2.0
_MAX_FRAMES = 1800
"""Frames of each person from which the focal length is estimated."""
_ASPECT_TOLERANCE = 0.01
_MAX_OFF_CENTER = 0.25
"""Fraction of a side by which a principal point may lie off the middle: else the calibration is of another size."""
_MIN_INVERTIBLE = 0.5
"""Fraction of the image that a calibration must be able to undistort."""


@dataclass(frozen=True)
class LensChoice:
    """The lens of a video, and how it is known."""

    lens: Lens
    source: FocalSource
    uncertainty: float
    """Standard deviation of the logarithm of the focal length: 0.1 is about 10 %."""
    notes: tuple[str, ...] = ()
    """Sentences for the user."""

    @property
    def focal_px(self) -> float:
        """Geometric mean of the focal lengths along x and y, px."""
        return math.sqrt(self.lens.focal[0] * self.lens.focal[1])

    def as_report(self) -> dict[str, Any]:
        """Return the entry `focal` of `report.json`."""
        return {
            "px": round(self.focal_px, 1),
            "source": self.source,
            "uncertainty": round(self.uncertainty, 3),
        }

    def as_json(self) -> dict[str, Any]:
        """Return JSON data for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "LensChoice":
        """Read the data of `as_json`."""
        lens: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in data["lens"].items()}
        return cls(Lens(**lens), data["source"], data["uncertainty"], tuple(data["notes"]))


def choose_lens(video: Video, focal: float | None, options: LensOptions) -> LensChoice:
    """Choose the lens by the options (`focal` in px), the file's metadata, or the prior of its kind of input.

    Raises InputError for a calibration that cannot be read or is of other images."""
    size = video.size
    if options.calib is not None:
        return _calibrated(read_calibration(options.calib), video, options.calib)
    for px, spread in _given(size, focal, options):
        return LensChoice(Lens.pinhole(px, size), "option", spread)
    found, note = read_focal_metadata(video.path)
    notes = () if note is None else (note,)
    if found is not None:
        is_video = not (video.path.is_dir() or is_picture(video.path))
        lens = Lens.pinhole(found.diagonals * math.hypot(*size), size)
        return LensChoice(lens, "metadata", found.log_spread, (*notes, *_crop_notes(found.origin, is_video)))
    prior = prior_of(video)
    return LensChoice(Lens.pinhole(prior.median, size), "default", prior.log_spread, notes)


def prior_of(video: Video) -> LogNormal:
    """Return the prior of the focal length by the kind of input, px."""
    pictures = video.path.is_dir() or is_picture(video.path)
    kind = input_kind(*video.size, is_picture=pictures and video.declared_frames == 1)
    return focal_prior(kind).scaled(float(max(video.size)))


def with_estimates(choice: LensChoice, estimates: Sequence[LogNormal]) -> LensChoice:
    """Replace a default by the maximum a posteriori estimate, px; any other lens stays.

    Estimates of any kind enter here: from people who walk, or from a camera that moves. One that is less certain than
    the prior is not used. Nor is one that contradicts it (by more than two spreads of their difference): it is more
    likely wrong than a rare lens."""
    prior = LogNormal(choice.focal_px, choice.uncertainty)
    usable = [one for one in estimates if one.log_spread < prior.log_spread and _agree(one, prior)]
    if choice.source != "default" or not usable:
        return choice
    posterior = combine(prior, *usable)
    lens = Lens.pinhole(posterior.median, choice.lens.size)
    return replace(choice, lens=lens, source="estimate", uncertainty=posterior.log_spread)


def _agree(one: LogNormal, other: LogNormal) -> bool:
    difference = abs(math.log(one.median / other.median))
    return difference <= _MAX_SPREADS * math.hypot(one.log_spread, other.log_spread)


def estimate_lens(choice: LensChoice, people: Sequence[Observations], body: Body) -> LensChoice:
    """Estimate the lens from people before a static camera; see `planted_feet`."""
    network, _ = load_temporal()
    changes = [depth_changes(network, body, one[:_MAX_FRAMES], choice.focal_px) for one in people]
    estimate = estimate_focal(changes)
    return with_estimates(choice, [] if estimate is None else [estimate])


def _given(size: tuple[int, int], focal: float | None, options: LensOptions) -> list[tuple[float, float]]:
    """Return the focal length (px) that the user gives, with its uncertainty."""
    if focal is not None:
        return [(focal, 0.0)]
    if options.fov is not None:
        return [(focal_of_view(options.fov, float(max(size))), _FOV_SPREAD)]
    if options.lens_mm is not None:
        return [(options.lens_mm / FILM_DIAGONAL_MM * math.hypot(*size), _EQUIVALENT_SPREAD)]
    return []


def _crop_notes(origin: str, is_video: bool) -> tuple[str, ...]:
    if not is_video:
        return ()
    return (
        f"the focal length is from the file's metadata: {origin}; if stabilisation or editing cropped the video, it is "
        "longer by up to 15 %: give --focal",
    )


# ---- calibration ----------------------------------------------------------------------------------------------


def _calibrated(found: Intrinsics, video: Video, source: str) -> LensChoice:
    """Choose a calibrated lens, with a sentence for each doubt about it."""
    lens, notes = calibrated_lens(found, video, source), []
    if found.size is None:
        notes.append(f"{source} names no image size; it is taken to be of {video.size} px")
    if _invertible_fraction(lens) < 1:
        notes.append(f"{source}: {_not_inverted(lens)}; keypoints there do not count")
    return LensChoice(lens, "calibration", 0.0, tuple(notes))


def calibrated_lens(found: Intrinsics, video: Video, source: str) -> Lens:
    """Fit a calibration to the frames of a video as they are shown.

    A calibration of another resolution of the same shape is scaled. One of the frames before a quarter turn is turned
    with them. Raises InputError for another shape, or where the distortion cannot be
    inverted in half of the image."""
    lens = Lens(found.size or video.size, found.focal, found.center, found.distortion, found.model)
    width, height = video.size
    if video.rotation in (90, 270) and _has_shape(lens.size, (height, width)) and width != height:
        lens = _turned(lens, video.rotation // 90)
        if video.mirrored:
            lens = _mirrored(lens)
    if not _has_shape(lens.size, video.size):
        raise InputError(
            f"{source}: the calibration is of images of {found.size}, the video has {video.size}; calibrate with the "
            "same camera mode, or crop the video in the same way"
        )
    lens = lens.scaled(video.size)
    if any(
        abs(c - side / 2) > _MAX_OFF_CENTER * side for c, side in zip(lens.center, lens.size, strict=True)
    ):
        raise InputError(
            f"{source}: expected a principal point near the middle of {lens.size} px, found {lens.center}; "
            "add the image size (image_width, image_height) of the calibration to the file"
        )
    if _invertible_fraction(lens) < _MIN_INVERTIBLE:
        raise InputError(f"{source}: {_not_inverted(lens)}")
    return lens


def _invertible_fraction(lens: Lens) -> float:
    """Compute the fraction of the image that can be undistorted."""
    x, y = (torch.linspace(0, side - 1, 17) for side in lens.size)
    return float(lens.undistort(torch.cartesian_prod(x, y)).isfinite().all(-1).float().mean())


def _not_inverted(lens: Lens) -> str:
    return (
        f"the distortion cannot be inverted in {100 * (1 - _invertible_fraction(lens)):.0f} % of the image; calibrate "
        "with points up to the corners, or with other coefficients"
    )


def _has_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    return abs(size[0] / size[1] / (other[0] / other[1]) - 1) < _ASPECT_TOLERANCE


def _turned(lens: Lens, quarter_turns: int) -> Lens:
    """Turn the image counter-clockwise, as `Orientation.apply` does."""
    for _ in range(quarter_turns):
        (width, height), (fx, fy), (cx, cy) = lens.size, lens.focal, lens.center
        distortion = _with_tangential(lens, lambda p1, p2: (-p2, p1))
        lens = replace(
            lens, size=(height, width), focal=(fy, fx), center=(cy, width - 1 - cx), distortion=distortion
        )
    return lens


def _mirrored(lens: Lens) -> Lens:
    """Exchange left and right."""
    center = (lens.size[0] - 1 - lens.center[0], lens.center[1])
    return replace(lens, center=center, distortion=_with_tangential(lens, lambda p1, p2: (p1, -p2)))


def _with_tangential(lens: Lens, change: Any) -> tuple[float, ...]:
    k = lens.distortion
    if lens.model == "fisheye" or len(k) < 4:
        return k
    return (*k[:2], *change(k[2], k[3]), *k[4:])
