"""From a request of twisted.web to the values that decide, and to what a route takes."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from exproxy.admin.api.access import Asked, Door
from exproxy.admin.api.limits import Limits
from exproxy.admin.api.openapi import adapter
from exproxy.admin.api.problem import Problem, wrong_values
from exproxy.admin.api.route import Route

YAML = ("application/yaml", "application/x-yaml", "text/yaml")
# struct ucred of socket(7): pid, uid, gid.
_CREDENTIALS = struct.Struct("iII")


def header(request: Any, name: str) -> str | None:
    """A field's value, None where it is not there. Several are put together (RFC 9110 5.3): of what decides,
    such as Host, Origin or Authorization, two are then none that anybody knows."""
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    return ", ".join(value.decode("latin-1") for value in values) if values else None


def asked(request: Any, door: Door) -> Asked:
    """What of a request decides on access."""
    if door.local:
        peer = _user_of(request.channel.transport, header(request, "X-Exproxy-User"))
        where = "the unix socket"
    else:
        address = request.channel.getPeer()
        peer, where = address.host, f"{address.host}:{address.port}"
    return Asked(
        method=request.method.decode("ascii", "replace"),
        peer=peer,
        where=where,
        host=header(request, "Host"),
        origin=header(request, "Origin"),
        fetch_site=header(request, "Sec-Fetch-Site"),
        authorization=header(request, "Authorization"),
        cookie=None,
        csrf=header(request, "X-CSRF-Token"),
        to="" if door.local else request.channel.getHost().host,
    )


def _user_of(transport: Any, said: str | None) -> str:
    """Who is at the other end of a unix socket, by the kernel's word; root may say for whom it speaks."""
    raw = transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    if said and uid in (0, os.geteuid()) and said.isprintable() and len(said) <= 64 and said != name:
        return f"{said} ({name})"
    return name


def query_of(route: Route, raw: str) -> Any:
    """The query as an instance of the route's model. Raises Problem: 400, 422."""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw), errors="strict")
    except ValueError:
        raise Problem(HTTPStatus.BAD_REQUEST, "malformed", "the query is malformed") from None
    words = dict(pairs)
    if len(words) != len(pairs):
        raise Problem(HTTPStatus.BAD_REQUEST, "malformed", "a query parameter is there twice")
    if route.query is None:
        if words:
            detail = f"there are no query parameters here: leave {', '.join(sorted(words))[:100]} out"
            raise Problem(HTTPStatus.BAD_REQUEST, "malformed", detail)
        return None
    try:
        return route.query.model_validate_strings(words)
    except ValidationError as error:
        raise _invalid("a query parameter is wrong", error) from None


def body_of(route: Route, request: Any, limits: Limits) -> Any:
    """The body as the route takes it. Raises Problem: 400, 413, 415, 422."""
    if request.too_large:
        detail = f"the body is longer than {limits.body // 1024} kB"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", detail)
    if route.body is None and not route.text:
        return None
    raw = request.kept.getvalue()
    kind = (header(request, "Content-Type") or "").partition(";")[0].strip().lower()
    allowed = YAML if route.text else ("application/json",)
    # Forms, which any page can send, are none of these.
    if raw and kind not in allowed:
        detail = f"the body must have the Content-Type {allowed[0]}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
    if route.text:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Problem(HTTPStatus.BAD_REQUEST, "malformed", "the body is no UTF-8") from None
    try:
        return adapter(route.body).validate_json(raw or b"{}")
    except ValidationError as error:
        raise _invalid("the body is wrong", error) from None


def _invalid(what: str, error: ValidationError) -> Problem:
    # Neither the value nor pydantic's address belongs into the answer.
    errors = wrong_values(error.errors(include_url=False, include_input=False, include_context=False))
    malformed = any(each["type"] == "json_invalid" for each in error.errors(include_url=False))
    status = HTTPStatus.BAD_REQUEST if malformed else HTTPStatus.UNPROCESSABLE_ENTITY
    detail = "; ".join(f"{each.path}: {each.message}" if each.path else each.message for each in errors[:5])
    return Problem(status, "invalid", f"{what}: {detail}", errors=errors)
