"""The command `infer`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.cli.progress import show_progress
from selfmocap.pipeline.config import InferFolderConfig


def infer_command(
    observations: Annotated[Positional[Path], arg(metavar="OBSERVATIONS")],
    out: Annotated[Path, arg(aliases=["-o"])],
    config: Annotated[InferFolderConfig, arg(name="")],
) -> None:
    """Run a network on observations, without test-time adaptation.

    Args:
        observations: An observations.npz, or a folder with person-N/observations.npz.
        out: Output folder for person-N/motion.npz.
    """
    from selfmocap.pipeline.infer_folder import infer_folder

    with show_progress() as progress:
        paths = infer_folder(observations, out, config, progress)
    OUTPUT.print("wrote " + ", ".join(bold(path) for path in paths))
