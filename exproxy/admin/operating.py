"""Operator states: who wants a server in use, drained or out, in which services, until when.

A wish for one service wins over the wish for all of them. Wishes are kept in a file, so that a restart
puts no server back into use that somebody is working on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from exproxy.admin.emptying import Emptying
from exproxy.admin.moments import Day, rfc3339
from exproxy.admin.plane import STATES, LastUsable, Refused, Unknown
from exproxy.admin.rows import Operated, Progress, Weighted
from exproxy.admin.status import Operator
from exproxy.admin.wishes import LONGEST, Unreadable, Wish, WishFile
from exproxy.build import Built
from exproxy.pool import Pool

# Farthest `until` and longest `timeout`: what is longer is a mistake in the unit.
LONGEST_WISH = 366 * 86400.0
MAX_WEIGHT = 256


@dataclass(frozen=True, slots=True)
class Place:
    """A pool, the service it belongs to, and what that is configured to. ``grace``: seconds that clients are
    given to leave where nothing else was said."""

    service: str
    pool: Pool
    drain: str
    grace: float


class Operating:
    """The wishes of one process, done to its pools. ``places()`` are those of the configuration that is
    served."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        places: Callable[[], Sequence[Place]],
        file: WishFile | None,
        day: Day | None = None,
    ) -> None:
        self._clock = clock
        self._places = places
        self._file = file
        self._day = day or Day(clock)
        self._wishes: dict[tuple[str, str | None], Wish] = {}
        self._timer: IDelayedCall | None = None
        self._cuts: dict[tuple[str, str | None], IDelayedCall] = {}
        self._emptying = Emptying(clock, self.places_of)

    # -- life ------------------------------------------------------------------------

    def start(self) -> None:
        """Do what was wished before the last end; what cannot be read is told of, and nothing is wished."""
        try:
            kept = self._file.read() if self._file is not None else []
        except Unreadable as error:
            self.log.error("{error}; every server is ready", error=str(error))
            kept = []
        self._wishes = {(each.server, each.service): each for each in kept}
        for each in kept:
            if not self._found(each.server, each.service):
                self.log.warn(
                    "{server} shall be {state}, and is in no service now",
                    server=each.server,
                    state=each.state,
                )
        self._lapse(write=False)
        self.apply()

    def stop(self) -> None:
        """No timer is left; idempotent."""
        for call in (self._timer, *self._cuts.values()):
            if call is not None and call.active():
                call.cancel()
        self._timer = None
        self._cuts.clear()
        self._emptying.stop()

    def apply(self) -> None:
        """Have every pool as wished: at the start, and after the configuration has changed."""
        for place in self._places():
            for backend in place.pool.backends:
                self._have(place, backend.server)

    # -- what is wished --------------------------------------------------------------

    def wish(self, server: str, service: str | None = None) -> Wish | None:
        """What is wished for a server there: the service's own, else that for all; None: it is ready."""
        return (self._wishes.get((server, service)) if service else None) or self._wishes.get((server, None))

    def shown(self, place: Place, server: str) -> Operator | None:
        """The wish that counts in that place, for people."""
        wish = self.wish(server, place.service)
        return None if wish is None else wish.shown(place.drain)

    def everywhere(self, server: str) -> Operator | None:
        """The wish for all services, for people."""
        wish = self._wishes.get((server, None))
        return None if wish is None else wish.shown()

    def places_of(self, server: str, service: str | None) -> list[Place]:
        """Where that server is. Raises Unknown."""
        found = self._found(server, service)
        if found:
            return found
        where = f"service {service!r}" if service else "any service"
        known = sorted({backend.server for each in self._places() for backend in each.pool.backends})
        raise Unknown(f"{where} has no server {server!r}; there are {', '.join(known) or 'none'}")

    def _found(self, server: str, service: str | None) -> list[Place]:
        return [
            each
            for each in self._places()
            if service in (None, each.service) and each.pool.find(server) is not None
        ]

    # -- what is done ----------------------------------------------------------------

    def operate(
        self,
        server: str,
        state: str,
        *,
        service: str | None = None,
        reason: str = "",
        who: str = "",
        until: float | None = None,
        force: bool = False,
        timeout: float | None = None,
        drain: str | None = None,
    ) -> Operated:
        """See IPlane."""
        places = self.places_of(server, service)
        self._sensible(state, until, timeout, drain)
        if state != "ready" and not force:
            self._refuse_last(server, places)
        now = self._day.now()
        before = dict(self._wishes)
        key = (server, service)
        if service is None:
            # The latest word counts, for all services that had one of their own too.
            self._wishes = {each: wish for each, wish in self._wishes.items() if each[0] != server}
        if state == "ready" and (service is None or (server, None) not in self._wishes):
            self._wishes.pop(key, None)
        else:
            # Ready in one service is a wish of its own where something else is wished for all.
            wish = Wish(server, service, state, reason[:LONGEST], who[:LONGEST], now, until, drain)
            self._wishes[key] = wish
        try:
            self._keep()
        except OSError as error:
            self._wishes = before
            raise Refused(f"the wish cannot be kept: {error}; nothing was changed") from None
        self._tell(server, service, state, reason, who, until)
        return self._do(server, service, state, places, timeout)

    def weight(self, server: str, value: int, *, service: str | None = None, who: str = "") -> Weighted:
        """See IPlane."""
        places = self.places_of(server, service)
        if not 0 <= value <= MAX_WEIGHT:
            raise Refused(f"a weight is 0 to {MAX_WEIGHT}, {value} is not")
        for place in places:
            backend = place.pool.find(server)
            assert backend is not None
            backend.weight = value
            place.pool.changed(backend)
        self.log.warn(
            "{server} has weight {value} in {where}{who}",
            server=server,
            value=value,
            where=service or "all services",
            who=f", says {who}" if who else "",
        )
        return Weighted(server, value, _services(places))

    def emptying(
        self, server: str, told: Callable[[Progress], None], *, service: str | None = None
    ) -> Deferred[Progress]:
        """See IPlane."""
        return self._emptying.watch(server, told, service)

    def _sensible(self, state: str, until: float | None, timeout: float | None, drain: str | None) -> None:
        if state not in STATES:
            raise Refused(f"{state!r} is no state; there are {', '.join(STATES)}")
        if state == "ready" and until is not None:
            raise Refused("ready has no `until`: say when you drain")
        if drain not in (None, "keep", "move"):
            raise Refused(f"{drain!r} is no way to drain; there are keep and move")
        if until is not None and not 0 < until - self._day.now() <= LONGEST_WISH:
            raise Refused(f"until {rfc3339(until)} is not within a year from now")
        if timeout is not None and not 0 <= timeout <= LONGEST_WISH:
            raise Refused(f"a timeout of {timeout:g} s is not within a year")

    def _refuse_last(self, server: str, places: Iterable[Place]) -> None:
        alone = []
        for place in places:
            backend = place.pool.find(server)
            assert backend is not None
            others = [b for b in place.pool.backends if b is not backend and b.usable_for_new()]
            if backend.usable_for_known() and not others:
                alone.append(place.pool.name)
        if alone:
            raise LastUsable(server, alone)

    def _do(
        self, server: str, service: str | None, state: str, places: Sequence[Place], timeout: float | None
    ) -> Operated:
        told = left = 0
        self._forget_cut(server, service)
        for place in places:
            self._have(place, server)
            backend = place.pool.find(server)
            assert backend is not None
            left += backend.links
            if state != "ready":
                until = place.grace if timeout is None else timeout
                bound = state == "maint" or backend.leaving
                told += place.pool.empty(server, until, bound=bound)
        if state != "ready" and timeout is not None:
            self._cuts[server, service] = self._clock.callLater(timeout, self._cut, server, service)
        self._emptying.look(server)
        return Operated(server, state, _services(places), left, told)

    def _have(self, place: Place, server: str) -> None:
        backend = place.pool.find(server)
        assert backend is not None
        wish = self.wish(server, place.service)
        state = "ready" if wish is None else wish.state
        leaving = wish is not None and (wish.drain or place.drain) == "move"
        if backend.operator != state or backend.leaving != (leaving and state == "drain"):
            place.pool.operate(server, state, leaving=leaving, reason=wish.reason if wish is not None else "")

    # -- in time ---------------------------------------------------------------------

    def _cut(self, server: str, service: str | None) -> None:
        del self._cuts[server, service]
        count = sum(
            place.pool.cut(server, f"{server} is being emptied, and its time is over")
            for place in self._found(server, service)
        )
        self.log.warn("{server} was emptied: {count} connections cut", server=server, count=count)
        self._emptying.cut(server)

    def _forget_cut(self, server: str, service: str | None) -> None:
        for key in [key for key in self._cuts if key[0] == server and service in (None, key[1])]:
            self._cuts.pop(key).cancel()

    def _lapse(self, *, write: bool = True) -> None:
        """Take back what is over, and come again when the next is."""
        now = self._day.now()
        over = [each for each in self._wishes.values() if each.until is not None and each.until <= now]
        for each in over:
            del self._wishes[each.server, each.service]
            self._forget_cut(each.server, each.service)
            self.log.warn("{server} is ready again, as it was said before", server=each.server)
        if over and write:
            self.apply()
            for each in over:
                self._emptying.look(each.server)
        if over:
            self._write_anyway()
        self._arm(now)

    def _arm(self, now: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        ends = [each.until for each in self._wishes.values() if each.until is not None]
        self._timer = self._clock.callLater(max(0.0, min(ends) - now), self._lapse) if ends else None

    # -- the file, the log -----------------------------------------------------------

    def _keep(self) -> None:
        if self._file is not None:
            self._file.write(self._wishes.values())
        self._arm(self._day.now())

    def _write_anyway(self) -> None:
        try:
            if self._file is not None:
                self._file.write(self._wishes.values())
        except OSError as error:
            self.log.error("operator states cannot be kept: {error}", error=error)

    def _tell(
        self, server: str, service: str | None, state: str, reason: str, who: str, until: float | None
    ) -> None:
        self.log.warn(
            "{server} is {state} in {where}{until}{who}{reason}",
            server=server,
            state=state.upper(),
            where=service or "all services",
            until=f" until {rfc3339(until)}" if until is not None else "",
            who=f", says {who}" if who else "",
            reason=f": {reason}" if reason else "",
        )


def _services(places: Iterable[Place]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.service for each in places))


def places_in(built: Iterable[Built]) -> list[Place]:
    """Every pool of these services."""
    return [
        Place(one.service.name, pool, one.owners[pool].drain, one.config.timeouts.grace)
        for one in built
        for pool, _ in one.pools
    ]
