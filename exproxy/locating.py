"""Ports that are learnt from the servers themselves: who asks, who waits for the answer, who takes it over.

Checks and clients want to know alike; a backend is asked once at a time, and all of them hear the answer.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from exproxy.actions import Fail, Outcome, Pass
from exproxy.asking import Asking
from exproxy.backend import Backend
from exproxy.connect import ConnectFailed, as_ourselves
from exproxy.interfaces import ILocator
from exproxy.pool import Pool
from exproxy.wire import Wire

# Codes of a connect that may have gone to a port where the service is no more.
ELSEWHERE = ("L4CON", "L4TOUT")


@dataclass(slots=True)
class _Question:
    """One that is under way, and those who wait for its answer."""

    asking: Asking
    waiting: list[Deferred[Outcome]] = field(default_factory=list)


class Locations:
    """The learnt ports of one pool's backends. A port is kept until another one is learnt."""

    log = Logger()

    def __init__(self, reactor: Any, pool: Pool, locator: ILocator, timeout: float) -> None:
        """``timeout``: seconds for one question."""
        self._reactor = reactor
        self._pool = pool
        self._locator = locator
        self._timeout = timeout
        self._questions: dict[Backend, _Question] = {}

    def __repr__(self) -> str:
        return f"<Locations of {self._pool.name}: {len(self._questions)} questions>"

    def __len__(self) -> int:
        """How many questions are under way."""
        return len(self._questions)

    def ask(self, backend: Backend) -> Deferred[Outcome]:
        """A Deferred of Pass (``backend.port`` is what it says then) or Fail. A question that is under way
        is shared; it ends when all who wait for it have cancelled."""
        if backend.host is None:
            return succeed(Fail("L4CON", "connect", "no address"))
        waiting: Deferred[Outcome] = Deferred(partial(self._left, backend))
        question = self._questions.get(backend)
        if question is not None:
            question.waiting.append(waiting)
            return waiting
        asking = Asking(
            self._reactor,
            self._locator,
            backend.server,
            (backend.host, self._locator.port),
            None,
            self._timeout,
            partial(self._answered, backend),
            introduce=as_ourselves(backend.client_address),
        )
        self._questions[backend] = _Question(asking, [waiting])
        asking.start()
        return waiting

    def connect(self, backend: Backend, attempt: Callable[[], Deferred[Wire]]) -> Deferred[Wire]:
        """What ``attempt()`` gives, which connects to ``backend.port``: learnt first where it is not known;
        tried once more where nobody answers there and the server says that it is another port now. Fails
        and cancels like it."""
        return Deferred.fromCoroutine(self._connect(backend, attempt))

    async def _connect(self, backend: Backend, attempt: Callable[[], Deferred[Wire]]) -> Wire:
        if not backend.port:
            outcome = await self.ask(backend)
            if isinstance(outcome, Fail):
                raise ConnectFailed(outcome.code, outcome.phase, outcome.reason)
        port = backend.port
        try:
            return await attempt()
        except ConnectFailed as error:
            if error.ours or error.code not in ELSEWHERE:
                raise
            if backend.port == port:
                await self.ask(backend)
            if backend.port == port:
                raise
        return await attempt()

    def _left(self, backend: Backend, waiting: Deferred[Outcome]) -> None:
        question = self._questions.get(backend)
        if question is None or waiting not in question.waiting:
            return
        question.waiting.remove(waiting)
        if not question.waiting:
            del self._questions[backend]
            question.asking.stop()

    def _answered(self, backend: Backend, outcome: Outcome) -> None:
        question = self._questions.pop(backend)
        heard = self._heard(backend, outcome)
        for waiting in question.waiting:
            # One of them may give up because of what another one does.
            if not waiting.called:
                waiting.callback(heard)

    def _heard(self, backend: Backend, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Fail):
            return outcome
        port = outcome.learnt if isinstance(outcome, Pass) else None
        if not isinstance(port, int) or not 0 < port < 65536:
            return Fail(f"{self._locator.layer}RSP", "port", f"the answer names no port: {outcome!r:.100}")
        if port != backend.port:
            self.log.info("{backend} is at port {port} now", backend=backend.name, port=port)
            self._pool.located(backend, port)
        return outcome
