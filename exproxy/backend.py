"""One real server as one pool sees it."""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from exproxy.health import Health
from exproxy.interfaces import IBackend, ILease
from exproxy.model import Candidate, Key
from exproxy.ramp import share


@implementer(IBackend)
class Backend:
    """Address, weight, limit, health, the operator's wish, and what it carries.

    ``host`` is None until its name is resolved. ``operator`` is ready, drain or maint. ``limit``
    is the most links, None without one. ``links`` counts leases, ``load`` requests in flight.
    """

    def __init__(
        self,
        name: str,
        server: str,
        host: str | None,
        port: int,
        *,
        weight: int = 1,
        limit: int | None = None,
        backup: bool = False,
        health: Health | None = None,
        ramping: float | None = None,
    ) -> None:
        """``ramping``: the clock's reading when its slow ramp began; None: it has its full share."""
        self.name = name
        self.server = server
        self.host = host
        self.port = port
        self.weight = weight
        self.limit = limit
        self.backup = backup
        self.health = health or Health()
        self.operator = "ready"
        self.load = 0
        self.total = 0
        self.ramping = ramping
        # Turns that a ramping server has saved up; see Pool._paced.
        self.credit = 0.0
        self.leases: dict[Lease, None] = {}

    def __repr__(self) -> str:
        return f"<Backend {self.name} {self.state} links={self.links} load={self.load}>"

    @property
    def links(self) -> int:
        """Links that are there or being made."""
        return len(self.leases)

    @property
    def state(self) -> str:
        """A word for people: UP, UP 2/3, DOWN, DRAIN, MAINT, no check, no address."""
        if self.operator == "maint":
            return "MAINT"
        if self.host is None:
            return "no address"
        if self.health.up and (self.operator == "drain" or self.health.draining):
            return "DRAIN"
        return self.health.text()

    def usable_for_known(self) -> bool:
        """Whether a client that is bound here may come: UP, and ready or drain."""
        return self.health.up and self.operator != "maint" and self.host is not None

    def usable_for_new(self) -> bool:
        """Whether a client that is bound nowhere may come."""
        return (
            self.operator == "ready"
            and self.health.up
            and not self.health.draining
            and self.weight > 0
            and self.host is not None
        )

    def full(self) -> bool:
        """Whether its limit is reached."""
        return self.limit is not None and len(self.leases) >= self.limit

    def candidate(self, now: float, ramp: float) -> Candidate:
        """What a scheduling sees of it at the clock's ``now``."""
        weight = float(self.weight)
        if self.ramping is not None:
            part = share(now - self.ramping, ramp)
            if part >= 1.0:
                self.ramping = None
            weight *= part
        return Candidate(self.server, weight, self.load)


@implementer(ILease)
class Lease:
    """One link's count. ``keys`` are what its client is bound by; ``cut(reason)`` is set by whoever
    owns the link, and ends it at once."""

    __slots__ = ("_released", "backend", "cut", "keys")

    def __init__(
        self, backend: Backend, released: Callable[[Backend], None], keys: tuple[Key, ...] = ()
    ) -> None:
        self.backend = backend
        self.keys = keys
        self.cut: Callable[[str], None] | None = None
        self._released: Callable[[Backend], None] | None = released
        backend.leases[self] = None
        backend.total += 1

    def busy(self) -> Callable[[], None]:
        """See ILease."""
        backend, ended = self.backend, False
        backend.load += 1

        def done() -> None:
            nonlocal ended
            if not ended:
                ended = True
                backend.load -= 1

        return done

    def release(self) -> None:
        """See ILease."""
        released, self._released = self._released, None
        if released is not None:
            del self.backend.leases[self]
            released(self.backend)
