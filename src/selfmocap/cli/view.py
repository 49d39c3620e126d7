"""The command `view`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def view_command(folder: Annotated[Positional[Path], arg(metavar="FOLDER")], port: int = 8080) -> None:
    """Show a capture in an interactive viewer in the browser, until Ctrl-C.

    Args:
        folder: Output folder of a capture.
        port: Port on this machine; the next free one if it is taken.
    """
    from selfmocap.visualization.viewer import view_capture

    view_capture(folder, port)
