"""Detectors by name: fallback, missing packages, the protocol."""

import sys

import pytest

from selfmocap.tracking.detectors import registry
from selfmocap.tracking.detectors.protocol import FrameDetector, RoiDetector
from selfmocap.tracking.detectors.registry import create_detector
from selfmocap.tracking.optical_flow import raft_flow
from tests.helpers.stick_figures import ScriptedDetector


def test_missing_packages_are_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", None)
    with pytest.raises(ImportError, match="pip install --no-deps rtmlib"):
        create_detector("rtmpose")
    with pytest.raises(ImportError, match="pip install torchvision"):
        raft_flow()
    with pytest.raises(ValueError, match="expected 'mediapipe'"):
        create_detector("yolo")
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ImportError, match="opencv-contrib-python-headless"):
        create_detector("mediapipe")


def test_the_legacy_interface_replaces_graphs_that_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("no such graph")

    monkeypatch.setattr(registry, "MediaPipeTasks", broken)
    assert create_detector("mediapipe").name == "mediapipe-legacy"
    assert "no such graph" in caplog.text


def test_every_detector_fulfils_the_protocol() -> None:
    assert isinstance(ScriptedDetector([]), FrameDetector)
    for name in ("mediapipe", "mediapipe-legacy"):
        detector = create_detector(name)
        assert isinstance(detector, RoiDetector) and not isinstance(detector, FrameDetector)
