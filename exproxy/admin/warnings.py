"""What an operator should know now, seen from the whole."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from exproxy.admin.status import Notice
from exproxy.build import Built
from exproxy.config import Reaching
from exproxy.config.selection import lacking
from exproxy.interfaces import IPersistencePlugin
from exproxy.plugins import Catalogue, Selected
from exproxy.tls.material import days_left
from exproxy.tls.watching import SOON

if TYPE_CHECKING:
    from exproxy.service import ExproxyService

# A skew: so many addresses have so much of a service's connections, where there are so many at all.
SKEW_SOURCES = 3
SKEW_SHARE = 0.5
SKEW_LEAST = 100
# Persistences that know a client by its address alone.
BY_ADDRESS = ("source-ip",)
# They need what a proxy or a server behind must be configured for, or nothing tells clients apart by them.
_NO_ADVICE = (*BY_ADDRESS, "none", "header", "client-certificate")


class Warnings:
    """Of one process."""

    def __init__(self, service: ExproxyService) -> None:
        self._service = service
        # By protocol: plugins are dear to look at.
        self._advice: dict[str, str] = {}

    def __iter__(self) -> Iterator[Notice]:
        """All that there are, the gravest first."""
        for one in self._service.built:
            yield from _down(one)
        for one in self._service.built:
            yield from _certificates(one)
            yield from _skew(one, self._mend)
            yield from _unverified(one)
        if self._service.crew is not None:
            yield Notice(
                "workers",
                "several workers carry the traffic: health, states, weights and tables are those of all; "
                "sessions, counters and plots are of the supervisor, which carries none",
            )
        elif not any(one.service.records for one in self._service.built):
            yield Notice(
                "uncounted",
                "connections and requests are not counted: there is neither an access log nor an `admin:`",
            )

    def _mend(self, owner: Reaching) -> str:
        name = owner.protocol.name
        if name not in self._advice:
            self._advice[name] = _mend(owner)
        return self._advice[name]


def _down(one: Built) -> Iterator[Notice]:
    for pool, _ in one.pools:
        if any(each.usable_for_new() for each in pool.backends):
            continue
        states = ", ".join(f"{each.server} {each.state}" for each in pool.backends) or "it has none"
        yield Notice("down", f"{pool.name}: no server can take a new client ({states})", one.service.name)


def _certificates(one: Built) -> Iterator[Notice]:
    tls = one.service.server_tls
    now = datetime.datetime.now(datetime.timezone.utc)
    for each in tls.certificates if tls is not None else ():
        days = days_left(each, now)
        if days < SOON:
            name = each.subject.rfc4514_string()
            end = "has expired" if days < 0 else f"expires in {days} days"
            text = f"the certificate of {name} {end}, on {each.not_valid_after_utc:%Y-%m-%d}"
            yield Notice("certificate", text, one.service.name)


def _unverified(one: Built) -> Iterator[Notice]:
    for pool, target in one.pools:
        if target.tls is not None and not target.tls.verified:
            text = f"{pool.name} does not verify its servers' certificates (verify: none)"
            yield Notice("verify-none", text, one.service.name)


def _skew(one: Built, mend: Callable[[Reaching], str]) -> Iterator[Notice]:
    count = len(one.service.sessions)
    owners = {owner.name: owner for owner in one.owners.values() if len(owner.servers) > 1}
    suffer = [owner for owner in owners.values() if _by_address(owner)]
    if count < SKEW_LEAST or not suffer:
        return
    top = one.service.most_sources(SKEW_SOURCES)
    share = sum(many for _, many in top) / count
    if share <= SKEW_SHARE:
        return
    hosts = ", ".join(host for host, _ in top)
    yield Notice(
        "skew",
        f"{share:.0%} of the {count} connections come from {len(top)} addresses ({hosts}), and source-ip has "
        f"each of them on one server; {mend(suffer[0])}; if these are proxies of yours, have them tell who "
        "is behind them (trusted-proxies, accept-proxy)",
        one.service.name,
    )


def _by_address(owner: Reaching) -> bool:
    options = owner.persistence.options
    fallback = getattr(options, "fallback", None)
    below = fallback.plugin.name if isinstance(fallback, Selected) else None
    return owner.persistence.name in BY_ADDRESS or below in BY_ADDRESS


def _mend(owner: Reaching) -> str:
    """Which persistence would tell such clients apart."""
    catalogue = Catalogue()
    fit = []
    for name in catalogue.names(IPersistencePlugin):
        if name in _NO_ADVICE:
            continue
        # One may be unusable, or need options that nobody but the administrator knows.
        with suppress(Exception):
            plugin = catalogue.find(IPersistencePlugin, name)
            if plugin.needs and not lacking(Selected(plugin, plugin.options()), owner.protocol):
                fit.append(name)
    advice = getattr(owner.protocol.plugin, "advice", "")
    if fit:
        return f"persistence {' or '.join(fit)} tells the clients behind one address apart"
    if advice:
        return f"persistence user tells them apart: {advice % owner.protocol.name}"
    return "this protocol shows nothing that tells the clients behind one address apart"
