"""Options of the lens. This module imports nothing heavy, since the command line is built from it."""

from dataclasses import dataclass

MIN_FOCAL_PX, MAX_FOCAL_PX = 10.0, 1e6
MIN_FOV_DEG, MAX_FOV_DEG = 1.0, 170.0
MIN_LENS_MM, MAX_LENS_MM = 2.0, 5000.0


@dataclass(frozen=True)
class LensOptions:
    """What is known of the lens, besides its focal length in px. Raises ValueError for an invalid value."""

    fov: float | None = None
    """Angle of view along the longer side of the image, degrees, instead of `--focal`."""
    lens_mm: float | None = None
    """35 mm equivalent focal length (by the diagonal of the image), instead of `--focal`."""
    calib: str | None = None
    """Calibration file, instead of `--focal`: OpenCV YAML or JSON, Pose2Sim TOML, COLMAP cameras.txt. FILE#CAMERA names
    one of several cameras. Distortion is removed from all observations."""

    def __post_init__(self) -> None:
        if self.fov is not None and not MIN_FOV_DEG <= self.fov <= MAX_FOV_DEG:
            raise ValueError(
                f"an angle of view of {self.fov} degrees; expected {MIN_FOV_DEG:g} to {MAX_FOV_DEG:g}"
            )
        if self.lens_mm is not None and not MIN_LENS_MM <= self.lens_mm <= MAX_LENS_MM:
            raise ValueError(
                f"a 35 mm equivalent of {self.lens_mm} mm; expected {MIN_LENS_MM:g} to {MAX_LENS_MM:g}"
            )


def check_lens(focal: float | None, options: LensOptions) -> None:
    """Raise ValueError for a focal length (px) out of range, or for several values of which one must be wrong."""
    if focal is not None and not MIN_FOCAL_PX <= focal <= MAX_FOCAL_PX:
        raise ValueError(f"a focal length of {focal} px; expected {MIN_FOCAL_PX:.0f} to {MAX_FOCAL_PX:.0f}")
    values = {"--focal": focal, "--fov": options.fov, "--lens-mm": options.lens_mm, "--calib": options.calib}
    given = [name for name, value in values.items() if value is not None]
    if len(given) > 1:
        raise ValueError(
            f"found {' and '.join(given)}; expected one of them, since each gives the focal length"
        )
