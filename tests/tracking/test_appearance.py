"""Appearance histograms: similar for the same clothes on any background."""

from dataclasses import replace

import numpy as np
import pytest

from selfmocap.tracking.appearance import appearance_histogram, appearance_similarity
from tests.helpers.stick_figures import BLUE, COCO, RED, filmed, landscape, scene, stick_detection


def test_similarity_depends_on_clothes_and_not_on_the_background() -> None:
    pose = stick_detection(160, 100)
    red, blue = (appearance_histogram(scene({c: (160.0, 100.0)}), pose, COCO) for c in (RED, BLUE))
    assert red.sum() == pytest.approx(1.0, abs=1e-4) and appearance_similarity(red, red) == pytest.approx(
        1.0, abs=1e-4
    )
    assert appearance_similarity(red, blue) < 0.1
    elsewhere = filmed(landscape(), 100, {RED: (160.0, 100.0)})
    assert appearance_similarity(red, appearance_histogram(elsewhere, pose, COCO)) > 0.9
    seated = replace(
        pose, confidence=np.where(["knee" in name for name in COCO.names], 0.0, 1.0).astype(np.float32)
    )
    half = appearance_histogram(scene({RED: (160.0, 100.0)}), seated, COCO)
    assert half.sum() == pytest.approx(0.5, abs=1e-4) and appearance_similarity(red, half) == pytest.approx(
        1.0, abs=1e-2
    )
