"""Run a network on observations in files, without adaptation."""

from pathlib import Path

from selfmocap._version import __version__
from selfmocap.body_model.body import Body
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.models.checkpoints import shipped_weights
from selfmocap.models.estimator import infer, load_estimator
from selfmocap.pipeline.config import InferFolderConfig
from selfmocap.tracking.observations import Observations


def infer_folder(
    observations: Path,
    out: Path,
    config: InferFolderConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> list[Path]:
    """Estimate the motion of an `observations.npz`, or of all in a folder's `person-N`, with a frame or a temporal
    network; return the paths `out/person-N/motion.npz`. Raises FileNotFoundError where there are none, ValueError for a
    file of another format."""
    config = config or InferFolderConfig()
    files = (
        sorted(observations.glob("person-*/observations.npz")) if observations.is_dir() else [observations]
    )
    if not files:
        raise FileNotFoundError(
            f"{observations}: expected person-N/observations.npz in it, found none; observe a video first"
        )
    (network, about), body, paths = load_estimator(config.weights or shipped_weights()), Body.load(), []
    for number, path in enumerate(files):
        motion = infer(
            network, body, Observations.load(path), config.focal, version=__version__, weights=about["sha256"]
        )
        folder = out / (path.parent.name if len(files) > 1 else "person-1")
        folder.mkdir(parents=True, exist_ok=True)
        motion.save(folder / "motion.npz")
        paths.append(folder / "motion.npz")
        progress("infer", number + 1, len(files))
    return paths
