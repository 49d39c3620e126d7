"""The command `predict`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.cli.progress import show_progress
from selfmocap.pipeline.config import PredictConfig


def predict_command(
    source: Annotated[Positional[Path], arg(metavar="SOURCE")],
    out: Annotated[Path, arg(aliases=["-o"])],
    config: Annotated[PredictConfig, arg(name="")],
) -> None:
    """Predict past and future motion from an image, or beyond both ends of a video.

    Args:
        source: Image, video file, or folder of images.
        out: Output folder for person-N/motion.npz, the exports and prediction.png.
    """
    from selfmocap.pipeline.predict import predict

    with show_progress() as progress:
        motions = predict(source, out, config, progress)
    OUTPUT.print(f"{len(motions)} people in {bold(out)}")
