"""What holds for every request, before anything of it is looked at: the host it was sent to, where it comes
from, how large it is; and what every answer tells the browser.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_BODY_BYTES = 256 * 1024
_CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
_HEADERS = {
    # No script, style or picture but the app's own files; nothing inline, nothing from elsewhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(frozen=True)
class Door:
    """Where the app listens, and who comes in.

    host: the address that is listened on. token_needed: whether a browser needs one; without, only this
    machine is let in. names: further names under which the app is reached, as behind a proxy.
    """

    host: str
    token_needed: bool
    names: tuple[str, ...] = ()

    def knows(self, host: str) -> bool:
        """Whether a `Host` header names this app. Another name would mean that somebody's domain was made
        to point here (DNS rebinding). An address cannot be made to: it is enough where any is listened on."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in {*LOOPBACK, self.host, *self.names}:
            return True
        if not self.token_needed or self.host not in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            return False
        return _is_address(name) or name in {socket.gethostname().lower(), socket.getfqdn().lower()}


class Guard:
    """An ASGI app around another, see the module."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse and say why."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # no websockets

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, Headers(scope=scope))
        await (refusal or self._app)(scope, receive, marked)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._door.knows(hosts[0]):
            return _refuse(400, "This is not the name under which the app is reached.")
        if not self._door.token_needed:
            client = scope.get("client") or ("", 0)
            if client[0] not in LOOPBACK:
                return _refuse(403, "Only this machine may open the app; start it with --host for others.")
            if any(name in headers for name in _FORWARDED):
                return _refuse(403, "Behind a proxy the app needs tokens; start it with --require-token.")
        if scope["method"] in _CHANGING:
            return self._refuse_change(headers, hosts[0])
        return None

    def _refuse_change(self, headers: Headers, host: str) -> PlainTextResponse | None:
        origin = headers.get("origin")
        # A proxy may speak https to the browser, so only the host is compared.
        if origin is not None and urlsplit(origin).netloc != host:
            return _refuse(403, "The form is of another site.")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return _refuse(415, "Only forms are taken, no files.")
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            return _refuse(411, "The length of the form is missing.")
        if int(length) > MOST_BODY_BYTES:
            return _refuse(413, "The form is too long.")
        return None


def _refuse(status: int, why: str) -> PlainTextResponse:
    return PlainTextResponse(f"{why}\n", status_code=status)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
