"""Short pages for requests that exproxy answers itself: generic words, no details."""

from __future__ import annotations

import html
import re

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


def refusal(
    status: int,
    reason: str | None = None,
    retry_after: int | None = None,
    close: bool = True,
    head_only: bool = False,
    date: bytes | None = None,
) -> bytes:
    """A whole response: head and a short HTML page.

    ``reason`` replaces the usual phrase (visible ASCII), ``retry_after`` is in seconds,
    ``close`` False leaves the connection open, which is explicit for HTTP/1.0's sake too,
    ``head_only`` answers HEAD, ``date`` is a finished IMF-fixdate (RFC 9110 5.6.7).
    Raises ValueError for a status without a page or a reason that is no phrase.
    """
    if status not in _WORDS:
        raise ValueError(f"no page for status {status}")
    phrase, text = _WORDS[status]
    if reason is not None:
        if not _PHRASE.fullmatch(reason):
            raise ValueError("a reason is visible ASCII")
        phrase = reason
    page = _PAGE.format(title=html.escape(f"{status} {phrase}"), text=text).encode("ascii")
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(page)}",
        "Cache-Control: no-store",
        f"Connection: {'close' if close else 'keep-alive'}",
    ]
    if retry_after is not None:
        lines.append(f"Retry-After: {retry_after}")
    if date is not None:
        lines.append(f"Date: {date.decode('ascii')}")
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    return head if head_only else head + page
