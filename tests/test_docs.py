"""The documentation names things that exist: commands and flags, modules, files, links."""

import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE = ROOT / "src" / "selfmocap"
WITHOUT_HISTORY = [page for page in PAGES if page.name != "CHANGELOG.md"]


@cache
def script(name: str) -> ModuleType:
    """Load a script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@cache
def flags_of(command: str) -> frozenset[str]:
    """Return the flags that a command's help text names."""
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][\w-]*", script("cli_reference").help_of(command)))


def shell_lines(page: Path) -> list[str]:
    """Return the commands of a page's shell blocks, continued lines joined, comments removed."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s#.*", "", line) for line in lines]


def page_id(page: Path) -> str:
    """Return a page's path in the repository."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITHOUT_HISTORY, ids=page_id)
def test_commands_and_flags_exist(page: Path) -> None:
    commands = script("cli_reference").commands_of(script("cli_reference").help_of())
    for line in shell_lines(page):
        for call in re.findall(r"(?:^|\s)selfmocap (?!doctor$)([a-z].*)", line):
            command, *rest = call.split()
            assert command in commands, line
            given = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
            assert given <= flags_of(command), f"{line}: {sorted(given - flags_of(command))}"


@pytest.mark.parametrize("page", WITHOUT_HISTORY, ids=page_id)
def test_modules_exist(page: Path) -> None:
    for dotted in re.findall(r"\bselfmocap((?:\.\w+)+)", page.read_text()):
        parts = dotted.strip(".").split(".")
        found = [parts[:length] for length in range(len(parts), 0, -1) if module_path(parts[:length])]
        assert found or len(parts) == 1, f"selfmocap{dotted}"
        path = module_path(found[0]) if found else SOURCE / "__init__.py"
        names = parts[len(found[0]) :] if found else parts
        assert path is not None
        for name in names[:1]:
            assert re.search(rf"\b{name}\b", path.read_text()), f"selfmocap{dotted}"


def module_path(parts: list[str]) -> Path | None:
    """Return the file of a module or package below `selfmocap`; None if there is none."""
    path = SOURCE.joinpath(*parts)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@pytest.mark.parametrize("page", WITHOUT_HISTORY, ids=page_id)
def test_files_exist(page: Path) -> None:
    for name in re.findall(r"`(?:python )?([\w/]+\.py)\b", page.read_text()):
        places = (ROOT, SOURCE, ROOT / "benchmarks", *(path for path in SOURCE.iterdir() if path.is_dir()))
        assert any((place / name).is_file() for place in places) or list(SOURCE.rglob(name)), name


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, check=True, cwd=ROOT, timeout=300, env=environment)
    pages = [path.read_text() for path in tmp_path.rglob("*.html")]
    assert len(pages) > 30
    loaded = re.compile(r"<(?:script|img|link)[^>]+(?:src|href)=[\"']?https?://")
    assert not any(loaded.search(page) for page in pages), "the site loads files from another host"


def test_architecture_draws_every_room() -> None:
    picture = script("architecture_picture")
    rooms = {room for layer in picture.layers_of_contract() for room in layer}
    assert rooms == set(picture.SUBTITLES)
    assert rooms == {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}
