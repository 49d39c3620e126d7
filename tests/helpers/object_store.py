"""An S3 server on this machine that can be told to fail."""

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

_SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


class QuietHandler(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


class FailingStore:
    """moto's S3 as a WSGI application. `fault` gives for each request, by its method and path, `slow` (503), `cut`
    (the connection ends in the middle of the request), `denied` (403), or None."""

    def __init__(self) -> None:
        self.app = DomainDispatcherApplication(create_backend_app)
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.faults = Counter[str]()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        fault = self.fault(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if fault is None:
            return self.app(environ, start_response)
        self.faults[fault] += 1
        if fault == "cut":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, body = ("503 Slow Down", _SLOW_DOWN) if fault == "slow" else ("403 Forbidden", _DENIED)
        start_response(status, [("Content-Type", "application/xml")])
        return [body.encode()]


@contextlib.contextmanager
def serve(store: FailingStore) -> Iterator[str]:
    """Serve at a free port; give the address."""
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
