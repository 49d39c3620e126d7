"""Names say what the field says; one public name, one meaning, one module."""

import ast
import importlib.util
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "selfmocap"
MODULES = sorted(PACKAGE.rglob("*.py"))
RIDDLES = frozenset(
    "told untold settle settled settles unsettled evenly dream dreamt dreams mine ours theirs glimpse glimpses judged "
    "rival rivals lesson lessons believed believes somebody someone nobody everybody everyone whoever company remade "
    "retaken likeness roamed born".split()
)
"""Words that only an author understands: docs/contributing.md."""
PHRASES = ("look back", "looking back", "kept out", "keep out", "as it comes", "goes on", "is told")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def public_names(path: Path) -> set[str]:
    """The functions, classes and constants that a module defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def words(name: str) -> list[str]:
    """The words of an identifier, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def riddles(text: str) -> set[str]:
    spaced = " ".join(words(text))
    return (RIDDLES & set(spaced.split())) | {
        phrase for phrase in PHRASES if re.search(rf"\b{phrase}\b", spaced)
    }


def test_words_of_identifiers() -> None:
    assert words("ClipChoice_of_SMPL2") == ["clip", "choice", "of", "smpl"]
    assert riddles("look_back") == {"look back"} and riddles("WhoIsTold") == {"told", "is told"}
    assert not riddles("determined_hours")


def test_public_names_and_modules_use_the_fields_terms() -> None:
    found = {
        f"{module_name(path)}.{name}": riddles(name)
        for path in MODULES
        for name in (path.stem, *public_names(path))
        if riddles(name)
    }
    assert not found


def test_a_public_name_is_defined_in_one_module() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for name in public_names(path):
            places[name].append(module_name(path))
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_every_module_lies_in_a_room_and_is_short() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} <= {"__init__.py", "__main__.py", "_version.py"}
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert not {name: length for name, length in lengths.items() if length > 400}


@pytest.mark.slow
def test_help_texts_use_the_fields_terms() -> None:
    spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "scripts" / "cli_reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    text = reference.reference()
    assert text.count("## ") > 10
    assert not {line: riddles(line) for line in text.splitlines() if riddles(line)}
