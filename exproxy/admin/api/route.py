"""A route of the API: what it is, who may use it, and what it takes and gives. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import unquote

from exproxy.admin.api.problem import Problem

if TYPE_CHECKING:
    from exproxy.admin.api.access import Access, Caller
    from exproxy.admin.plane import IPlane

PREFIX = "/api/v1"
Needs: TypeAlias = Literal["anyone", "read", "operate"]
# Methods that cannot change anything, wherever they come from (RFC 9110 9.2.1).
SAFE = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Tagged:
    """An answer with an entity tag (RFC 9110 8.8.3), which stands for what a change would be based on."""

    value: Any
    etag: str


@dataclass(frozen=True, slots=True)
class WithHeaders:
    """An answer that sets header fields of its own."""

    value: Any
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to be done. ``path``: the template's parts; ``query`` and ``body``: instances of the
    route's models; ``if_match``: that field of the request, or None; ``cookie``: that of a browser's session;
    ``peer``: who pays for wrong tokens; ``secure``: it came over TLS."""

    plane: IPlane
    access: Access
    caller: Caller
    path: Mapping[str, str] = field(default_factory=dict)
    query: Any = None
    body: Any = None
    if_match: str | None = None
    cookie: str | None = None
    peer: str = ""
    secure: bool = False

    def hold(self, etag: str) -> None:
        """Go on only where the caller knows the present state, if it says which one it knows."""
        if self.if_match is None or self.if_match.strip() == "*":
            return
        known = [each.strip() for each in self.if_match.split(",")]
        if etag not in known:
            raise Problem(
                HTTPStatus.PRECONDITION_FAILED,
                "changed",
                "it was changed by somebody else since you looked; look again, then decide",
                headers={"ETag": etag},
            )


Handler: TypeAlias = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """``path``: below /api/v1, with {parts}. ``answer``: a type that pydantic can write, ``body`` and
    ``query``: models, None for none; ``text``: the body is YAML text. ``changes``: it changes something,
    which the event log tells of; ``stream``: it can be read as server-sent events too."""

    method: str
    path: str
    needs: Needs
    handler: Handler
    answer: Any
    summary: str
    body: Any = None
    query: Any = None
    text: bool = False
    changes: bool = False
    stream: bool = False
    status: HTTPStatus = HTTPStatus.OK

    @property
    def parts(self) -> tuple[str, ...]:
        """The template's segments."""
        return tuple(self.path.strip("/").split("/"))

    @property
    def names(self) -> tuple[str, ...]:
        """Its parameters."""
        return tuple(part[1:-1] for part in self.parts if part.startswith("{"))


class Table:
    """All routes; which one is meant."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its parameters, for a path below /api/v1 that is percent-encoded still.

        Raises Problem: 404, 405, or 400 for a path that is no UTF-8.
        """
        parts = path.strip("/").split("/")
        allowed: list[str] = []
        for route in self.routes:
            found = _match(route.parts, parts)
            if found is None:
                continue
            if method == route.method or (method == "HEAD" and route.method == "GET"):
                return route, found
            allowed.append(route.method)
        if allowed:
            names = ", ".join(dict.fromkeys(allowed))
            detail = f"{method} is not possible here, only {names}"
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method", detail, headers={"Allow": names})
        raise Problem(
            HTTPStatus.NOT_FOUND, "no-such-path", f"there is nothing here; see {PREFIX}/openapi.json"
        )


def _match(template: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    if len(template) != len(parts):
        return None
    found = {}
    for wanted, part in zip(template, parts, strict=True):
        if wanted.startswith("{"):
            found[wanted[1:-1]] = _decoded(part)
        elif wanted != part:
            return None
    return found if all(found.values()) else None


def _decoded(part: str) -> str:
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise Problem(HTTPStatus.BAD_REQUEST, "malformed", "the path is no UTF-8") from None
    if not text.isprintable():
        raise Problem(HTTPStatus.BAD_REQUEST, "malformed", "the path has control characters")
    return text
