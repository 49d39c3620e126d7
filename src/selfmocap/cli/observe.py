"""The command `observe`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.cli.progress import show_progress
from selfmocap.tracking.config import ObserveConfig

_ALL_PEOPLE = ObserveConfig(people="all")


def observe_command(
    video: Annotated[Positional[Path], arg(metavar="VIDEO")],
    out: Annotated[Path, arg(aliases=["-o", "--output-folder"])],
    config: Annotated[ObserveConfig, arg(name="")] = _ALL_PEOPLE,
    overwrite: bool = False,
) -> None:
    """Detect and track the people of a video, and write their observations.

    Args:
        video: Video file, GIF, or folder of images; - for standard input.
        out: Output folder. An interrupted run resumes there.
        overwrite: Replace the results of another video in the output folder.
    """
    from selfmocap.tracking.observe import observe

    with show_progress() as progress:
        paths = observe(video, out, config, progress, overwrite)
    OUTPUT.print(f"{len(paths)} people in {bold(out)}")
