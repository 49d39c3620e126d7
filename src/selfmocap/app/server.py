"""Run the server of the app."""

import errno
import fcntl
import getpass
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from html import escape

from aiohttp import web
from aiohttp.typedefs import Handler

from selfmocap.app.access import (
    access_check,
    add_headers,
    add_login,
    error_response,
    read_token,
    write_private,
)
from selfmocap.app.captures import CaptureQueue
from selfmocap.app.config import AppConfig
from selfmocap.app.routes import Routes
from selfmocap.app.strings import text
from selfmocap.app.tasks import TaskError
from selfmocap.app.uploads import RefusedUploadError, Uploads

_MAX_BODY_BYTES = 1 << 16
"""Of a request that is no upload."""
_PORTS_TRIED = 20
_SHUTDOWN_SECONDS = 1.0
_PRIVATE = ".selfmocap"
"""Folder of the token and the lock."""


def serve_app(config: AppConfig, announce: Callable[[str], None], open_browser: bool) -> None:
    """Serve the page until Ctrl-C; `announce` is called with its address.

    Raises ValueError where another app uses the folder, OSError where the port or the folder cannot be used."""
    if config.password == "-":
        config = replace(config, password=getpass.getpass(text("password") + ": "))
    folder = config.folder.expanduser().resolve()
    private = folder / _PRIVATE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private.mkdir(mode=0o700, exist_ok=True)
    with (private / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(text("folder_in_use", folder=folder)) from None
        token = read_token(private / "token")

        sock = _listening_socket(config.host, config.port)
        address = f"http://{_in_address(config.host)}:{sock.getsockname()[1]}/{token}/"
        announce(address)
        # The command line of a browser can be read by other users of the machine, a private file cannot.
        opener = private / "open.html"
        write_private(
            opener, f'<meta charset="utf-8"><meta http-equiv="refresh" content="0;url={escape(address)}">'
        )
        if open_browser:
            webbrowser.open(opener.as_uri())
        app = create_app(replace(config, folder=folder), token)
        web.run_app(app, sock=sock, access_log=None, print=None, shutdown_timeout=_SHUTDOWN_SECONDS)


def create_app(config: AppConfig, token: str) -> web.Application:
    """Return the application for a folder that exists."""
    queue = CaptureQueue(config.folder, config.parallel)
    uploads = Uploads(config.folder, round(config.max_upload_gb * 1e9))
    app = web.Application(middlewares=[access_check(config, token), _refuse], client_max_size=_MAX_BODY_BYTES)
    app.on_response_prepare.append(add_headers)
    Routes(queue, uploads).add_to(app)
    add_login(app, config.password, token)

    async def run_queue(_: web.Application) -> AsyncIterator[None]:
        queue.fill()
        yield
        await queue.close()

    app.cleanup_ctx.append(run_queue)
    return app


@web.middleware
async def _refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors that a user can cause with their sentence."""
    try:
        return await handler(request)
    except RefusedUploadError as error:
        return error_response(error.status, str(error))
    except (ValueError, ImportError, TaskError) as error:
        return error_response(422, str(error))
    except ConnectionError:  # The other side has gone.
        return error_response(400, text("cut_off"))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return error_response(error.status, error.reason)
    except OSError as error:
        return error_response(507 if error.errno == errno.ENOSPC else 422, str(error))


def _listening_socket(host: str, port: int) -> socket.socket:
    """Listen on a port, or on the next free one. Raises OSError without any."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + _PORTS_TRIED, 65536) if port else 1):
        try:
            return socket.create_server((host, candidate), family=family)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(text("no_port", first=port, last=port + _PORTS_TRIED - 1))


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
