"""One Pick being carried out: choose, connect, and on to the next server when that fails."""

# mypy: allow-untyped-calls
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from exproxy.connect import ConnectFailed
from exproxy.errors import NoBackend
from exproxy.interfaces import IBackend, IWire
from exproxy.model import Choice, Facts, Link
from exproxy.waiting import Full
from exproxy.wire import Wire

if TYPE_CHECKING:
    from exproxy.virtual import VirtualService


class Dispatch:
    """From facts to a link, or to a reason why there is none.

    ``linked(wire, choice)``: a new connection; ``reused(choice)``: the session has it already;
    ``unavailable(reason, full)``, see events.Unavailable. Exactly one is called, once, unless cancel()
    comes first.
    """

    def __init__(
        self,
        service: VirtualService,
        target: str | None,
        client: IWire,
        facts: Facts,
        linked: Callable[[Wire, Choice], None],
        reused: Callable[[Choice], None],
        unavailable: Callable[[str, bool], None],
    ) -> None:
        self._service = service
        self.pool = service.pool(target, client.local.listening)
        self._client = client
        self.target = target
        self.facts = facts
        self.avoiding: set[str] = set()
        self.tries = 0
        # Tries that do not count: nobody had failed.
        self.pardoned = 0
        self._linked = linked
        self._reused = reused
        self._unavailable = unavailable
        self._choice: Choice | None = None
        self._waiting: Deferred[Choice] | Deferred[Wire] | None = None
        self._cancelled = False
        # Who was tried last.
        self._before: IBackend | None = None

    def attempt(self, links: tuple[Link, ...] = (), pinned: Link | None = None) -> None:
        """Choose and connect. Call it again to choose among the others (redispatch)."""
        self._links = links
        self._pinned = pinned
        if self.tries - self.pardoned > self._service.retries:
            self._unavailable(f"gave up after {self.tries} servers", False)
            return
        self.tries += 1
        if self._before is not None:
            self._service.retried(self._before, elsewhere=self._before.server in self.avoiding)
        try:
            choice = self.pool.pick(self.facts, self.avoiding, links, pinned)
        except NoBackend as error:
            self._unavailable(error.reason, isinstance(error, Full))
            return
        if isinstance(choice, Deferred):
            self._waiting = choice
            choice.addCallbacks(self._chosen, self._none).addErrback(self._mistaken)
        else:
            self._chosen(choice)

    def cancel(self) -> None:
        """Give up whatever is under way, and the lease with it; idempotent."""
        self._cancelled = True
        waiting, self._waiting = self._waiting, None
        choice, self._choice = self._choice, None
        if waiting is not None:
            waiting.cancel()
        if choice is not None and choice.lease is not None:
            choice.lease.release()

    def _chosen(self, choice: Choice) -> None:
        self._waiting = None
        if self._cancelled:
            if choice.lease is not None:
                choice.lease.release()
        elif choice.reused is not None:
            self._reused(choice)
        else:
            self._choice = choice
            self._before = choice.backend
            connecting = self._service.connect(self.pool, choice.backend, self._client)
            self._waiting = connecting
            connecting.addCallbacks(self._connected, self._failed).addErrback(self._mistaken)

    def _none(self, failure: Failure) -> None:
        self._waiting = None
        if self._cancelled or failure.check(CancelledError):
            return
        error = failure.value
        reason = error.reason if isinstance(error, NoBackend) else str(error)
        self._unavailable(reason, isinstance(error, Full))

    def _mistaken(self, failure: Failure) -> None:
        # Lost in a Deferred it would leave the client waiting for ever.
        self._service.log.failure("a choice failed", failure)
        choice, self._choice = self._choice, None
        if choice is not None and choice.lease is not None:
            choice.lease.release()
        if not self._cancelled:
            self._unavailable("internal error", False)

    def _connected(self, wire: Wire) -> None:
        self._waiting = None
        choice, self._choice = self._choice, None
        if self._cancelled or choice is None:
            wire.abort()
            return
        self._linked(wire, choice)

    def _failed(self, failure: Failure) -> None:
        self._waiting = None
        choice, self._choice = self._choice, None
        if choice is None or self._cancelled:
            return
        if choice.lease is not None:
            choice.lease.release()
        error = failure.value
        if isinstance(error, ConnectFailed) and error.ours:
            self._service.log.error(
                "{backend} was not asked: {why}", backend=choice.backend.name, why=str(error)
            )
        elif isinstance(error, ConnectFailed):
            self._service.failed(self.pool, choice.backend, error.code, error.reason)
        else:
            self._service.log.failure("connecting to {server} failed", failure, server=choice.backend.name)
        self.avoiding.add(choice.backend.server)
        self.attempt(self._links, self._pinned)
