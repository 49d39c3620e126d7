"""The command `app`."""

from typing import Annotated

from tyro.conf import arg

from selfmocap.app.config import AppConfig
from selfmocap.cli.console import ERRORS


def app_command(config: Annotated[AppConfig, arg(name="")], browser: bool = True) -> None:
    """Open a page in the browser on which videos can be dropped, captured and taken away, until Ctrl-C.

    Args:
        browser: Open the page in the browser; its address is printed anyway.
    """
    try:
        from selfmocap.app.server import serve_app
    except ImportError as error:
        raise ImportError(
            f"the app needs a package that is not installed ({error}); run: pip install 'selfmocap[app]'"
        ) from error
    serve_app(config, lambda address: ERRORS.print(f"selfmocap: open {address} (Ctrl-C ends)"), browser)
