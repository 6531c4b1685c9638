"""What the tests of persistences over HTTP share: request heads, and what a pick knows with them."""

from __future__ import annotations

import base64

from exproxy.model import Facts, Source
from protocols.http.head import RequestHead, ResponseHead, parse_request, parse_response
from protocols.http.peer import Scheme

CHROME = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"
OUTLOOK = b"Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.5422; Pro)"


def asking(*fields: bytes, path: bytes = b"/owa/", agent: bytes | None = CHROME) -> RequestHead:
    """A request head."""
    lines = [b"GET %b HTTP/1.1" % path, b"Host: mail.example.org", *fields]
    if agent is not None:
        lines.append(b"User-Agent: " + agent)
    return parse_request(b"\r\n".join([*lines, b"", b""]))


def saying(*fields: bytes) -> ResponseHead:
    """The head of an answer."""
    return parse_response(b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"", b""]))


def known(head: RequestHead, *more: object, source: str = "192.0.2.1", scheme: str = "https") -> Facts:
    """What a pick knows."""
    return Facts(Source(source, 40000), Scheme(scheme), head, *more)


def basic(user: str, password: str = "secret") -> bytes:
    """Basic credentials."""
    return b"Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode())
