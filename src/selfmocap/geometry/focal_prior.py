"""The focal length of an unknown camera: a prior over its logarithm, by kind of input, from a table of devices.

A focal length is a fraction of the longer side of the image, which does not depend on its number of pixels. A prior is
normal in the logarithm of that fraction; its median is the default.
"""

import math
from dataclasses import dataclass
from typing import Literal

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
"""Diagonal of a frame of 35 mm film. An equivalent focal length has the same DIAGONAL angle of view (CIPA DCG-001)."""

InputKind = Literal["portrait video", "landscape video", "4:3 video", "wide-screen film", "picture"]

_MIN_FOUR_THIRDS, _MIN_LANDSCAPE, _MIN_FILM = 1.2, 1.45, 2.0
"""Width over height from which a video is called 4:3, landscape (3:2, 16:9) and a wide-screen film."""
_MIN_LOG_SPREAD = 0.25
"""A handful of devices differs less than the videos that people have: they zoom, and crop afterwards."""


@dataclass(frozen=True)
class LogNormal:
    """A focal length that is known up to a factor: its logarithm is normally distributed."""

    median: float
    """A fraction of the longer side, or px."""
    log_spread: float
    """Standard deviation of the natural logarithm; 0.1 is about 10 %."""

    def scaled(self, factor: float) -> "LogNormal":
        """Return the distribution of `factor` times this focal length."""
        return LogNormal(self.median * factor, self.log_spread)


@dataclass(frozen=True)
class Device:
    """What a device films with, and what a video keeps of it."""

    name: str
    kinds: tuple[InputKind, ...]
    focal: float
    """Focal length as a fraction of the longer side of the sensor's image."""
    crop: float = 1.0
    """Longer side of the sensor's image over that of the video."""


def focal_of_equivalent(equivalent_mm: float, aspect: float) -> float:
    """Convert a 35 mm equivalent by the diagonal to a fraction of the longer side.

    `aspect` is the longer over the shorter side of the image that the equivalent is of."""
    return equivalent_mm / FILM_DIAGONAL_MM * math.hypot(1.0, 1.0 / aspect)


def focal_of_view(view_deg: float, side: float = 1.0) -> float:
    """Convert an angle of view (degrees) to the unit of `side`: the length of the image that it spans."""
    return side / 2 / math.tan(math.radians(view_deg) / 2)


_PHONE: tuple[InputKind, ...] = ("portrait video", "landscape video")
_PHOTO: tuple[InputKind, ...] = ("picture",)
_STABILISED = 1.12
"""Crop of a phone's electronic stabilisation: reviews ask for less than 10 % a side in total, and measure 10 to 20."""

DEVICES = (
    # Phones: main camera, 4:3 sensor, photographs uncropped, videos stabilised.
    *(
        Device(name, kinds, focal_of_equivalent(mm, 4 / 3), crop)
        for kinds, crop in ((_PHOTO, 1.0), (_PHONE, _STABILISED))
        for name, mm in (
            ("iPhone 7", 28.0),
            ("iPhone X, 11, 12, 13", 26.0),
            ("iPhone 14 Pro and later", 24.0),
            ("Pixel 6", 25.0),
            ("Galaxy S22, S23", 24.0),
        )
    ),
    # The iPhone 13 mini names the horizontal field of view of its video itself.
    Device("iPhone 13 mini", _PHONE, focal_of_view(69.47), _STABILISED),
    Device("iPhone, 2x", ("portrait video",), 2 * focal_of_equivalent(26.0, 4 / 3), _STABILISED),
    # Cameras: the steps of a zoom of 24 to 105 mm on a frame 36 mm wide, and of a camcorder.
    *(
        Device(f"camera, {mm:g} mm", ("landscape video", "picture"), mm / 36.0)
        for mm in (24.0, 35.0, 50.0, 70.0, 105.0)
    ),
    *(
        Device(f"Sony FDR-AX53, {zoom:g}x", ("landscape video",), zoom * focal_of_equivalent(26.8, 16 / 9))
        for zoom in (1.0, 4.0)
    ),
    # Webcams: the diagonal angle of view of the data sheet is of the widest format, 16:9 or 4:3.
    Device("Logitech C920, 16:9", ("landscape video",), focal_of_view(78.0, math.hypot(1, 9 / 16))),
    Device("Logitech C920, 4:3", ("4:3 video",), focal_of_view(78.0, math.hypot(1, 9 / 16)), 4 / 3),
    Device("Logitech C270", ("4:3 video",), focal_of_view(60.0, 1.25)),
    Device("iPhone 13 mini, 640 x 480", ("4:3 video",), focal_of_view(65.36)),
    Device("Kinect colour", ("4:3 video",), 525 / 640),
    # Films: primes of a set on Super 35 (24.89 mm wide).
    *(Device(f"film, {mm:g} mm", ("wide-screen film",), mm / 24.89) for mm in (21.0, 25.0, 32.0, 40.0, 50.0, 75.0)),
)  # fmt: skip
"""Sources: docs/explanation/lens.md."""


def input_kind(width: int, height: int, is_picture: bool = False) -> InputKind:
    """Name the kind of a video or picture with frames of `width` x `height`, as shown."""
    if is_picture:
        return "picture"
    aspect = width / height
    if aspect < _MIN_FOUR_THIRDS:
        return "portrait video"
    if aspect < _MIN_LANDSCAPE:
        return "4:3 video"
    return "landscape video" if aspect < _MIN_FILM else "wide-screen film"


def focal_prior(kind: InputKind) -> LogNormal:
    """Return the prior of a kind of input, as fractions of the longer side.

    The median is that of the devices of this kind; the spread is their standard deviation, at least 0.1."""
    logs = sorted(math.log(d.focal * d.crop) for d in DEVICES if kind in d.kinds)
    middle = (logs[(len(logs) - 1) // 2] + logs[len(logs) // 2]) / 2
    spread = math.sqrt(sum((log - middle) ** 2 for log in logs) / len(logs))
    return LogNormal(math.exp(middle), max(spread, _MIN_LOG_SPREAD))


def combine(*estimates: LogNormal) -> LogNormal:
    """Combine independent estimates of one focal length, and a prior among them: the product of their densities.

    This is the maximum a posteriori estimate with its spread. An estimate from a moving camera enters here too."""
    precision = sum(one.log_spread**-2 for one in estimates)
    mean = sum(math.log(one.median) * one.log_spread**-2 for one in estimates) / precision
    return LogNormal(math.exp(mean), precision**-0.5)
