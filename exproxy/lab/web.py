"""The lab's HTTP service: Exchange's virtual directories, each a page that says who served it."""

# mypy: allow-untyped-calls
# (twisted.web and twisted.mail are not typed)
from __future__ import annotations

import html
from collections.abc import Callable
from enum import Enum
from typing import Any

from twisted.internet.interfaces import IPullProducer
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from exproxy.lab.login import same

DIRECTORIES = (
    "owa",
    "ecp",
    "ews",
    "oab",
    "mapi",
    "rpc",
    "microsoft-server-activesync",
    "autodiscover",
    "powershell",
)
WITH_LOGIN = ("ews", "microsoft-server-activesync", "autodiscover", "mapi", "rpc")
REALM = "outlook.litware.test"
SLOWEST = 120.0
LARGEST = 1 << 30
_BLOCK = b"exproxy lab " * 5461

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{server} - {directory}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:40rem;margin:3rem auto}}td{{padding-right:1rem}}</style>
</head><body><h1>{server}</h1><p>A simulated Exchange server. Requests served: {served}</p>
<table>
{rows}
</table></body></html>
"""
_ROW = "<tr><td>{0}</td><td><b>{1}</b></td></tr>"


def page(server: str, directory: str, served: int, facts: dict[str, str]) -> bytes:
    """The page of a directory as UTF-8; everything in it is escaped."""
    rows = "\n".join(_ROW.format(html.escape(name), html.escape(value)) for name, value in facts.items())
    return _PAGE.format(
        server=html.escape(server), directory=html.escape(directory), served=served, rows=rows
    ).encode()


class Illness(str, Enum):
    """What one virtual directory of one server does with its clients."""

    OK = "ok"
    REFUSE = "refuse"
    """Everything is answered 503."""
    DRAIN = "drain"
    """healthcheck.htm is answered 404, as in a managed maintenance; all else goes on."""


class Directories(Resource):
    """All virtual directories of one server, by path and not by resource: names are case-insensitive."""

    isLeaf = True

    def __init__(self, server: str, password: str, refusing: Callable[[], bool], reactor: Any) -> None:
        super().__init__()
        self.served = 0
        self.ill: dict[str, Illness] = {}
        self._server = server
        self._password = password
        self._refusing = refusing
        self._reactor = reactor

    def render(self, request: Request) -> bytes | int:
        """Any method on any path."""
        self.served += 1
        request.setHeader(b"x-server", self._server.encode())
        request.setHeader(b"server", b"exproxy-lab")
        if self._refusing():
            return self._say(request, 503, "this service refuses")
        parts = request.path.decode("utf-8", "replace").lower().strip("/").split("/")
        directory, rest = parts[0], "/".join(parts[1:])
        if not directory:
            request.redirect(b"/owa/")
            return self._say(request, 302, "see /owa/")
        if directory not in DIRECTORIES:
            return self._say(request, 404, "no such virtual directory")
        illness = self.ill.get(directory)
        if illness is Illness.REFUSE:
            return self._say(request, 503, "this directory refuses")
        if illness is Illness.DRAIN and rest == "healthcheck.htm":
            return self._say(request, 404, "this directory is in maintenance")
        if rest == "healthcheck.htm":
            return self._body(request, f"200 OK<br/>{self._server}".encode())
        if directory in WITH_LOGIN and not (
            request.getUser() and same(request.getPassword(), self._password)
        ):
            request.setHeader(b"www-authenticate", f'Basic realm="{REALM}"'.encode())
            return self._say(request, 401, "who are you?")
        return self._inside(request, directory, rest)

    def _inside(self, request: Request, directory: str, rest: str) -> bytes | int:
        if rest == "slow":
            return self._slow(request, directory)
        if rest == "bytes":
            return self._bytes(request)
        return self._body(request, self._page(request, directory))

    def _page(self, request: Request, directory: str) -> bytes:
        assert request.content is not None
        length = request.content.seek(0, 2)
        request.setHeader(b"x-body-length", str(length).encode())
        facts = {
            "Virtual directory": f"/{directory}",
            "Method": request.method.decode("ascii", "replace"),
            "Path": request.path.decode("utf-8", "replace"),
            "User": request.getUser().decode("utf-8", "replace") or "-",
            "Client (X-Forwarded-For)": _header(request, "x-forwarded-for"),
            "Forwarded protocol": _header(request, "x-forwarded-proto"),
            "Request (X-Request-ID)": _header(request, "x-request-id"),
            "Host": _header(request, "host"),
            "Body received": f"{length} bytes",
        }
        return page(self._server, directory, self.served, facts)

    def _body(self, request: Request, body: bytes, kind: str = "text/html; charset=utf-8") -> bytes:
        request.setHeader(b"content-type", kind.encode())
        request.setHeader(b"content-length", str(len(body)).encode())
        return body

    def _say(self, request: Request, status: int, text: str) -> bytes:
        request.setResponseCode(status)
        return self._body(
            request, f"{status} {text} ({self._server})\n".encode(), "text/plain; charset=utf-8"
        )

    def _slow(self, request: Request, directory: str) -> int:
        wait = min(_number(request, "seconds", 3.0), SLOWEST)

        def answer() -> None:
            request.write(self._body(request, self._page(request, directory)))
            request.finish()

        call = self._reactor.callLater(wait, answer)

        def gone(_: Failure | None) -> None:
            if call.active():
                call.cancel()

        request.notifyFinish().addBoth(gone)
        return NOT_DONE_YET

    def _bytes(self, request: Request) -> int:
        length = int(min(_number(request, "n", 1_000_000.0), LARGEST))
        request.setHeader(b"content-type", b"application/octet-stream")
        if _number(request, "chunked", 0.0) != 1:
            request.setHeader(b"content-length", str(length).encode())
        Blocks(request, length).begin()
        return NOT_DONE_YET


@implementer(IPullProducer)
class Blocks:
    """Writes so many bytes as fast as the client takes them, and never holds more than a block."""

    def __init__(self, request: HttpRequest, length: int) -> None:
        self._request = request
        self._left = length

    def begin(self) -> None:
        """Write until the end, or until the client is gone."""
        self._request.notifyFinish().addErrback(lambda _: None)
        self._request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """One block more."""
        block = _BLOCK[: self._left]
        self._left -= len(block)
        if block:
            self._request.write(block)
        if not self._left:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """The client is gone; nothing asks for more after this."""


class LabSite(Site):
    """A site without an access log: the balancer's tells the story."""

    noisy = False

    def log(self, request: HttpRequest) -> None:
        """Nothing."""


def site(directories: Directories, reactor: Any) -> LabSite:
    """The HTTP factory for a server's directories. Bodies are not parsed, only counted."""
    made = LabSite(directories, reactor=reactor, parsePOSTFormSubmission=False)
    made.displayTracebacks = False
    return made


def _header(request: Request, name: str) -> str:
    return request.getHeader(name) or "-"


def _number(request: Request, name: str, default: float) -> float:
    try:
        value = float((request.args or {})[name.encode()][0])
    except (KeyError, ValueError):
        return default
    return value if 0 <= value < float("inf") else default
