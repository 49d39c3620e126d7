"""Records of an experiment: a JSON result that names its origin, finished stages, and the estimates of rows."""

import hashlib
import logging
import os
import platform
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from selfmocap._version import __version__
from selfmocap.body_model.body import BodyParameters
from selfmocap.evaluation.paper.config import BenchmarkConfig
from selfmocap.evaluation.paper.rows import RowResult
from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import read_json_object
from selfmocap.io.npz import read_npz, write_npz
from selfmocap.io.stage_cache import StageCache

RESULTS_VERSION = 2
"""Version of the results' JSON and of the finished stages. Version 1 had no `version`; docs/reference/file-formats.md
lists its keys. Its results are computed again."""
_PARAMETERS = tuple(field.name for field in fields(BodyParameters))

_log = logging.getLogger(__name__)


def result_header(
    experiment: str,
    benchmark: BenchmarkConfig,
    protocol: str,
    weights_sha256: str,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe the origin of a result: the command (with further `options`), protocol, clips, versions, weights and
    machine."""
    settings = benchmark.as_json()
    flags = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in settings.items()
        if value and name != "held_out"
    ]
    held_out = ["--held-out", *benchmark.held_out] if benchmark.held_out else []
    return {
        "command": " ".join(["selfmocap reproduce", experiment, *flags, *held_out, *options]),
        "protocol": protocol,
        "benchmark": settings,
        "versions": {
            "selfmocap": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "weights_sha256": weights_sha256,
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "torch_threads": torch.get_num_threads()},
    }


def cpu_model() -> str:
    """Return the processor's name, or its architecture where the system does not name it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def network_sha256(network: nn.Module) -> str:
    """Compute the SHA-256 of a network's weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + b"\0" + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def result_cache(out: Path, experiment: str) -> StageCache:
    """Return the finished stages of an experiment, from the folder `out/EXPERIMENT`. Log that results of another
    version are computed again."""
    result = read_json_object(out / f"{experiment}.json")
    if result and result.get("version") != RESULTS_VERSION:
        _log.warning(
            "%s: computed by another version of selfmocap; its results are computed again",
            out / f"{experiment}.json",
        )
    cache = StageCache(out / experiment, version=RESULTS_VERSION)
    cache.discard_other_versions()
    return cache


def write_text(path: Path, text: str) -> None:
    """Write text, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def save_row(path: Path, row: RowResult) -> None:
    """Write the estimate of a row as `.npz`."""
    tensors = {field: getattr(row.parameters, field) for field in _PARAMETERS}
    check = {"accepted": row.accepted, "heldout_reprojection_px": row.heldout_reprojection_px}
    tensors |= {field: tensor for field, tensor in check.items() if tensor is not None}
    write_npz(path, {field: tensor.numpy() for field, tensor in tensors.items()})


def load_row(path: Path) -> RowResult:
    """Read the estimate of a row."""
    tensors = {field: torch.from_numpy(array) for field, array in read_npz(path).items()}
    parameters = BodyParameters(*(tensors.pop(field) for field in _PARAMETERS))
    return RowResult(parameters, tensors.get("accepted"), tensors.get("heldout_reprojection_px"))
