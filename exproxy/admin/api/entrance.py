"""Logging in and out, and the document of the API: routes that do not ask the plane."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from exproxy.admin.api.models import Me
from exproxy.admin.api.problem import Problem
from exproxy.admin.api.route import Call, WithHeaders
from exproxy.admin.api.sessions import LASTS

# A page that came by TLS has the first: only such a page can set it (RFC 6265bis 4.1.3.2).
SECURE_COOKIE = "__Host-exproxy"
PLAIN_COOKIE = "exproxy"


def set_cookie(value: str, secure: bool, lasts: float = LASTS) -> str:
    """The Set-Cookie field of a session; ``lasts`` 0 takes it away."""
    name = SECURE_COOKIE if secure else PLAIN_COOKIE
    more = "; Secure" if secure else ""
    return f"{name}={value}; Path=/; Max-Age={lasts:.0f}; HttpOnly; SameSite=Strict{more}"


def cookie_in(header: str | None, secure: bool) -> str | None:
    """The session's cookie in a Cookie field."""
    name = SECURE_COOKIE if secure else PLAIN_COOKIE
    for pair in (header or "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name and value:
            return value
    return None


async def me(call: Call) -> Me:
    """Who the caller is."""
    return Me(name=call.caller.name, role=call.caller.role, csrf=call.caller.csrf)


async def login(call: Call) -> WithHeaders:
    """A session for a browser, for a token."""
    if not call.access.tokens:
        detail = "there are no tokens here: nobody has to log in. Write admin.tokens to have some"
        raise Problem(HTTPStatus.CONFLICT, "no-tokens", detail)
    value, session = call.access.login(call.body.token, call.peer)
    if call.cookie is not None:
        call.access.sessions.end(call.cookie)
    known = Me(name=session.name, role=session.role, csrf=session.csrf)
    return WithHeaders(known, {"Set-Cookie": set_cookie(value, call.secure)})


async def logout(call: Call) -> WithHeaders:
    """The end of it."""
    if call.cookie is not None:
        call.access.sessions.end(call.cookie)
    gone = set_cookie("", call.secure, 0)
    return WithHeaders(Me(name="nobody", role=None), {"Set-Cookie": gone})


async def openapi(call: Call) -> dict[str, Any]:
    """This API's document."""
    from exproxy.admin.api.openapi import document
    from exproxy.admin.api.table import TABLE

    return document(TABLE)
