"""Detectors by name: missing packages, the protocol."""

import sys

import pytest

from selfmocap.tracking.detectors.litert import litert_model
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
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    litert_model.cache_clear()
    with pytest.raises(ImportError, match="pip install ai-edge-litert"):
        create_detector("blazepose")
    with pytest.raises(ValueError, match="expected 'ensemble', 'blazepose' or 'rtmpose'"):
        create_detector("yolo")


def test_every_detector_fulfils_the_protocol() -> None:
    assert isinstance(ScriptedDetector([]), FrameDetector)
    for name in ("ensemble", "blazepose"):
        detector = create_detector(name)
        assert isinstance(detector, RoiDetector) and not isinstance(detector, FrameDetector)
