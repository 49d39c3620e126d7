"""The command `capture`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.progress import show_progress
from selfmocap.cli.results import print_results
from selfmocap.pipeline.config import CaptureConfig


def capture_command(
    video: Annotated[Positional[Path], arg(metavar="VIDEO")],
    out: Annotated[Path, arg(aliases=["-o"])],
    config: Annotated[CaptureConfig, arg(name="")],
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """Capture the 3D motion of the people in a video.

    Args:
        video: Video file, GIF, or folder of images; - for standard input.
        out: Output folder. An interrupted capture resumes there.
        device: Device of the network and the fitting: cpu, cuda or cuda:N.
        overwrite: Replace the results of another video in the output folder.
    """
    from selfmocap.pipeline.capture import capture

    out = out.expanduser()
    with show_progress() as progress:
        capture(video, out, config, progress, device, overwrite=overwrite)
    print_results(out)
