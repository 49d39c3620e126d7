"""The installation: the Makefile's environment, and the versions that the project names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from selfmocap.cli.doctor import PYTHONS, REQUIREMENTS
from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSIONS = [f"3.{minor}" for minor in range(PYTHONS[0][1], PYTHONS[1][1] + 1)]
FAKE_PYTHON = """#!/bin/sh
case "$1" in
-c) echo {version} ;;
-m)
    echo "{version}: $*" >> log
    [ "$3" = --clear ] && rm -rf .venv
    mkdir -p .venv/bin && cp "$0" .venv/bin/python
    for tool in pip pytest; do echo "#!/bin/sh" > .venv/bin/$tool && chmod +x .venv/bin/$tool; done ;;
esac
"""


def test_all_name_the_same_versions_of_python() -> None:
    classifiers = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if ":: Python :: 3." in line]
    assert classifiers == VERSIONS
    assert PROJECT["requires-python"] == f">={VERSIONS[0]},<3.{PYTHONS[1][1] + 1}"
    assert f"VERSIONS := {' '.join(VERSIONS)}\n" in (ROOT / "Makefile").read_text()
    for page in ("README.md", "docs/get-started/install.md", "docs/troubleshooting.md"):
        assert f"Python {VERSIONS[0]} to {VERSIONS[-1]}" in (ROOT / page).read_text(), page


def test_remedies_install_what_the_project_requires() -> None:
    assert sorted(REQUIREMENTS.values()) == sorted(PROJECT["dependencies"])
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    extras = set(re.findall(r"pip install '(?:selfmocap|\.)\[([\w-]+)\]'", source))
    assert {"usd", "view", "bulk"} <= extras <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_requirement_has_one_pin_that_fulfils_it(version: str) -> None:
    environment = {"python_version": version, "python_full_version": f"{version}.9", "sys_platform": "linux"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins: dict[str, str] = {}
    for pin in (Requirement(line) for line in lines if not line.startswith("#")):
        if pin.marker is None or pin.marker.evaluate(environment):
            assert canonicalize_name(pin.name) not in pins, f"{pin.name} has two pins"
            pins[canonicalize_name(pin.name)] = next(iter(pin.specifier)).version
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras]):
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
    assert [name for name in pins if name.startswith("opencv")] == ["opencv-python-headless"]


class _Checkout:
    """A copy of the Makefile in a folder of its own, with interpreters that only note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder)

    def add_python(self, name: str, version: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(FAKE_PYTHON.format(version=version))
        path.chmod(0o755)

    def make(self, *args: str) -> subprocess.CompletedProcess[str]:
        environment = {key: os.environ[key] for key in os.environ if not key.startswith(("PYTHON", "MAKE"))}
        environment["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{environment['PATH']}"
        command = ["make", *args, "test"]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )

    def environments_made(self) -> list[str]:
        """Return the calls of the interpreters since the last question."""
        log = self.folder / "log"
        calls = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return calls


@pytest.fixture
def checkout(tmp_path: Path) -> _Checkout:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    return _Checkout(tmp_path)


@pytest.mark.parametrize("version", ["3.9", "3.15", "none"])
def test_make_refuses_another_python_in_one_sentence(checkout: _Checkout, version: str) -> None:
    if version != "none":
        checkout.add_python("some-python", version)
    run = checkout.make("PYTHON=some-python")
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert f"found {version} as some-python" in run.stderr
    assert "make PYTHON=python3" in run.stderr
    assert not (checkout.folder / ".venv").exists()


def test_make_rebuilds_the_environment_for_another_version_only(checkout: _Checkout) -> None:
    for name, version in (("python3", "3.11"), ("python3.12", "3.12"), ("python3.13", "3.13")):
        checkout.add_python(name, version)

    def calls(*args: str) -> list[str]:
        run = checkout.make(*args)
        assert run.returncode == 0, run.stderr
        return checkout.environments_made()

    assert calls("PYTHON=python3.12") == ["3.12: -m venv --clear .venv"]
    assert calls() == calls("PYTHON=python3.12") == []
    assert calls("PYTHON=python3.13") == ["3.13: -m venv --clear .venv"]
    assert calls() == []
    os.utime(checkout.folder / "constraints.txt", (2**33, 2**33))
    assert calls() == ["3.13: -m venv .venv"], "pip brings an environment of the same version up to date"


def test_make_takes_the_python_of_the_path_at_first(checkout: _Checkout) -> None:
    checkout.add_python("python3", "3.11")
    assert checkout.make().returncode == 0
    assert checkout.environments_made() == ["3.11: -m venv --clear .venv"]
