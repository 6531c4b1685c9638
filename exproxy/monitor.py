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

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from exproxy import actions
from exproxy.asking import Asking
from exproxy.backend import Backend
from exproxy.connect import as_ourselves
from exproxy.interfaces import ICheck
from exproxy.locating import Locations
from exproxy.pool import Pool
from exproxy.settings import HealthSettings
from exproxy.tls.guard import Guard

# Where within the first seconds the first question falls, and how much of an interval may vary.
FIRST = 1.0
JITTER = 0.05


class Probe:
    """The questions to one backend of one pool."""

    log = Logger()

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
        locations: Locations | None = None,
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
        self._locations = locations
        self._asking: Asking | None = None
        self._locating: Deferred[actions.Outcome] | None = None
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
        locating, self._locating = self._locating, None
        if locating is not None:
            locating.cancel()

    def _ask(self) -> None:
        self._call = None
        self._begun = self._reactor.seconds()
        if self._backend.host is None or self._backend.operator == "maint":
            self._again()
        elif self._locations is not None and not self._backend.port:
            self._locate(self._locations, None)
        else:
            self._question(last=self._locations is None)

    def _question(self, *, last: bool) -> None:
        """The check. Where it is not the ``last`` word of this round, a failure has the port asked for."""
        host, port = self._backend.host, self._backend.port
        assert host is not None
        self._asking = Asking(
            self._reactor,
            self._check,
            self._backend.server,
            (host, port),
            self._client_tls,
            self._settings.timeout,
            self._answered if last else partial(self._unless_elsewhere, port),
            self._met,
            as_ourselves(self._backend.client_address),
        )
        self._asking.start()

    def _unless_elsewhere(self, port: int, outcome: actions.Outcome) -> None:
        self._asking = None
        assert self._locations is not None
        if not isinstance(outcome, actions.Fail):
            self._answered(outcome)
        elif self._backend.port != port:
            # A client has learnt of another one meanwhile.
            self._question(last=True)
        else:
            self._locate(self._locations, outcome)

    def _locate(self, locations: Locations, failed: actions.Fail | None) -> None:
        """Ask for the port; ``failed`` is what the check met at the one that is known."""
        port = self._backend.port
        self._locating = locating = locations.ask(self._backend)
        locating.addCallback(self._located, port, failed)
        locating.addErrback(self._mistaken)

    def _located(self, outcome: actions.Outcome, port: int, failed: actions.Fail | None) -> None:
        self._locating = None
        if self._backend.port != port:
            self._question(last=True)
        else:
            self._answered(failed or outcome)

    def _mistaken(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self.log.failure("{backend} could not be asked", failure, backend=self._backend.name)

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
        locations: Locations | None = None,
    ) -> None:
        """Begin with every backend of a pool. ``client_tls(server)``: the TLS its check speaks, or None.
        ``guard`` looks at the certificates that the backends show; ``locations``: where their ports are
        learnt, None where they are configured."""
        for backend in pool.backends:
            tls = partial(client_tls, backend.server) if client_tls is not None else None
            probe = Probe(
                self._reactor,
                pool,
                backend,
                check,
                tls,
                settings,
                self._dice,
                self._judge,
                guard,
                locations,
            )
            self._probes.append(probe)

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
