"""One real server as one pool sees it, and the leases that count its links."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from exproxy.health import Health
from exproxy.interfaces import IBackend, ILease
from exproxy.model import ClientAddress, Key
from exproxy.past import Past
from exproxy.ramp import share
from exproxy.tally import Tally

# A server's earlier ports that links may still go to; those to still older ones are not used again.
FORMER_PORTS = 16


class Places(Protocol):
    """The part of a limit that another process has lent to this one."""

    def full(self, used: int) -> bool:
        """Whether all that are here are taken; ``used`` of them are."""

    def use(self, used: int) -> None:
        """So many are taken now."""

    def more(self, used: int) -> Deferred[None] | None:
        """Where all that are here are taken and there may be others: a Deferred that fires when it is
        known; then look again. None: nothing to wait for."""


@implementer(IBackend)
class Backend:
    """Address, weight, limit, health, the operator's wish, and what it carries.

    ``host`` is None until its name is resolved. One that is made with port 0 is ``located``: its port
    is learnt from the server, 0 until then, and may change. ``operator`` is ready, drain or maint. ``limit``
    is the most links, None without one. ``links`` counts leases, ``load`` requests in flight, a
    link that has not carried its first one yet counting as one. Where several processes carry traffic,
    ``elsewhere`` is the load that the others had a moment ago, and ``places`` this one's part of the limit.
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
        client_address: ClientAddress = ClientAddress(),
    ) -> None:
        """``ramping``: the clock's reading when its slow ramp began; None: it has its full share."""
        self.name = name
        self.server = server
        self.host = host
        self.port = port
        self.located = not port
        self.weight = weight
        self.limit = limit
        self.backup = backup
        self.health = health or Health()
        self.client_address = client_address
        self.operator = "ready"
        # With "drain" and leaving, those go elsewhere too that are bound here.
        self.leaving = False
        self.load = 0
        self.elsewhere = 0
        self.places: Places | None = None
        self.tally = Tally()
        self.past = Past()
        self.ramping = ramping
        self.leases: dict[Lease, None] = {}
        self._former: deque[int] = deque(maxlen=FORMER_PORTS)

    def __repr__(self) -> str:
        return f"<Backend {self.name} {self.state} links={self.links} load={self.load}>"

    @property
    def links(self) -> int:
        """Links that are there or being made."""
        return len(self.leases)

    @property
    def total(self) -> int:
        """How many links there were."""
        return self.tally.total

    @property
    def state(self) -> str:
        """A word for people: UP, UP 2/3, DOWN, DRAIN, MAINT, no check, no address, no port."""
        if self.operator == "maint":
            return "MAINT"
        if self.host is None:
            return "no address"
        if not self.port and self.health.up:
            return "no port"
        if self.health.up and (self.operator == "drain" or self.health.draining):
            return "DRAIN"
        return self.health.text()

    def usable_for_known(self) -> bool:
        """Whether a client that is bound here may come: UP, and ready or (not leaving) drain."""
        return (
            self.health.up
            and (self.operator == "ready" or (self.operator == "drain" and not self.leaving))
            and self.host is not None
        )

    @property
    def usable(self) -> bool:
        """See IBackend."""
        return self.usable_for_known()

    def usable_for_new(self) -> bool:
        """Whether a client that is bound nowhere may come."""
        return (
            self.operator == "ready"
            and self.health.up
            and not self.health.draining
            and self.weight > 0
            and self.host is not None
        )

    def found_at(self, port: int) -> None:
        """A located one is at that port from now on."""
        if self.port:
            self._former.append(self.port)
        self.port = port

    def meets(self, port: int) -> bool:
        """Whether a link to that port of its server is a link to it: it may have been made before the
        port changed."""
        return port == self.port or port in self._former

    def replaces(self, other: Backend) -> bool:
        """Whether it is the other one, as a new configuration says it: the same port, learnt or not."""
        return self.located == other.located and (self.located or self.port == other.port)

    def full(self) -> bool:
        """Whether its limit is reached, as far as is known here."""
        if self.places is not None:
            return self.places.full(len(self.leases))
        return self.limit is not None and len(self.leases) >= self.limit

    def part(self, now: float, ramp: float) -> float:
        """The part of its weight that counts at the clock's ``now``: 1, or less during its ramp."""
        if self.ramping is None:
            return 1.0
        part = share(now - self.ramping, ramp)
        if part >= 1.0:
            self.ramping = None
        return part

    def become(self, other: Backend) -> None:
        """Take over what a new configuration says of this server; counts and states stay."""
        self.name, self.weight, self.limit, self.backup = other.name, other.weight, other.limit, other.backup
        self.health.retune(other.health)
        self.client_address = other.client_address
        if other.host is not None:
            self.host = other.host


