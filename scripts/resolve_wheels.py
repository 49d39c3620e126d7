"""Resolve the pinned wheels for every supported Python and platform, without installing them; print the table.

    pip install uv
    python scripts/resolve_wheels.py

The table is that of docs/get-started/install.md. Of what does not resolve, uv's reason goes to standard error.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLATFORMS = {
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux arm64": "aarch64-manylinux_2_28",
    "macOS 14, Apple silicon": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
"""uv's names of the platforms, by what a reader calls them."""
MACOS = "14.0"
"""The oldest macOS whose wheels count."""
EXTRAS = ("view", "usd", "bulk", "s3", "gs", "heic")
_COMPILE = "pip compile pyproject.toml --constraint constraints.txt --only-binary :all: --quiet --no-header"


def supported_pythons() -> list[str]:
    """Return the versions that pyproject.toml names as supported."""
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())


def failure(uv: str, python: str, platform: str, *extras: str) -> str:
    """Resolve the package with some extras; return uv's reason why that fails, empty if it does not."""
    command = [uv, *_COMPILE.split(), "--python-version", python, "--python-platform", platform]
    command += [word for extra in extras for word in ("--extra", extra)]
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": MACOS}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    return "" if run.returncode == 0 else " ".join(run.stderr.split())


def cell(uv: str, python: str, platform: str) -> str:
    """Return what resolves on a platform: everything, everything but some extras, or nothing."""
    reasons = {extra: failure(uv, python, platform, extra) for extra in EXTRAS}
    lacking = [extra for extra in EXTRAS if reasons[extra]]
    if len(lacking) == len(EXTRAS) and (reason := failure(uv, python, platform)):
        lacking, reasons = ["all"], {"all": reason}
    for name in lacking:
        print(f"Python {python}, {platform}, {name}: {reasons[name]}", file=sys.stderr)
    if lacking == ["all"]:
        return "no"
    return "yes" + "".join(f", without `{extra}`" for extra in lacking)


def main() -> int:
    """Print the table; exit code 1 if a platform lacks a wheel of the package itself."""
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit("expected the program uv, found none; run: pip install uv")
    pythons = supported_pythons()
    rows = {name: [cell(uv, python, target) for python in pythons] for name, target in PLATFORMS.items()}
    print("| platform | " + " | ".join(pythons) + " |")
    print("|---" * (len(pythons) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")
    return int(any(value == "no" for cells in rows.values() for value in cells))


if __name__ == "__main__":
    raise SystemExit(main())
