"""Short pages for requests that exproxy answers itself: generic words, no details."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# Phrases of RFC 9110 15 (431: RFC 6585 5) and what a person may want to read.
_WORDS = {
    400: ("Bad Request", "Your browser or program sent a request that cannot be understood."),
    403: ("Forbidden", "This is not available from here."),
    404: ("Not Found", "There is nothing at this address."),
    408: ("Request Timeout", "The request took too long to arrive."),
    413: ("Content Too Large", "The request is larger than allowed."),
    414: ("URI Too Long", "The address is longer than allowed."),
    431: ("Request Header Fields Too Large", "The request carries more header fields than allowed."),
    500: ("Internal Server Error", "Something went wrong here. Please try again later."),
    501: ("Not Implemented", "This kind of request is not supported."),
    502: ("Bad Gateway", "The server behind this address gave no usable answer. Please try again later."),
    503: ("Service Unavailable", "The service is not available now. Please try again in a little while."),
    504: ("Gateway Timeout", "The server behind this address did not answer in time."),
    505: ("HTTP Version Not Supported", "This version of HTTP is not supported."),
}
_PHRASE = re.compile(r"[ -~]+")
_PAGE = (
    "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>{title}</title></head>\n"
    "<body><h1>{title}</h1><p>{text}</p></body></html>\n"
)


# Statuses that exproxy says without having a page for them (RFC 9110 15).
_PHRASES = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    401: "Unauthorized",
    405: "Method Not Allowed",
    410: "Gone",
    429: "Too Many Requests",
}


def has_page(status: int) -> bool:
    """Whether ``refusal`` has words for that status."""
    return status in _WORDS


def refusal(
    status: int,
    reason: str | None = None,
    retry_after: int | None = None,
    close: bool = True,
    head_only: bool = False,
    date: bytes | None = None,
    hsts: bytes | None = None,
) -> bytes:
    """A whole response: head and a short HTML page.

    ``reason`` replaces the usual phrase (visible ASCII), ``retry_after`` is in seconds,
    ``close`` False leaves the connection open, which is explicit for HTTP/1.0's sake too,
    ``head_only`` answers HEAD, ``date`` is a finished IMF-fixdate (RFC 9110 5.6.7),
    ``hsts`` the value of Strict-Transport-Security.
    Raises ValueError for a status without a page or a reason that is no phrase.
    """
    if status not in _WORDS:
        raise ValueError(f"no page for status {status}")
    phrase, text = _WORDS[status]
    if reason is not None:
        if not _PHRASE.fullmatch(reason):
            raise ValueError("a reason is visible ASCII")
        phrase = reason
    body = _PAGE.format(title=html.escape(f"{status} {phrase}"), text=text).encode("ascii")
    fields = []
    if retry_after is not None:
        fields.append(f"Retry-After: {retry_after}")
    if date is not None:
        fields.append(f"Date: {date.decode('ascii')}")
    if hsts is not None:
        fields.append(f"Strict-Transport-Security: {hsts.decode('ascii')}")
    return page(status, body, "text/html", fields, close=close, head_only=head_only, phrase=phrase)


def page(
    status: int,
    body: bytes,
    kind: str,
    fields: Iterable[str] = (),
    *,
    close: bool = True,
    head_only: bool = False,
    phrase: str | None = None,
) -> bytes:
    """A whole response of ``kind`` (a media type, its text being UTF-8) with more ``fields``, each a line
    without its end. Nobody may keep it."""
    if phrase is None:
        phrase = _WORDS[status][0] if status in _WORDS else _PHRASES.get(status, "Answer")
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        f"Connection: {'close' if close else 'keep-alive'}",
        *fields,
    ]
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return head if head_only else head + body
