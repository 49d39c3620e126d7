"""The network's own answer for observations that lie in files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from selfmocap import __version__
from selfmocap.body import Body
from selfmocap.motion import Motion
from selfmocap.network.infer import infer
from selfmocap.network.sequences import TEMPORAL_FORMAT, infer_temporal, load_temporal
from selfmocap.network.weights import kind_of, load_network
from selfmocap.observations import Observations

Report = Callable[[str, int, int], None]
"""Called with the name of the stage, how far it is, and how far it has to go."""


def infer_folder(
    observations: Path, out: Path, focal: float | None, weights: Path | None, report: Report
) -> list[Path]:
    """Writes `out/person-N/motion.npz` for an `observations.npz`, or for all in a folder's `person-N`: the network's
    own answer, be it a frame network or a temporal one. Raises FileNotFoundError where there are none, ValueError for a
    file that is not one."""
    found = (
        sorted(observations.glob("person-*/observations.npz")) if observations.is_dir() else [observations]
    )
    if not found:
        raise FileNotFoundError(f"{observations}: no person-N/observations.npz in it; observe a video first")
    (answer, sha256), body, paths = _answering(weights), Body.load(), []
    for number, path in enumerate(found):
        motion = answer(body, Observations.load(path), focal, version=__version__, weights=sha256)
        folder = out / (path.parent.name if len(found) > 1 else "person-1")
        folder.mkdir(parents=True, exist_ok=True)
        motion.save(folder / "motion.npz")
        paths.append(folder / "motion.npz")
        report("infer", number + 1, len(found))
    return paths


def _answering(weights: Path | None) -> tuple[Callable[..., Motion], str]:
    """What answers by some weights, and their SHA-256."""
    if weights is not None and kind_of(weights) == TEMPORAL_FORMAT:
        network, about = load_temporal(weights)
        return partial(infer_temporal, network), about["sha256"]
    network, about = load_network(weights)
    return partial(infer, network), about["sha256"]
