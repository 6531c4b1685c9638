"""What a service, or a route of it, answers itself: the keys ``redirect:``, ``status:`` and ``text:``."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from exproxy.config.document import Document
from exproxy.config.errors import Where
from exproxy.config.kinds import Port, Short
from exproxy.config.sections import Section
from exproxy.routes import Answer, Redirect, Reply

# What can be said without a body, or without sending the client elsewhere, has no text.
_WITHOUT_PAGE = (204, 205, 304)


def _destination(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text or "#" in text:
        raise ValueError("an address is written in plain ASCII, without blanks and fragment")
    if text == "https" or (text.startswith("/") and not text.startswith("//")):
        return text
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be https (the same address over https), a path (/owa/) or a whole address")
    return text


def _status(code: int) -> int:
    if 300 <= code < 400:
        raise ValueError("sends the client elsewhere: that is `redirect: {to: …, status: …}`")
    if code in _WITHOUT_PAGE:
        raise ValueError("is an answer without a page, which no client expects here")
    return code


def _redirect(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


class RedirectSection(Section):
    """Where a client is sent; a bare destination is short for it."""

    to: Annotated[str, AfterValidator(_destination)]
    """https: the same host, path and query over https; /path: on the same host; or a whole address."""
    status: Literal[301, 302, 303, 307, 308] = 302
    """301 and 308 are kept by clients for good; 307 and 308 repeat the method and the body."""
    query: bool = False
    """Append the query of the request; with `to: https` it stays in any case."""
    port: Port | None = None
    """With `to: https`: the port where https is. Default 443."""


RedirectItem: TypeAlias = Annotated[
    RedirectSection,
    BeforeValidator(_redirect),
    Short({"type": "string", "examples": ["https", "/owa/"]}),
]


class AnswerSection(Section):
    """What exproxy answers itself instead of a server."""

    redirect: RedirectItem | None = None
    """Send the client elsewhere: https, a path, a whole address, or {to, status, query, port}."""
    status: Annotated[int, Field(ge=200, le=599), AfterValidator(_status)] | None = None
    """Answer with this status, such as 404, and no server."""
    text: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """The words that go with `status`, as plain text."""


def answer(document: Document, section: AnswerSection, where: Where) -> Answer | None:
    """The answer that the section describes; None where it has none."""
    if section.redirect is not None:
        _alone(document, section, where)
        to = section.redirect
        if to.port is not None and to.to != "https":
            document.error((*where, "redirect", "port"), "goes with `to: https` only", at_key=True)
        return Redirect(to.to, to.status, to.query, to.port)
    if section.status is not None:
        return Reply(section.status, section.text)
    if section.text is not None:
        document.error((*where, "text"), "goes with a status: add `status: 404` or another", at_key=True)
    return None


def _alone(document: Document, section: AnswerSection, where: Where) -> None:
    for key in ("status", "text"):
        if getattr(section, key) is not None:
            text = "a redirect has its own status: `redirect: {to: …, status: 301}`"
            document.error((*where, key), text, at_key=True)
