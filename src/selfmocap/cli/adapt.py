"""The command `adapt`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.cli.progress import show_progress
from selfmocap.pipeline.config import AdaptFolderConfig


def adapt_command(
    observations: Annotated[Positional[Path], arg(metavar="OBSERVATIONS")],
    out: Annotated[Path, arg(aliases=["-o"])],
    config: Annotated[AdaptFolderConfig, arg(name="")],
) -> None:
    """Adapt a network to observations, all together, and write the refined motions.

    Args:
        observations: An observations.npz, or a folder of them.
        out: Output folder for person-N/motion.npz.
    """
    from selfmocap.pipeline.adapt_folder import adapt_folder

    with show_progress() as progress:
        clips = adapt_folder(observations, out, config, progress)
    adapted = sum(clip["accepted"] for clip in clips)
    OUTPUT.print(f"{len(clips)} motions in {bold(out)}, {adapted} adapted")
