"""The network's own answer for observations that lie in files."""

from pathlib import Path

from selfmocap._version import __version__
from selfmocap.body_model.body import Body
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.checkpoints import shipped_weights
from selfmocap.models.estimator import infer, load_estimator
from selfmocap.tracking.observations import Observations


def infer_folder(
    observations: Path, out: Path, focal: float | None, weights: Path | None, progress: ProgressCallback
) -> list[Path]:
    """Writes `out/person-N/motion.npz` for an `observations.npz`, or for all in a folder's `person-N`: the network's
    own answer, be it a frame network or a temporal one. Raises FileNotFoundError where there are none, ValueError for a
    file that is not one."""
    found = (
        sorted(observations.glob("person-*/observations.npz")) if observations.is_dir() else [observations]
    )
    if not found:
        raise FileNotFoundError(f"{observations}: no person-N/observations.npz in it; observe a video first")
    (network, about), body, paths = load_estimator(weights or shipped_weights()), Body.load(), []
    for number, path in enumerate(found):
        motion = infer(
            network, body, Observations.load(path), focal, version=__version__, weights=about["sha256"]
        )
        folder = out / (path.parent.name if len(found) > 1 else "person-1")
        folder.mkdir(parents=True, exist_ok=True)
        motion.save(folder / "motion.npz")
        paths.append(folder / "motion.npz")
        progress("infer", number + 1, len(found))
    return paths
