"""Facts and links with sensible values, so that a test names only what it is about."""

from __future__ import annotations

from exproxy.model import Destination, Facts, Link, Source


def facts(
    *more: object, source: str = "192.0.2.1", port: int = 25, destination: str = "203.0.113.1"
) -> Facts:
    """What is known of a client from ``source`` that reached ``port`` of ``destination``; ``more``
    facts beside. Equal arguments give equal Facts."""
    return Facts(Source(source, 40000), Destination(destination, port), *more)


def link(server: str = "exch1", number: int = 1, host: str = "192.0.2.11", port: int = 25) -> Link:
    """A link to a server. Equal arguments give equal Links."""
    return Link(number, server, host, port)
