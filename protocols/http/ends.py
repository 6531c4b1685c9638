"""How an exchange, or the whole conversation, ends otherwise than by its answer."""

from __future__ import annotations

from exproxy.actions import Action, Hangup, Record, SetDeadline, ToClient
from exproxy.interfaces import IService
from exproxy.model import Link
from exproxy.routes import Answer
from protocols.http.exchange import AWAITED, Exchange
from protocols.http.inbox import Inbox
from protocols.http.login import Login
from protocols.http.refusal import refusal
from protocols.http.routing import Routing
from protocols.http.upstream import Upstream


class Ends:
    """The part of a conversation that ends things; see Conversation for what its fields are."""

    _service: IService
    _routing: Routing
    _inbox: Inbox
    _upstream: Upstream
    _login: Login
    _exchange: Exchange | None
    _last: bool
    _over: bool

    def _told(self, exchange: Exchange) -> list[Action]:
        """The record of a request that is complete."""
        if not self._service.records:
            return []
        fields = {**exchange.record(), "bytes_in": exchange.bytes_in, "bytes_out": exchange.bytes_out}
        return [Record(fields, close=True)]

    def _useless(self, link: Link | None) -> list[Action]:
        """A link that will not serve again, or that speaks or ends while nothing was asked."""
        if link is None or link == self._upstream.pinned:
            return self._hang_up("server connection of no more use")
        return self._upstream.drop(link)

    def _say(self, exchange: Exchange, answer: Answer) -> list[Action]:
        """An answer of our own; what was sent ahead of it has to be asked anew."""
        keep = exchange.keep and exchange.body.done and not self._last and not self._inbox
        self._exchange, self._over = None, not keep
        return [
            ToClient(self._routing.says(answer, exchange.head, close=not keep)),
            Record({**exchange.record(), "status": answer.status}, close=True),
            SetDeadline(AWAITED, self._service.timeouts.keep_alive) if keep else Hangup("done"),
        ]

    def _refuse(self, status: int, reason: str, retry_after: int | None = None) -> list[Action]:
        """A short page instead of an answer, where the answer has not begun; then the end."""
        exchange = self._exchange
        if exchange is not None and exchange.begun:
            return self._hang_up(reason)
        head_only = exchange is not None and exchange.head.method == b"HEAD"
        fields = {} if exchange is None else exchange.record()
        fields["status"] = status
        self._over = True
        return [
            ToClient(refusal(status, retry_after=retry_after, head_only=head_only, hsts=self._service.hsts)),
            *self._login.ended(),
            Record(fields),
            Hangup(f"{status}: {reason}"),
        ]

    def _broken_off(self, exchange: Exchange, reason: str) -> list[Action]:
        """The rest of an answer will not come; where only the end would tell the client, it is a reset."""
        self._over = True
        return [Record(exchange.record()), Hangup(reason, abort=exchange.answer.until_close)]

    def _hang_up(self, reason: str) -> list[Action]:
        exchange = self._exchange
        self._over = True
        ended = self._login.ended()
        fields = [] if exchange is None else [Record(exchange.record())]
        return [*ended, *fields, Hangup(reason)]
