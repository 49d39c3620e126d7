import pytest
import torch

from selfmocap.models.heatmaps import coordinate_features, heatmaps
from tests.helpers.networks import frame_inputs


def test_a_heatmap_peaks_at_its_keypoint_with_its_amplitude() -> None:
    box = torch.tensor([[63.5, 63.5, 64.0]])
    keypoints = torch.tensor([[[40.0, 90.0], [40.0, 90.0], [500.0, 0.0]]])
    maps = heatmaps(keypoints, torch.tensor([[1.0, 0.01, 1.0]]), box, 128)
    assert maps[0, 0, 90, 40] == 1
    assert maps[0, 0].argmax() == 90 * 128 + 40
    assert maps[0, 0, 90, 42] == pytest.approx(float(torch.tensor(-(2**2) / (2 * 1.75**2)).exp()))
    assert maps[0, 1:].abs().max() == 0
    half = heatmaps(keypoints, torch.ones(1, 3), box, 64)
    assert half[0, 0].argmax() == 45 * 64 + 20 or half[0, 0, 45, 20] == pytest.approx(
        half[0, 0].max(), abs=0.2
    )


def test_the_position_of_a_missing_keypoint_has_no_effect() -> None:
    inputs = frame_inputs()
    hidden = inputs.confidence.clone()
    hidden[:, 4] = 0
    moved = inputs.keypoints.clone()
    moved[:, 4] += 50
    for keypoints in (heatmaps, coordinate_features):
        size = (64,) if keypoints is heatmaps else ()
        one = keypoints(inputs.keypoints, hidden, inputs.boxes, *size)
        assert torch.equal(one, keypoints(moved, hidden, inputs.boxes, *size))
