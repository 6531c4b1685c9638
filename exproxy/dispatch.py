"""One Pick being carried out: choose, connect, and on to the next server when that fails."""

# mypy: allow-untyped-calls
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from exproxy.connect import Connecting
from exproxy.errors import ConnectFailed, NoBackend
from exproxy.interfaces import IBackend, IWire
from exproxy.model import Choice, Facts, Link
from exproxy.pool import Pool
from exproxy.waiting import Full
from exproxy.wire import Wire

if TYPE_CHECKING:
    from exproxy.pool import Pool
    from exproxy.virtual import VirtualService


class Attempts:
    """From facts to a connection, or to a reason why there is none.

    Exactly one of ``linked(connection, choice)``, ``reused(choice)`` and ``unavailable(reason, full)`` is
    called, once, unless cancel() comes first; kinds of it say what they do.
    """

    __slots__ = (
        "_before",
        "_cancelled",
        "_choice",
        "_links",
        "_pinned",
        "_service",
        "_waiting",
        "avoiding",
        "facts",
        "pardoned",
        "pool",
        "target",
        "tries",
    )

    def __init__(self, service: VirtualService, pool: Pool, facts: Facts, target: str | None = None) -> None:
        """``target``: whose pool it is, see actions.Pick."""
        self._service = service
        self.target = target
        self.pool = pool
        self.facts = facts
        self.avoiding: set[str] = set()
        self.tries = 0
        # Tries that do not count: nobody had failed.
        self.pardoned = 0
        self._links: tuple[Link, ...] = ()
        self._pinned: Link | None = None
        self._choice: Choice | None = None
        self._waiting: Deferred[Choice] | Connecting | None = None
        self._cancelled = False
        # Who was tried last.
        self._before: IBackend | None = None

    @abstractmethod
    def connect(self, choice: Choice) -> Connecting:
        """Begin to connect to the server of that choice, for us as its Caller."""

    @abstractmethod
    def linked(self, connection: Any, choice: Choice) -> None:
        """There is a new connection."""

    @abstractmethod
    def reused(self, choice: Choice) -> None:
        """The session has it already."""

    @abstractmethod
    def unavailable(self, reason: str, full: bool) -> None:
        """See events.Unavailable."""

    def unwanted(self, connection: Any) -> None:
        """A connection that nobody takes."""
        connection.abort()

    def attempt(self, links: tuple[Link, ...] = (), pinned: Link | None = None) -> None:
        """Choose and connect. Call it again to choose among the others (redispatch)."""
        self._links = links
        self._pinned = pinned
        if self.tries - self.pardoned > self._service.retries:
            self.unavailable(f"gave up after {self.tries} servers", False)
            return
        self.tries += 1
        if self._before is not None:
            self._service.retried(self._before, elsewhere=self._before.server in self.avoiding)
        try:
            choice = self.pool.pick(self.facts, self.avoiding, links, pinned)
        except NoBackend as error:
            self.unavailable(error.reason, isinstance(error, Full))
            return
        # Asked this way round: an instance of an abstract class, as Deferred is, takes long to be told.
        if isinstance(choice, Choice):
            self._chosen(choice)
        else:
            self._waiting = choice
            choice.addCallbacks(self._chosen, self._none).addErrback(self._mistaken)

    def renew(self, pool: Pool, facts: Facts) -> None:
        """It stands for another Pick of the same target now, which has led to a link at the first try."""
        self.pool, self.facts = pool, facts
        self.tries, self.pardoned = 1, 0
        self.avoiding.clear()

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
            self.reused(choice)
        else:
            self._choice = choice
            self._before = choice.backend
            self._waiting = self.connect(choice)

    def _none(self, failure: Failure) -> None:
        self._waiting = None
        if self._cancelled or failure.check(CancelledError):
            return
        error = failure.value
        reason = error.reason if isinstance(error, NoBackend) else str(error)
        self.unavailable(reason, isinstance(error, Full))

    def _mistaken(self, failure: Failure) -> None:
        # Lost in a Deferred it would leave the client waiting for ever.
        self._service.log.failure("a choice failed", failure)
        choice, self._choice = self._choice, None
        if choice is not None and choice.lease is not None:
            choice.lease.release()
        if not self._cancelled:
            self.unavailable("internal error", False)

    # -- Caller ----------------------------------------------------------------------

    def connected(self, connection: Any) -> None:
        """See Caller."""
        self._waiting = None
        choice, self._choice = self._choice, None
        if self._cancelled or choice is None:
            self.unwanted(connection)
            return
        try:
            self.linked(connection, choice)
        except Exception:
            self._choice = choice
            self.unwanted(connection)
            self._mistaken(Failure())

    def unconnected(self, error: Exception) -> None:
        """See Caller."""
        self._waiting = None
        choice, self._choice = self._choice, None
        if choice is None or self._cancelled:
            return
        try:
            self._failed(choice, error)
        except Exception:
            self._mistaken(Failure())

    def _failed(self, choice: Choice, error: Exception) -> None:
        if choice.lease is not None:
            choice.lease.release()
        backend = choice.backend
        if not isinstance(error, ConnectFailed):
            self._service.log.error(
                "connecting to {backend} failed: {error!r}", backend=backend.name, error=error
            )
        elif error.ours:
            self._service.log.error("{backend} was not asked: {why}", backend=backend.name, why=str(error))
        else:
            self._service.failed(self.pool, backend, error.code, error.reason)
        self.avoiding.add(backend.server)
        self.attempt(self._links, self._pinned)


class Dispatch(Attempts):
    """The attempts for a session, which hears of them by its callables. ``target``: whose pool it is."""

    __slots__ = ("_client", "_linked", "_reused", "_unavailable")

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
        super().__init__(service, service.pool(target, client.local.listening), facts, target)
        self._client = client
        self._linked = linked
        self._reused = reused
        self._unavailable = unavailable

    def connect(self, choice: Choice) -> Connecting:
        """See Attempts."""
        return self._service.connect(self.pool, choice.backend, self._client, self)

    def linked(self, connection: Any, choice: Choice) -> None:
        """See Attempts."""
        self._linked(connection, choice)

    def reused(self, choice: Choice) -> None:
        """See Attempts."""
        self._reused(choice)

    def unavailable(self, reason: str, full: bool) -> None:
        """See Attempts."""
        self._unavailable(reason, full)
