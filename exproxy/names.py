"""Servers that are configured by name: resolved at start, and again whenever their time is over.

A failure keeps the last answer: a name server that is away must not take the mail servers with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer


def is_address(text: str) -> bool:
    """Whether it is an IP address already."""
    return isIPAddress(text) or isIPv6Address(text)


@implementer(IResolutionReceiver)
class _Answer:
    def __init__(self, done: Callable[[list[str]], None]) -> None:
        self._done = done
        self._hosts: list[str] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """Nothing to keep: an answer that comes late finds nobody interested."""

    def addressResolved(self, address: Any) -> None:
        self._hosts.append(address.host)

    def resolutionComplete(self) -> None:
        self._done(self._hosts)


def resolve(reactor: Any, name: str) -> Deferred[list[str]]:
    """A Deferred of the addresses of a name, best first, [] where it has none; an address is its own."""
    found: Deferred[list[str]] = Deferred()
    if is_address(name):
        found.callback([name])
    else:
        reactor.nameResolver.resolveHostName(_Answer(found.callback), name)
    return found


class Names:
    """Keeps host names resolved, and tells of every change: ``changed(name, address)``.

    Of several addresses the present one is kept while it is among them, else the first is taken.
    """

    log = Logger()

    def __init__(self, reactor: Any, changed: Callable[[str, str], None]) -> None:
        self._reactor = reactor
        self._changed = changed
        self._ttl: dict[str, float] = {}
        self._known: dict[str, str] = {}
        self._calls: dict[str, IDelayedCall] = {}
        self._generation = 0

    def start(self, names: Iterable[tuple[str, float]]) -> None:
        """Begin with (name, seconds between questions); addresses are told at once and never asked."""
        for name, ttl in names:
            if is_address(name):
                self._changed(name, name)
            else:
                self._ttl[name] = ttl
                self._ask(name)

    def stop(self) -> None:
        """Ask no more; idempotent."""
        self._generation += 1
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def _ask(self, name: str) -> None:
        self._calls.pop(name, None)
        generation = self._generation

        def done(hosts: list[str]) -> None:
            if generation == self._generation:
                self._answered(name, hosts)

        self._reactor.nameResolver.resolveHostName(_Answer(done), name)

    def _answered(self, name: str, hosts: list[str]) -> None:
        known = self._known.get(name)
        if not hosts:
            self.log.warn(
                "The server name {name} cannot be resolved{kept}.",
                name=name,
                kept=f"; {known} is kept" if known else "",
            )
        elif known not in hosts:
            self._known[name] = hosts[0]
            if known is not None:
                self.log.info(
                    "The server name {name} is now {new}, was {old}.", name=name, new=hosts[0], old=known
                )
            self._changed(name, hosts[0])
        wait = self._ttl[name] if hosts else min(self._ttl[name], 5.0)
        self._calls[name] = self._reactor.callLater(wait, self._ask, name)
