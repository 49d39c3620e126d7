"""The command `synthesize`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.cli.progress import show_progress
from selfmocap.synthetic.config import SynthesizeConfig


def synthesize_command(
    out: Annotated[Path, arg(aliases=["-o"])],
    config: Annotated[SynthesizeConfig, arg(name="")],
) -> None:
    """Make clips of synthetic people with their truth.

    Args:
        out: Output folder. An interrupted run resumes there.
    """
    from selfmocap.synthetic.write import synthesize

    with show_progress() as progress:
        synthesize(out, config, progress)
    OUTPUT.print(f"{config.clips} clips in {bold(out)}")
