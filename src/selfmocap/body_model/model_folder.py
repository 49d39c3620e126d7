"""Find a body model in the folders that its makers publish and that other programs expect."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from selfmocap.io.stray_files import is_stray, warn_of_stray_files

MODEL_KINDS = ("smpl", "smplh", "smplx")
_log = logging.getLogger(__name__)
_GENDERS = {"f": "female", "m": "male", "n": "neutral"}
_MAX_FILES = 10_000
_SUFFIXES = (".npz", ".pkl")
_BY_KIND = re.compile(r"(smplx|smplh|smpl)_(female|male|neutral)", re.IGNORECASE)
"""SMPL_NEUTRAL.pkl, smplh/SMPLH_FEMALE.pkl, smplx/SMPLX_MALE.npz."""
_SMPL_RELEASE = re.compile(r"basic_?model_(f|m|neutral)_lbs_10_\d+_\d+_v[\d.]+", re.IGNORECASE)
"""basicModel_f_lbs_10_207_0_v1.0.0.pkl."""
_SMPLH_RELEASE = re.compile(r"model", re.IGNORECASE)
"""female/model.npz."""


@dataclass(frozen=True)
class ModelFile:
    """A body model's file, as its name and folder describe it."""

    path: Path
    kind: str
    """One of MODEL_KINDS."""
    gender: str
    """`female`, `male` or `neutral`."""


def find_model(folder: Path | str, gender: str, kinds: Sequence[str] = MODEL_KINDS) -> Path:
    """Return the file of a gender's body model, of the first of `kinds` that the folder or a subfolder contains.

    The layouts are those of SMPL (`basicModel_f_lbs_10_207_0_v1.0.0.pkl`), SMPL-H (`female/model.npz`), SMPL-X and
    smplx (`smplx/SMPLX_FEMALE.npz`). A file of another name is used only if there is none of these and only one whose
    name contains the gender; a warning names it, or those left aside. Raises FileNotFoundError that lists the models
    found, or ValueError if several are as good."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected a folder of body models")
    models, others = _models(folder)
    for kind in kinds:
        found = [model.path for model in models if (model.kind, model.gender) == (kind, gender)]
        found = [path for path in found if path.suffix.lower() == ".npz"] or found
        if len(found) > 1:
            raise ValueError(
                f"{folder}: {len(found)} {kind} models of gender {gender}: {', '.join(map(str, found[:3]))}; "
                "expected one: give its file, or a folder with one"
            )
        if found:
            warn_of_stray_files(folder, others)
            return found[0]
    named = [path for path in others if not is_stray(path, folder) and gender in _words(path)]
    if len(named) == 1:
        _log.warning("%s: used as the model of gender %s, by its name", named[0], gender)
        return named[0]
    listed = ", ".join(sorted({f"{model.kind} {model.gender}" for model in models})) or "none"
    raise FileNotFoundError(
        f"{folder}: no {' or '.join(kinds)} model for gender {gender}, found {listed}; expected a file such as "
        f"{kinds[0].upper()}_{gender.upper()}.npz"
    )


def _words(path: Path) -> set[str]:
    words = set(re.split(r"[\W_]+", path.stem.lower()))
    return words | {_GENDERS[word] for word in words & _GENDERS.keys()}


def _models(folder: Path) -> tuple[list[ModelFile], list[Path]]:
    """Return the models by their makers' names, and the other files of their formats."""
    paths = [
        path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES and path.is_file()
    ]
    if len(paths) > _MAX_FILES:
        raise ValueError(f"{folder}: {len(paths)} files; expected a folder of body models")
    described = {path: _described(path) for path in paths if not is_stray(path, folder)}
    models = [model for model in described.values() if model is not None]
    return models, [path for path in paths if described.get(path) is None]


def _described(path: Path) -> ModelFile | None:
    if match := _BY_KIND.fullmatch(path.stem):
        return ModelFile(path, match[1].lower(), match[2].lower())
    if match := _SMPL_RELEASE.fullmatch(path.stem):
        return ModelFile(path, "smpl", _GENDERS[match[1][0].lower()])
    gender = path.parent.name.lower()
    if _SMPLH_RELEASE.fullmatch(path.stem) and gender in _GENDERS.values():
        return ModelFile(path, "smplh", gender)
    return None
