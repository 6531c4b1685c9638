"""Which route of a service a request takes, and what exproxy answers where it answers itself."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from exproxy.interfaces import IService
from exproxy.model import TLS, Facts, Source
from exproxy.routes import Answer, Redirect, Reply, Route
from exproxy.settings import Limits, Timeouts
from protocols.http import paths
from protocols.http.head import RequestHead
from protocols.http.marks import Marks
from protocols.http.refusal import has_page, page, refusal

# Hosts and directories whose route is remembered, and how long they may be together.
_WAYS = 1024
_USUAL = 512
_PORT = re.compile(r":[0-9]*$")


@dataclass(frozen=True, slots=True)
class Way:
    """Where a request goes. ``route``: its name, None where none matched; ``answer``: what exproxy says
    itself, else the request goes to that route's pool (the service's own without a route)."""

    route: str | None
    timeouts: Timeouts
    limits: Limits
    answer: Answer | None = None


# Of a request that has none yet.
NO_WAY = Way(None, Timeouts(), Limits())


class _Matcher:
    """One route, ready to be compared with."""

    __slots__ = ("_below", "_exact", "_hosts", "_suffixes", "everything", "route", "way")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.way = Way(route.name, route.timeouts, route.limits, route.answer)
        self._below = tuple(map(paths.prefix, route.paths))
        # "/owa/" and "/owa" are two addresses when the whole path counts.
        self._exact = frozenset(tuple(path.lower().split("/")[1:]) for path in route.exact)
        self._hosts = frozenset(host for host in route.hosts if not host.startswith("*."))
        self._suffixes = tuple(host[1:] for host in route.hosts if host.startswith("*."))
        self.everything = not route.paths and not route.exact

    @property
    def depth(self) -> int:
        """So many segments are looked at."""
        return max(map(len, (*self._below, *self._exact)), default=0)

    def fits(self, host: str, segments: tuple[str, ...]) -> bool:
        """Whether a request for that host and path takes this route."""
        if self.route.hosts and host not in self._hosts and not host.endswith(self._suffixes or ("\n",)):
            return False
        if self.everything or segments in self._exact:
            return True
        return any(segments[: len(each)] == each for each in self._below)


def _shown(route: Route, facts: Facts) -> bool:
    tls = facts.get(TLS)
    return not route.needs_certificate or (tls is not None and tls.certificate is not None)


class Routing:
    """The routes of one service, in their order; shared by all its conversations.

    ``marks``: the cookies of their persistences; ``routed``: whether there are any.
    """

    def __init__(self, service: IService) -> None:
        self._matchers = [_Matcher(route) for route in service.routes]
        self.routed = bool(self._matchers)
        self._depth = max((each.depth for each in self._matchers), default=0)
        # Clients ask for few directories, again and again.
        self._fitting = lru_cache(maxsize=_WAYS)(self._first)
        self._host_name = service.host_name
        self._rest = Way(None, service.timeouts, service.limits, service.answer)
        self.marks = Marks(service)
        self._hsts: bytes | None = service.hsts

    def read(self, head: RequestHead) -> tuple[RequestHead, tuple[str, ...]]:
        """The head with the path that is sent on, and the segments of that path.

        Without routes a path decides nothing and stays as it came. Raises BadMessage (400).
        """
        target = head.target
        if not target.startswith(b"/"):
            return head, ()
        if not self._matchers:
            if b"%" in target:
                paths.check(head.path)
            return head, ()
        raw = head.path
        path = paths.canonical(raw, head.query, max(self._depth, 1))
        if path.raw != raw:
            head = replace(head, target=path.raw + head.target[len(raw) :])
        return head, path.segments

    def way(self, head: RequestHead, segments: tuple[str, ...], facts: Facts) -> Way:
        """The first route that fits; a client that it does not admit is refused, and no other is tried."""
        if not self._matchers:
            return self._rest
        # So many segments decide, and one more says that there are more.
        deciding = segments[: self._depth + 1]
        find = self._fitting if len(head.host) + len(head.target) <= _USUAL else self._first
        each = find(head.host, deciding)
        if each is None:
            return self._rest
        if each.route.admits(facts[Source].host) and _shown(each.route, facts):
            return each.way
        return replace(each.way, answer=Reply(403))

    def _first(self, authority: bytes, segments: tuple[str, ...]) -> _Matcher | None:
        host = _PORT.sub("", authority.decode("ascii")).lower().rstrip(".")
        return next((each for each in self._matchers if each.fits(host, segments)), None)

    def says(self, answer: Answer, head: RequestHead, close: bool) -> bytes:
        """The whole response."""
        head_only = head.method == b"HEAD"
        if isinstance(answer, Reply):
            if answer.text is None and has_page(answer.status):
                return refusal(answer.status, close=close, head_only=head_only, hsts=self._hsts)
            body = f"{answer.text or answer.status}\n".encode()
            fields = self._fields()
            return page(answer.status, body, "text/plain", fields, close=close, head_only=head_only)
        location = self._location(answer, head)
        shown = html.escape(location)
        text = f'<!DOCTYPE html>\n<title>Elsewhere</title>\n<p>See <a href="{shown}">{shown}</a>.\n'
        fields = [f"Location: {location}", *self._fields()]
        return page(answer.status, text.encode(), "text/html", fields, close=close, head_only=head_only)

    def _fields(self) -> list[str]:
        return [] if self._hsts is None else [f"Strict-Transport-Security: {self._hsts.decode('ascii')}"]

    def _location(self, answer: Redirect, head: RequestHead) -> str:
        if answer.to == "https":
            host = _PORT.sub("", head.host.decode("ascii")) or self._host_name
            port = f":{answer.port}" if answer.port not in (None, 443) else ""
            target = head.target.decode("ascii") if head.target.startswith(b"/") else "/"
            return f"https://{host}{port}{target}"
        query = head.query if answer.query else None
        return answer.to if query is None else f"{answer.to}?{query.decode('ascii')}"