@implementer(ILease)
class Lease:
    """One link's count.

    ``cut(reason)`` is set by whoever owns the link, and ends it at once; so is ``drain(until)``, which lets
    it end in its protocol's words. ``condemned`` says why the
    link must end, or None; where it is set before ``cut`` is, the owner looks at it and ends the link.
    ``keys`` are what its client is bound by.
    """

    __slots__ = (
        "_holds",
        "_released",
        "_requests",
        "_until",
        "_untouched",
        "backend",
        "condemned",
        "cut",
        "drain",
        "keys",
    )

    def __init__(self, backend: Backend, released: Callable[[Lease], None]) -> None:
        """``released(lease)`` is called once, at the end."""
        self.backend = backend
        self.keys: tuple[Key, ...] = ()
        self.cut: Callable[[str], None] | None = None
        self.condemned: str | None = None
        self.drain: Callable[[float], None] | None = None
        self._until: float | None = None
        self._holds: list[Callable[[], None]] = []
        self._released: Callable[[Lease], None] | None = released
        # The link to come counts as a request from the choice on: a server that is slow to connect
        # would look idle otherwise, and be given everybody.
        self._requests = 1
        self._untouched = True
        backend.leases[self] = None
        backend.load += 1
        if backend.places is not None:
            backend.places.use(len(backend.leases))
        backend.tally.came(len(backend.leases))

    def __repr__(self) -> str:
        state = "released" if self._released is None else f"requests={self._requests}"
        return f"<Lease {self.backend.name} {state}>"

    def busy(self) -> Callable[[], None]:
        """See ILease."""
        ended = self._released is None
        if self._untouched:
            self._untouched = False
        elif not ended:
            self._requests += 1
            self.backend.load += 1

        def done() -> None:
            nonlocal ended
            if not ended and self._released is not None:
                ended = True
                self._requests -= 1
                self.backend.load -= 1

        return done

    def hold(self, keys: tuple[Key, ...], let_go: Callable[[], None]) -> None:
        """``keys`` bind its client as well; ``let_go()`` is called at the end."""
        if self._released is None:
            let_go()
            return
        self.keys += tuple(key for key in keys if key not in self.keys)
        self._holds.append(let_go)

    def release(self) -> None:
        """See ILease."""
        released, self._released = self._released, None
        if released is None:
            return
        backend = self.backend
        del backend.leases[self]
        backend.load -= self._requests
        if backend.places is not None:
            backend.places.use(len(backend.leases))
        for let_go in self._holds:
            let_go()
        released(self)

    def leave(self, until: float) -> None:
        """The link is to end in its protocol's words within ``until`` seconds; as soon as it is there."""
        if self.drain is not None:
            self.drain(until)
        else:
            self._until = until

    def take_over(self, cut: Callable[[str], None], drain: Callable[[float], None]) -> None:
        """The link is there, and its owner can be asked to end it: what was wished meanwhile is done
        by :meth:`overdue`."""
        self.cut, self.drain = cut, drain

    def overdue(self) -> None:
        """Do what was wished while the link was being made."""
        until, self._until = self._until, None
        if self.condemned is not None and self.cut is not None:
            self.cut(self.condemned)
        elif until is not None and self.drain is not None:
            self.drain(until)

    def condemn(self, reason: str) -> None:
        """The link must end: now, or as soon as it is there."""
        if self.condemned is None and self._released is not None:
            self.condemned = reason
            if self.cut is not None:
                self.cut(reason)
