"""What an experiment leaves behind: JSON that says how it came about, and results that are not computed twice."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from selfmocap._version import __version__
from selfmocap.body_model.body import BodyParameters
from selfmocap.evaluation.paper.clips import ClipChoice
from selfmocap.evaluation.paper.rows import ROWS, Answer, RowConfig
from selfmocap.io.atomic import atomic_write
from selfmocap.io.npz import read_npz, write_npz

_PARAMETERS = tuple(field.name for field in fields(BodyParameters))


def about(
    what: str, test_set: ClipChoice, protocol: str, weights: str, more: Sequence[str] = ()
) -> dict[str, Any]:
    """The header of a result: the command that gives it (with `more` arguments), the protocol's name, seed, versions,
    the SHA-256 of the weights, the machine."""
    named = test_set.named()
    options = [
        f"--{name.replace('_', '-')} {value}" for name, value in named.items() if value and name != "held_out"
    ]
    held_out = ["--held-out", *test_set.held_out] if test_set.held_out else []
    return {
        "command": " ".join(["selfmocap reproduce", what, *options, *held_out, *more]),
        "protocol": protocol,
        "test_set": named,
        "versions": {
            "selfmocap": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "weights_sha256": weights,
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "torch_threads": torch.get_num_threads()},
    }


def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def fingerprint(*settings: Any) -> str:
    """A short name of settings (JSON data): equal for equal settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def sha256_of(network: nn.Module) -> str:
    """Of the weights of a network, whatever file they came in."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + b"\0" + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def row_fingerprint(name: str, config: RowConfig, on: Mapping[str, str]) -> str:
    """Of a row: what it, and the rows before it, are computed by; `on` names, for each network, it and the clips."""
    row, settings = ROWS[name], asdict(config)
    mine = {field: settings[field] for field in row.depends_on}
    return fingerprint(
        name, on[row.network], mine, [row_fingerprint(before, config, on) for before in row.after]
    )


def save_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    save_text(path, json.dumps(content, indent=1) + "\n")


def save_text(path: Path, text: str) -> None:
    """Writes text, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_text(text)


def load_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file that an experiment wrote; an empty one where there is none."""
    return json.loads(path.read_text()) if path.is_file() else {}


def once(path: Path, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What the file holds under the fingerprint `name`; where it does not, it is computed and written, with the
    `seconds` that took."""
    kept = load_json(path)
    if kept.get("fingerprint") == name:
        return kept
    start = time.perf_counter()
    found = compute()
    save_json(path, {"fingerprint": name, "seconds": round(time.perf_counter() - start, 1), **found})
    return load_json(path)


def save_answer(path: Path, answer: Answer, name: str) -> None:
    """Writes an answer under the fingerprint `name`."""
    tensors = {field: getattr(answer.parameters, field) for field in _PARAMETERS}
    verdict = {"accepted": answer.accepted, "self_check_px": answer.self_check_px}
    tensors |= {field: tensor for field, tensor in verdict.items() if tensor is not None}
    write_npz(path, {"fingerprint": name} | {field: tensor.numpy() for field, tensor in tensors.items()})


def load_answer(path: Path, name: str) -> Answer | None:
    """The answer that was written under that fingerprint, or None."""
    if not path.is_file():
        return None
    arrays = read_npz(path)
    if str(arrays.pop("fingerprint")) != name:
        return None
    tensors = {field: torch.from_numpy(array) for field, array in arrays.items()}
    parameters = BodyParameters(*(tensors.pop(field) for field in _PARAMETERS))
    return Answer(parameters, tensors.get("accepted"), tensors.get("self_check_px"))
