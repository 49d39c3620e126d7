"""Checks of the installation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selfmocap.body_model.body import Body
from selfmocap.cli.doctor import check_installation
from tests.conftest import ROOT


def test_a_missing_libgl_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_without_libgl(name: str) -> object:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return sys.modules.get(name) or __import__(name)

    monkeypatch.setattr("selfmocap.cli.doctor.import_module", import_without_libgl)
    checks = {check.name: check for check in check_installation()}
    assert not checks["cv2"].ok
    assert "libGL" in checks["cv2"].found
    assert "opencv-python-headless" in checks["cv2"].remedy
    assert checks["torch"].ok


def test_a_missing_body_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise FileNotFoundError("body.npz does not exist")

    monkeypatch.setattr(Body, "load", absent)
    body = next(check for check in check_installation() if check.name == "body")
    assert not body.ok
    assert "install selfmocap again" in body.remedy


def test_an_empty_installation_is_diagnosed_without_a_traceback(tmp_path: Path) -> None:
    """Run without any package, with one that is damaged, and with the parser's packages missing."""
    (tmp_path / "selfmocap").symlink_to(ROOT / "src" / "selfmocap")
    (tmp_path / "numpy.py").write_text("raise AttributeError('damaged')")
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from selfmocap.cli.main import main; main()"

    def run(*args: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-I", "-S", "-c", program, str(tmp_path), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    report = run("doctor", "--json")
    assert report.returncode == 1 and "Traceback" not in report.stderr
    checks = {check["name"]: check for check in json.loads(report.stdout)["checks"]}
    missing = {name for name, check in checks.items() if not check["ok"]}
    assert missing >= {"numpy", "torch", "cv2", "ai_edge_litert", "tyro", "rich", "scipy", "av", "body"}
    assert checks["numpy"]["found"] == "damaged"
    assert all(checks[name]["remedy"] for name in missing)
    text = run("doctor")
    assert text.returncode == 1 and "remedy: pip install 'torch>=" in text.stdout
    other = run("capture", "a.mp4", "--out", "o")
    assert other.returncode == 2 and "run: selfmocap doctor" in other.stderr
    assert other.stderr.count("\n") == 1
