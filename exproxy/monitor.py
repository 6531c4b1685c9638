"""Asks every backend its question, again and again, and keeps its health.

All time comes from the injected clock. The first question of each backend comes at a random moment
within the first second, the next ones an interval apart with a little jitter, so that a hundred
checks do not meet in one instant.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from exproxy import actions
from exproxy.asking import Asking
from exproxy.backend import Backend
from exproxy.connect import as_ourselves
from exproxy.interfaces import ICheck
from exproxy.pool import Pool
from exproxy.settings import HealthSettings
from exproxy.tls.guard import Guard

# Where within the first seconds the first question falls, and how much of an interval may vary.
FIRST = 1.0
JITTER = 0.05


class Probe:
    """The questions to one backend of one pool."""

    def __init__(
        self,
        reactor: Any,
        pool: Pool,
        backend: Backend,
        check: ICheck,
        client_tls: Callable[[], Any] | None,
        settings: HealthSettings,
        dice: random.Random,
        verdict: Callable[[Pool, Backend, actions.Outcome, float], None],
        guard: Guard | None = None,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._backend = backend
        self._check = check
        self._client_tls = client_tls
        self._settings = settings
        self._dice = dice
        self._verdict = verdict
        self._met = partial(guard.met, backend.name, backend.server) if guard is not None else None
        self._asking: Asking | None = None
        self._call: IDelayedCall | None = None
        self._begun = 0.0

    def start(self) -> None:
        """Ask for the first time soon."""
        self._call = self._reactor.callLater(
            self._dice.uniform(0, min(FIRST, self._settings.interval)), self._ask
        )

    def stop(self) -> None:
        """Ask no more; idempotent."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.stop()

    def _ask(self) -> None:
        self._call = None
        self._begun = self._reactor.seconds()
        if self._backend.host is None or self._backend.operator == "maint":
            self._again()
            return
        self._asking = Asking(
            self._reactor,
            self._check,
            self._backend.server,
            (self._backend.host, self._backend.port),
            self._client_tls,
            self._settings.timeout,
            self._answered,
            self._met,
            as_ourselves(self._backend.client_address),
        )
        self._asking.start()

    def _answered(self, outcome: actions.Outcome) -> None:
        self._asking = None
        self._again()
        self._verdict(self._pool, self._backend, outcome, self._reactor.seconds() - self._begun)

    def _again(self) -> None:
        interval = self._settings.interval
        wait = interval * (1 + self._dice.uniform(-JITTER, JITTER))
        self._call = self._reactor.callLater(
            max(0.0, self._begun + wait - self._reactor.seconds()), self._ask
        )


class Monitor:
    """All probes of one process."""

    log = Logger()

    def __init__(self, reactor: Any, dice: random.Random | None = None) -> None:
        self._reactor = reactor
        self._dice = dice or random.Random()  # noqa: S311  # spreads checks, guards nothing
        self._probes: list[Probe] = []

    def watch(
        self,
        pool: Pool,
        check: ICheck,
        settings: HealthSettings,
        client_tls: Callable[[str], Any] | None,
        guard: Guard | None = None,
    ) -> None:
        """Begin with every backend of a pool. ``client_tls(server)``: the TLS its check speaks, or None.
        ``guard`` looks at the certificates that the backends show."""
        for backend in pool.backends:
            tls = partial(client_tls, backend.server) if client_tls is not None else None
            self._probes.append(
                Probe(self._reactor, pool, backend, check, tls, settings, self._dice, self._judge, guard)
            )

    def start(self) -> None:
        """Begin to ask."""
        for probe in self._probes:
            probe.start()

    def stop(self) -> None:
        """Ask no more; idempotent."""
        for probe in self._probes:
            probe.stop()
        self._probes.clear()

    def client_failed(self, pool: Pool, backend: Backend, code: str, reason: str) -> None:
        """A client met a backend that did not connect, or not answer as it should."""
        outcome = actions.Fail(code, "client connect", reason)
        self._announce(pool, backend, pool.told(backend, outcome, 0.0, by_client=True))

    def _judge(self, pool: Pool, backend: Backend, outcome: actions.Outcome, seconds: float) -> None:
        self._announce(pool, backend, pool.told(backend, outcome, seconds))

    def _announce(self, pool: Pool, backend: Backend, text: str | None) -> None:
        if text is None:
            return
        self.log.warn("{text}", text=text, backend=backend.name)
        if not any(each.usable_for_known() for each in pool.backends):
            self.log.error("{pool} has no server available!", pool=pool.name)
