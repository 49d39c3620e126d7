"""The command `refine`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.progress import show_progress
from selfmocap.cli.results import print_results
from selfmocap.pipeline.config import RefineConfig


def refine_command(
    result: Annotated[Positional[Path], arg(metavar="RESULT")],
    video: Path,
    out: Annotated[Path, arg(aliases=["-o"])],
    config: Annotated[RefineConfig, arg(name="")],
    overwrite: bool = False,
) -> None:
    """Refine another system's result on its video: smoother, on the floor, and checked on held-out keypoints.

    Args:
        result: Result of PHALP, 4D-Humans, WHAM, GVHMR, TRAM, PromptHMR, ROMP, BEV, VIBE or SAM 3D Body, or a
            motion.npz.
        video: The video that the system saw.
        out: Output folder. An interrupted run resumes there.
        overwrite: Replace the results of another video in the output folder.
    """
    from selfmocap.pipeline.refine import refine_result

    out = out.expanduser()
    with show_progress() as progress:
        refine_result(result, video, out, config, progress, overwrite)
    print_results(out)
