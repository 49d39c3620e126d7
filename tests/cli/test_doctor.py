import pytest

from selfmocap.cli.doctor import examine


def test_a_machine_without_libgl_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_libgl(name: str) -> None:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr("selfmocap.cli.doctor.import_module", without_libgl)
    checks = {check.name: check for check in examine()}
    assert not checks["cv2"].ok
    assert "libGL" in checks["cv2"].found
    assert "opencv-contrib-python-headless" in checks["cv2"].remedy
    assert checks["torch"].ok


def test_a_missing_body_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise FileNotFoundError("body.npz does not exist")

    monkeypatch.setattr("selfmocap.cli.doctor.Body.load", absent)
    body = next(check for check in examine() if check.name == "body")
    assert not body.ok
    assert "install selfmocap again" in body.remedy
