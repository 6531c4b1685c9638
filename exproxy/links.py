"""The backend side of one session: its links, which of them is current, and the Pick under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from exproxy import actions, events
from exproxy.choosing import again
from exproxy.dispatch import Dispatch
from exproxy.end import End
from exproxy.interfaces import IBackend
from exproxy.model import BACKEND, Choice, Link, Persistence
from exproxy.wire import Wire

if TYPE_CHECKING:
    from exproxy.session import Session
    from exproxy.virtual import VirtualService

# Once the end was decided, seconds without any progress in what is still to be sent; then a wire is dropped.
LINGER = 10.0


class Links:
    """Owns every connection to a backend that one session has.

    Never shared between sessions: Windows authentication is bound to the connection, and sharing
    one logs people in as each other.
    """

    def __init__(self, service: VirtualService, session: Session) -> None:
        self._service = service
        self._session = session
        self._by_number: dict[int, End] = {}
        self._count = 0
        self._dispatch: Dispatch | None = None
        self._last: Dispatch | None = None
        self._backend: IBackend | None = None
        self._port = session.client.wire.local.listening
        self.current: End | None = None
        self.pinned: Link | None = None
        # Links that were closed and are not gone yet, by the name of their deadline.
        self._leaving: dict[str, End] = {}

    def __iter__(self) -> Iterator[End]:
        return iter(list(self._by_number.values()))

    def __len__(self) -> int:
        return len(self._by_number)

    @property
    def asked(self) -> Dispatch | None:
        """The latest Pick, whatever became of it."""
        return self._last

    def find(self, link: Link | None) -> End | None:
        """The end of that link, or the current one; None where it is gone."""
        return self.current if link is None else self._by_number.get(link.number)

    def full(self) -> bool:
        """Whether any of them has a long queue."""
        return any(getattr(end.wire, "full", False) for end in self._by_number.values())

    # -- choosing --------------------------------------------------------------------

    def pick(self, action: actions.Pick) -> None:
        """Carry out a Pick; the client's bytes are held until it is resolved."""
        if self._dispatch is not None:
            raise RuntimeError("Pick while another one is unresolved")
        session = self._session
        if session.record.kept:
            session.record.picking()
        if self._again(action):
            return
        session.client.holds.add("pick")
        self._dispatch = self._last = Dispatch(
            self._service,
            action.target,
            session.client.wire,
            action.facts,
            self._linked,
            self._reused,
            self._unavailable,
        )
        self._attempt()

    def _again(self, action: actions.Pick) -> bool:
        """Resolve a Pick over the current link, where that is where it leads: most requests of a
        connection follow the one before, and need no Dispatch."""
        end, last = self.current, self._last
        if end is None or last is None or self.pinned is not None or last.target != action.target:
            return False
        link, lease = end.link, end.lease
        if end.closing or link is None or lease is None:
            return False
        pool = self._service.pool(action.target, self._port)
        backend = pool.find(link.server)
        if backend is None or backend is not lease.backend or not again(pool, action.facts, link):
            return False
        last.renew(pool, action.facts)
        self._backend = backend
        if not end.occupied:
            end.busy()
        session = self._session
        if session.record.kept:
            session.record.connected(Choice(backend, None, Persistence.HIT, link))
        if end.again is None:
            end.again = events.Connected(link, True, Persistence.HIT)
        session.tell(end.again)
        return True

    def retry(self, action: actions.Retry) -> None:
        """Drop the current link and choose again with the facts of the last Pick."""
        if self._last is None or self._backend is None or self._dispatch is not None:
            raise RuntimeError("Retry without a link that was picked")
        self._dispatch = self._last
        self._session.client.holds.add("pick")
        if self.current is not None:
            self.drop(self.current)
        if action.blame:
            self._service.failed(self._dispatch.pool, self._backend, "L7RSP", action.reason)
            self._dispatch.avoiding.add(self._backend.server)
        else:
            # Nobody failed: an idle connection had ended. It is the same try.
            self._dispatch.pardoned += 1
        self._attempt()

    def learn(self, observation: object) -> None:
        """Bind what was seen to the present server."""
        if self._last is not None and self._backend is not None:
            lease = self.current.lease if self.current is not None else None
            self._last.pool.learn(self._last.facts, observation, self._backend.server, lease)

    def _attempt(self) -> None:
        if self._dispatch is not None:
            links = tuple(end.link for end in self._by_number.values() if end.link and self._serves(end))
            self._dispatch.attempt(links, self.pinned)

    def _serves(self, end: End) -> bool:
        """Whether a choice may come back to it: each pool counts, limits and cuts the links of its own.
        A pinned client has no other way, whatever its target."""
        if end.closing or self._dispatch is None:
            return False
        if self.pinned is not None or end.lease is None or end.link is None:
            return True
        return self._dispatch.pool.find(end.link.server) is end.lease.backend

    def _linked(self, wire: Wire, choice: Choice) -> None:
        while len(self._by_number) >= self._service.limits.links_per_client:
            oldest = next((end for end in self if end.link is not self.pinned), None)
            if oldest is None:
                break
            self.close(oldest)
        self._count += 1
        backend = choice.backend
        link = Link(self._count, backend.server, wire.peer.host, wire.peer.port)
        end = End(wire, BACKEND, self._service.limits.max_held, link, choice.lease)
        if choice.lease is not None:
            choice.lease.take_over(partial(self._cut, end), self._session.drain)
        self._by_number[link.number] = end
        self._session.took(end)
        self._arrived(end, choice)
        if choice.lease is not None:
            # It may have been cut, or asked to leave, while it was being made.
            choice.lease.overdue()

    def _reused(self, choice: Choice) -> None:
        end = self.find(choice.reused)
        if end is None or end.closing:
            # It ended while the pool was making up its mind.
            self._attempt()
        else:
            self._arrived(end, choice)

    def _arrived(self, end: End, choice: Choice) -> None:
        self.current = end
        self._backend = choice.backend
        end.busy()
        self._session.record.connected(choice)
        if end.link is not None:
            self._resolved(events.Connected(end.link, choice.reused is not None, choice.persistence))

    def _unavailable(self, reason: str, full: bool) -> None:
        self._session.record.unavailable(reason)
        self._resolved(events.Unavailable(reason, full))

    def _resolved(self, event: events.Event) -> None:
        if self._dispatch is not None:
            self._session.record.tried(self._dispatch.tries)
        self._dispatch = None
        client = self._session.client
        client.holds.discard("pick")
        self._session.tell(event)
        self._session.unhold(client)

    def cancel(self) -> None:
        """Give a Pick up; idempotent."""
        dispatch, self._dispatch = self._dispatch, None
        if dispatch is not None:
            dispatch.cancel()

    def _cut(self, end: End, reason: str) -> None:
        """The pool wants this link gone: a relayed client goes with it, a conversation is told."""
        if self._session.relay is not None:
            self._session.cut(reason)
        else:
            self._session.record.merge({"cut": reason})
            end.wire.abort()
            end.wire.resume()

    # -- ending ----------------------------------------------------------------------

    def forget(self, end: End) -> None:
        """Its wire is gone."""
        if end.link is not None:
            self._by_number.pop(end.link.number, None)
            name = f"leave {end.link.number}"
            if self._leaving.pop(name, None) is not None:
                self._session.deadlines.set(name, None)
        if self.current is end:
            self.current = None

    def drop(self, end: End) -> None:
        """Abort a link that is of no use; the conversation is not told of its end."""
        self._leave(end, end.wire.abort)

    def close(self, end: End) -> None:
        """Close a link after what was written to it; the conversation is not told of its end."""
        self._leave(end, end.wire.close)
        if end.link is not None and not end.gone:
            # A server may leave our close_notify without its own for ever.
            name = f"leave {end.link.number}"
            self._leaving[name] = end
            self._session.deadlines.set(name, LINGER)

    def overdue(self, deadline: str) -> bool:
        """Drop the link that has not gone by that deadline; False where it is none of these."""
        end = self._leaving.pop(deadline, None)
        if end is None:
            return False
        end.wire.abort()
        return True

    def _leave(self, end: End, how: Callable[[], None]) -> None:
        end.closing = True
        self.forget(end)
        end.release()
        end.stops.clear()
        end.wire.resume()
        how()
