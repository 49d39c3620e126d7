import math

import pytest

from selfmocap.geometry.focal_prior import (
    DEVICES,
    LogNormal,
    combine,
    focal_of_equivalent,
    focal_of_view,
    focal_prior,
    input_kind,
)


@pytest.mark.parametrize(
    ("size", "kind"),
    [((1080, 1920), "portrait video"), ((1080, 1080), "portrait video"), ((640, 480), "4:3 video"),
     ((1920, 1080), "landscape video"), ((1920, 816), "wide-screen film")],
)  # fmt: skip
def test_kind_by_shape(size: tuple[int, int], kind: str) -> None:
    assert input_kind(*size) == kind
    assert input_kind(*size, is_picture=True) == "picture"


def test_equivalents_and_angles_of_view() -> None:
    """An iPhone 13 mini is said to have 26 mm, and says that its photographs are 67.8 degrees wide."""
    assert focal_of_equivalent(26.0, 4 / 3) == pytest.approx(focal_of_view(67.802), rel=0.02)
    assert focal_of_equivalent(50.0, 3 / 2) == pytest.approx(50 / 36)
    assert focal_of_view(90.0, 200.0) == pytest.approx(100)


def test_half_of_the_devices_of_a_kind_are_longer_than_its_default() -> None:
    for kind in ("portrait video", "landscape video", "4:3 video", "wide-screen film", "picture"):
        prior, focals = focal_prior(kind), [d.focal * d.crop for d in DEVICES if kind in d.kinds]
        assert sum(f >= prior.median - 1e-9 for f in focals) >= len(focals) / 2
        assert sum(f <= prior.median + 1e-9 for f in focals) >= len(focals) / 2
        assert 0.6 < prior.median < 1.6 and 0.2 < prior.log_spread < 0.7


def test_combination_is_the_product_of_densities() -> None:
    equal = combine(LogNormal(100.0, 0.2), LogNormal(400.0, 0.2))
    assert equal.median == pytest.approx(200) and equal.log_spread == pytest.approx(0.2 / math.sqrt(2))
    certain = combine(LogNormal(100.0, 0.2), LogNormal(400.0, 1e-4))
    assert certain.median == pytest.approx(400, rel=1e-3)
