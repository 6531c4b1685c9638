"""HTTP/1.1 between one client and the backends of its requests (RFC 9112).

The client speaks first. Every request gets a choice of its own; its head goes on edited, its body
and the answer's move as they arrive, in both directions at the same time, and nothing is collected.
One request is under way at a time: what a client sends ahead waits until it has its answer. Each
backend connection stays with this client, for its later requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zope.interface import implementer

from exproxy.actions import (
    Action,
    Hold,
    Pick,
    Record,
    Relay,
    Release,
    Retry,
    SetDeadline,
    ToBackend,
    ToClient,
)
from exproxy.events import Began, Connected, Data, Deadline, Draining, Eof, Event, Lost, Relayed, Unavailable
from exproxy.interfaces import IConversation, IService
from exproxy.model import BACKEND, CLIENT
from protocols.http.answer import SWITCHING_PROTOCOLS
from protocols.http.authentication import binds, logs_in
from protocols.http.edits import forward_response
from protocols.http.exchange import AWAITED, PACE, Exchange, awaiting
from protocols.http.familiar import Familiar, remembered, usual
from protocols.http.faults import BadMessage
from protocols.http.head import RequestHead, ResponseHead
from protocols.http.inbox import Inbox
from protocols.http.lending import Lending
from protocols.http.limits import MessageLimits
from protocols.http.login import Login
from protocols.http.peer import Peer
from protocols.http.routing import Routing
from protocols.http.server_cookie import learnt
from protocols.http.upstream import Upstream

# Seconds after which a client that found no server is told to come again.
RETRY_AFTER = 10


@implementer(IConversation)
class Conversation(Lending):
    """See the module. ``request_ids()`` gives an id for each request."""

    def __init__(
        self, service: IService, request_ids: Callable[[], bytes], routing: Routing | None = None
    ) -> None:
        self._service = service
        self._request_ids = request_ids
        self._limits = MessageLimits(head=service.limits.head)
        self._routing = routing or Routing(service)
        self._marks = self._routing.marks
        self._peer: Peer
        # What the client sent beyond the request under way; without one, the begin of the next.
        self._inbox = Inbox(self._limits)
        self._holding = False
        self._exchange: Exchange | None = None
        # The latest answer that was whole in one piece, like which others may come.
        self._familiar: Familiar | None = None
        self._upstream = Upstream()
        self._login = Login(getattr(service.options, "ntlmv1", "pass") == "refuse")
        # No further request is taken: draining, or the client has ended its side.
        self._last = False
        self._over = False

    def __repr__(self) -> str:
        state = "over" if self._over else "awaiting a request"
        if self._exchange is not None:
            state = f"{self._exchange.head.method.decode()} over {self._exchange.link}"
        return f"<http {state}, {len(self._inbox)} bytes ahead>"

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        if self._over:
            return ()
        try:
            return _HEARD.get(type(event), _unheard)(self, event)
        except BadMessage as fault:
            return self._refuse(fault.status, fault.reason)

    # -- the client ------------------------------------------------------------------

    def _began(self, event: Began) -> list[Action]:
        self._peer = Peer(event.facts, self._service, self._marks.cookies)
        return [SetDeadline(AWAITED, self._service.timeouts.keep_alive)]

    def _data(self, event: Data) -> list[Action]:
        exchange = self._exchange
        if event.side is BACKEND:
            if exchange is None or (event.link is not exchange.link and not exchange.over(event.link)):
                return self._useless(event.link)
            return self._answer(exchange, event.data)
        if exchange is not None:
            return self._flow(self._body(exchange, event.data))
        head = self._inbox.again(event.data)
        return self._flow(self._request(event.data)) if head is None else self._take(head)

    def _request(self, data: bytes) -> list[Action]:
        """Bytes where a request begins or its head goes on."""
        inbox = self._inbox
        first = not inbox.data
        inbox.put(data)
        head = inbox.head()
        if head is None:
            return [SetDeadline(AWAITED, self._service.timeouts.request_head)] if first else []
        return self._take(head)

    def _take(self, head: RequestHead) -> list[Action]:
        """A whole head."""
        peer, upstream, routing = self._peer, self._upstream, self._routing
        head, segments = routing.read(head)
        exchange = self._exchange = Exchange(
            head,
            peer,
            peer.facts(head) if routing.routed else peer.facts(head, *upstream.first),
            (peer.request_id(head) if peer.origin.trusted else None) or self._request_ids(),
            self._limits,
            upstream.pinned is not None,
        )
        exchange.take_way(routing.way(head, segments, exchange.facts))
        if self._login.objects and (objection := self._login.objection(head)):
            return self._refuse(403, objection)
        if self._inbox.data:
            self._inbox.put(exchange.take(self._inbox.take())[1])
        if exchange.way.answer is not None:
            return self._say(exchange, exchange.way.answer)
        if not exchange.waiting:
            return self._pick(exchange)
        asked = exchange.asking(self._service.timeouts)
        return asked + self._pick(exchange) if exchange.ready else asked

    def _pick(self, exchange: Exchange) -> list[Action]:
        target = exchange.way.route
        facts = exchange.facts if exchange.channel is None else exchange.choosing()
        if self._routing.routed:
            # Only now its target is known.
            exchange.facts = facts = self._upstream.known(facts, target)
        timeouts = exchange.way.timeouts
        patience = timeouts.answer if exchange.bare else exchange.patience(timeouts)
        return [awaiting(patience), Pick(facts, target)]

    def _body(self, exchange: Exchange, data: bytes) -> list[Action]:
        """More of the request's body, or what a client sends ahead of its answer."""
        if exchange.body.done:
            self._inbox.put(data)
            return []
        onward, rest = exchange.take(data)
        self._inbox.put(rest)
        if exchange.waiting:
            return self._pick(exchange) if exchange.ready else []
        actions: list[Action] = [ToBackend(onward, exchange.link)] if onward else []
        if exchange.body.done and exchange.answer.done:
            return actions + self._finish(exchange)
        actions.append(self._patience(exchange))
        return actions + exchange.beside(self._service.timeouts) + self._lend(exchange)

    def _flow(self, actions: list[Action]) -> list[Action]:
        """Let the session keep what a client sends ahead: one portion of it is enough here."""
        ahead = self._exchange is not None and bool(self._inbox.data)
        if ahead != self._holding and not self._over:
            self._holding = ahead
            actions.append(Hold(CLIENT) if ahead else Release(CLIENT))
        return actions

    def _client_ended(self) -> list[Action]:
        """A client may end its side and still wait for its answer; it is not waited with for long."""
        exchange = self._exchange
        if exchange is None or not exchange.body.done:
            return self._hang_up("client closed")
        self._last = True
        if exchange.answer.head is None:
            return [SetDeadline(AWAITED, self._service.timeouts.keep_alive)]
        return []

    # -- the backend -----------------------------------------------------------------

    def _connected(self, event: Connected) -> list[Action]:
        exchange = self._exchange
        assert exchange is not None
        self._upstream.serves(event.link, exchange.way.route)
        head = exchange.head
        actions: list[Action] = [ToBackend(exchange.opening(event.link, event.reused), event.link)]
        if logs_in(head) or self._login.user is not None:
            if self._upstream.pinned is None and logs_in(head):
                actions.insert(0, self._upstream.pin(event.link))
            actions += self._login.asked(head)
        return actions if exchange.bare else actions + exchange.beside(self._service.timeouts)

    def _unavailable(self, event: Unavailable) -> list[Action]:
        return self._refuse(503, event.reason, RETRY_AFTER)

    def _answer(self, exchange: Exchange, data: bytes) -> list[Action]:
        whole = not exchange.heard
        exchange.heard = True
        if whole and self._familiar is not None and (known := self._known(exchange, data)):
            return known
        answer = exchange.answer
        heads, body = answer.feed(data)
        actions: list[Action] = []
        onward = b""
        for head in heads:
            if head.status >= 200:
                onward += self._answer_head(exchange, head, actions)
            elif head.status == SWITCHING_PROTOCOLS:
                return self._switch(exchange, onward, head)
            elif exchange.head.version >= (1, 1) and not (exchange.answered_100 and head.status == 100):
                # HTTP/1.0 knows no interim answers (RFC 9110 15.2).
                onward += forward_response(head, exchange.head.method)
                exchange.expecting = exchange.expecting and head.status != 100
        if whole and answer.done and len(heads) == 1 and not actions and answer.head is not None:
            self._familiar = remembered(exchange, answer.head, onward)
        onward += body
        if onward:
            exchange.bytes_out += len(onward)
            actions.append(ToClient(onward))
        if answer.done:
            return self._flow(actions + self._answered(exchange))
        actions.append(self._patience(exchange))
        if not exchange.bare:
            actions += exchange.beside(self._service.timeouts)
        return actions + self._lend(exchange)

    def _known(self, exchange: Exchange, data: bytes) -> list[Action] | None:
        """A whole answer that is like one before, and adds nothing to what is known; else None."""
        familiar, link = self._familiar, exchange.link
        assert familiar is not None and link is not None
        onward = familiar.onward(data)
        if onward is None or self._last or self._login.under_way or not usual(exchange):
            return None
        way = exchange.way
        if self._marks.fields(exchange.facts, familiar.head, link.server, way.route) != familiar.added:
            return None
        exchange.final, exchange.bytes_out = familiar.head, len(onward)
        self._exchange = None
        actions = [ToClient(onward), *self._upstream.rest(link, way.timeouts.backend_keep_alive)]
        if self._service.records:
            actions[1:1] = self._told(exchange)
        if not self._inbox.data:
            actions.append(awaiting(self._service.timeouts.keep_alive))
            return actions
        return self._flow(actions + self._next())

    def _answer_head(self, exchange: Exchange, head: ResponseHead, actions: list[Action]) -> bytes:
        """The final head as the client gets it."""
        upstream, link = self._upstream, exchange.link
        assert link is not None
        if upstream.pinned is None and exchange.answer.persists and binds(head):
            actions.append(upstream.pin(link))
        actions += self._login.answered(head)
        actions += learnt(head)
        exchange.settle(head, self._last, upstream.pinned is not None)
        exchange.added = self._marks.fields(exchange.facts, head, link.server, exchange.way.route)
        return forward_response(
            head,
            exchange.head.method,
            version=exchange.head.version,
            keep_alive=exchange.keep,
            extra=exchange.added,
        )

    def _answered(self, exchange: Exchange) -> list[Action]:
        """The answer is complete; its request may still be arriving, if the backend wants the rest."""
        if exchange.body.done:
            return self._finish(exchange)
        if not exchange.answer.persists:
            return self._hang_up("answered before the whole request")
        return [self._patience(exchange)]

    def _finish(self, exchange: Exchange) -> list[Action]:
        """Both are complete: on to the next request, or the end."""
        link = exchange.link
        assert link is not None
        self._exchange = None
        actions = self._told(exchange)
        if self._last or not exchange.keep:
            return actions + self._hang_up("done")
        if exchange.answer.persists:
            actions += self._upstream.rest(link, exchange.way.timeouts.backend_keep_alive)
        else:
            actions += self._useless(link)
        return actions if self._over else actions + self._next()

    def _next(self) -> list[Action]:
        if not self._inbox.data:
            return [awaiting(self._service.timeouts.keep_alive)]
        try:
            return self._request(self._inbox.take())
        except BadMessage as fault:
            return self._refuse(fault.status, fault.reason)

    def _switch(self, exchange: Exchange, before: bytes, head: ResponseHead) -> list[Action]:
        """HTTP ends here: what both sides say from now on is another protocol's (RFC 9110 7.8)."""
        self._over = True
        answer = before + forward_response(head, exchange.head.method, upgrade=True) + exchange.answer.rest
        actions: list[Action] = [ToClient(answer), Record(exchange.record())]
        if self._inbox:
            actions.append(ToBackend(self._inbox.take(), exchange.link))
        return [*actions, Relay(idle=exchange.way.timeouts.tunnel)]

    def _backend_ended(self, exchange: Exchange, reason: str) -> list[Action]:
        """The link of the request under way has ended."""
        answer = exchange.answer
        if reason == "closed" and not answer.done and answer.ended():
            return self._flow(self._answered(exchange))
        if exchange.begun:
            return self._broken_off(exchange, f"server {reason} before the end")
        pinned = self._upstream.pinned is not None
        if exchange.repeatable and not pinned:
            exchange.repeat()
            # Without blame: else a request that servers choke on could take them all DOWN.
            return [Retry(f"server {reason} before its answer", blame=False)]
        if not exchange.heard and (exchange.reused or pinned):
            return self._hang_up(f"server {reason} a kept-alive connection")
        return self._refuse(502, f"server {reason} before its answer")

    # -- either ----------------------------------------------------------------------

    def _eof(self, event: Eof) -> list[Action]:
        if event.side is CLIENT:
            return self._client_ended()
        exchange = self._exchange
        if exchange is None or not exchange.over(event.link):
            return self._useless(event.link)
        return self._backend_ended(exchange, "closed")

    def _lost(self, event: Lost) -> list[Action]:
        exchange = self._exchange
        if event.side is CLIENT:
            self._over = True
            ended = self._login.ended()
            return ended if exchange is None else [*ended, Record(exchange.record())]
        if event.link is not None:
            self._upstream.forget(event.link)
        if exchange is None or not exchange.over(event.link):
            return []
        return self._backend_ended(exchange, event.reason)

    def _deadline(self, event: Deadline) -> list[Action]:
        exchange = self._exchange
        if event.name not in (PACE, AWAITED):
            link = self._upstream.rested(event.name)
            busy = link is None or (exchange is not None and exchange.over(link))
            return [] if busy else self._useless(link)
        if exchange is not None:
            if exchange.waiting and event.name == AWAITED:
                return self._flow(self._pick(exchange))
            return self._timed(exchange, event)
        if event.name == PACE:
            return []
        return self._refuse(408, "slow request head") if self._inbox else self._hang_up("keep-alive timeout")

    def _draining(self, event: Draining) -> list[Action]:
        if self._exchange is None and not self._inbox:
            return self._hang_up("draining")
        self._last = True
        return []


def _unheard(conversation: Conversation, event: Event) -> list[Action]:
    return []


_HEARD: dict[type, Callable[[Conversation, Any], list[Action]]] = {
    Began: Conversation._began,
    Data: Conversation._data,
    Connected: Conversation._connected,
    Unavailable: Conversation._unavailable,
    Eof: Conversation._eof,
    Lost: Conversation._lost,
    Deadline: Conversation._deadline,
    Relayed: Conversation._relayed,
    Draining: Conversation._draining,
}
