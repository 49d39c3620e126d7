"""Decide which requests are answered: the right host, the same origin, and the token in the address."""

import asyncio
import hmac
import ipaddress
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from selfmocap.app.config import LOCAL_HOST, AppConfig
from selfmocap.app.strings import text
from selfmocap.io.atomic import atomic_write

_TOKEN_BYTES = 24
_WRONG_PASSWORD_SECONDS = 1.0

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self' blob:; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
"""What the page may load: only its own files, and data that it holds already."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self)",
}


def read_token(path: Path) -> str:
    """Return the token of a folder, which stays the same over restarts; write a random one at first."""
    if path.is_file() and len(token := path.read_text().strip()) >= _TOKEN_BYTES:
        return token
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    write_private(path, token)
    return token


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read, atomically."""
    with atomic_write(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_text(content)


def error_response(status: int, message: str) -> web.Response:
    """Return a refusal with its sentence, as JSON."""
    return web.json_response({"error": message}, status=status)


def access_check(config: AppConfig, token: str) -> Middleware:
    """Return the middleware that refuses all requests which do not come from the page or its address."""
    names = {"localhost", config.host} if config.host == LOCAL_HOST else _names_of_machine(config.host)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = _refusal(request, names, config.host != LOCAL_HOST, token)
        if refusal is not None:
            return refusal
        return await handler(request)

    return check


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of all responses; the policy is that of the page unless the handler has set one."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    response.headers.setdefault("Cache-Control", "no-store")


def _names_of_machine(host: str) -> set[str]:
    return {"localhost", host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}


def _refusal(request: web.Request, names: set[str], any_address: bool, token: str) -> web.Response | None:
    host = (urlsplit(f"//{request.headers.get('Host', '')}").hostname or "").lower()
    if host not in names and not (any_address and _is_address(host)):
        return error_response(403, text("wrong_host"))
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.headers['Host']}":
        return error_response(403, text("wrong_origin"))
    site = request.headers.get("Sec-Fetch-Site", "none")
    opens_page = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    if site not in ("same-origin", "none") and not opens_page:
        return error_response(403, text("wrong_origin"))
    given = request.match_info.get("token")
    if given is not None and not hmac.compare_digest(given.encode(), token.encode()):
        return error_response(403, text("wrong_token"))
    return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def add_login(app: web.Application, password: str | None, token: str) -> None:
    """Add the page without a token: it asks for the password, or names the remedy where there is none."""
    wrong = asyncio.Lock()

    async def ask(_: web.Request) -> web.Response:
        if password is None:
            return error_response(403, text("wrong_token"))
        return _login_page("")

    async def check(request: web.Request) -> web.Response:
        if password is None:
            return error_response(403, text("wrong_token"))
        async with wrong:  # One guess at a time.
            given = str((await request.post()).get("password", ""))
            if hmac.compare_digest(given.encode(), password.encode()):
                raise web.HTTPSeeOther(f"/{token}/")
            await asyncio.sleep(_WRONG_PASSWORD_SECONDS)
        return _login_page(text("wrong_password"))

    app.router.add_get("/", ask)
    app.router.add_post("/", check)


def _login_page(message: str) -> web.Response:
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>selfmocap</title><h1>selfmocap</h1><form method="post"><p role="alert">{message}</p>'
        f'<p><label>{text("password")} <input type="password" name="password" autofocus required></label></p>'
        f"<p><button>{text('log_in')}</button></p></form></html>"
    )
    return web.Response(text=page, content_type="text/html", status=403 if message else 200)
