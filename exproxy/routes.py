"""Routes: what a service does with a part of its requests. Values that a protocol matches and obeys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from exproxy.settings import Limits, Networks, Timeouts


@dataclass(frozen=True, slots=True)
class Redirect:
    """The client is sent elsewhere.

    ``to``: ``https`` (the same address over https, at ``port`` where that is not 443), a path on the
    same host, or a whole address. ``query``: the request's query is appended (for https it always is).
    """

    to: str
    status: int = 302
    query: bool = False
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A page of a few words. ``text`` None: the status' own."""

    status: int
    text: str | None = None


Answer: TypeAlias = Redirect | Reply


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of ``routes:``.

    A request fits where its host is one of ``hosts`` (``*.x``: anything below x; () any) and its path
    is one of ``exact`` or below one of ``paths`` (both () any). ``answer``: what exproxy says itself;
    None where the route has a pool, whose Pick's ``target`` is ``name``. Clients that ``deny`` names,
    or ``allow`` does not, are refused, and where ``needs_certificate`` those without one of their own.
    """

    name: str
    paths: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    allow: Networks | None = None
    deny: Networks | None = None
    answer: Answer | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    needs_certificate: bool = False

    def admits(self, host: str) -> bool:
        """Whether a client with that address may use it; deny wins over allow."""
        if self.deny is not None and host in self.deny:
            return False
        return self.allow is None or host in self.allow
