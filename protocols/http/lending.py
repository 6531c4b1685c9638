"""Long bodies that pass unseen, and how long silence is borne."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exproxy.actions import Action, Relay, SetDeadline, StopRelay
from exproxy.events import Deadline, Relayed
from exproxy.model import CLIENT, Side
from protocols.http.ends import Ends
from protocols.http.exchange import AWAITED, PACE, Exchange, awaiting

# Bytes that must be left of a body whose length is known, so that handing the rest to a relay is worth it.
LENT = 128 * 1024
# So often in the time that silence is borne a lent body is looked at: whether anything has moved.
LOOKS = 4


class Lending(Ends):
    """The part of a conversation that lends wires out; see Conversation for what its fields are."""

    # The deadline for which a wire was taken back.
    _looking: str | None = None

    if TYPE_CHECKING:

        def _flow(self, actions: list[Action]) -> list[Action]: ...
        def _answered(self, exchange: Exchange) -> list[Action]: ...
        def _finish(self, exchange: Exchange) -> list[Action]: ...

    def _patience(self, exchange: Exchange) -> SetDeadline:
        return awaiting(exchange.patience(exchange.way.timeouts))

    def _lend(self, exchange: Exchange) -> list[Action]:
        """Let the rest of a body pass unseen, where it is long and nobody here needs to see it."""
        side, left = exchange.unseen
        if exchange.lent is not None or left < LENT or self._over:
            return []
        exchange.lent, self._looking = side, None
        seconds = exchange.patience(exchange.way.timeouts)
        return [Relay((side,), limit=left), awaiting(seconds / LOOKS)]

    def _look(self, side: Side, name: str) -> list[Action]:
        """Take a wire back to see how far the body has come, since that deadline asks for it."""
        self._looking = name
        return [StopRelay(side)]

    def _relayed(self, event: Relayed) -> list[Action]:
        """A lent wire is back: the body is complete, or it was taken back, or its sender has ended, which is
        told next."""
        exchange = self._exchange
        if exchange is None or exchange.lent is not event.side:
            return []
        looking, self._looking = self._looking, None
        if exchange.passed(event.side, event.count):
            return self._complete(exchange, event.side)
        if looking is None:
            return [self._patience(exchange)]
        if event.count:
            exchange.silent = 0
        elif looking == AWAITED:
            exchange.silent += 1
        if exchange.silent >= LOOKS:
            return self._silent(exchange)
        if looking == PACE:
            paced = self._pace(exchange)
            again = [] if self._over else self._lend(exchange) or [self._patience(exchange)]
            # A look at the pace is none at the silence, unless it has found something.
            return paced + (again if event.count else [each for each in again if isinstance(each, Relay)])
        return self._lend(exchange) or [self._patience(exchange)]

    def _complete(self, exchange: Exchange, side: Side) -> list[Action]:
        if side is not CLIENT:
            return self._flow(self._answered(exchange))
        if exchange.answer.done:
            return self._flow(self._finish(exchange))
        return [self._patience(exchange), *exchange.beside(self._service.timeouts)]

    def _pace(self, exchange: Exchange) -> list[Action]:
        """A span of a request body's time is over."""
        if exchange.arrives_slowly(self._service.timeouts):
            return self._refuse(408, "slow request body")
        return [SetDeadline(PACE, self._service.timeouts.request_body)]

    def _silent(self, exchange: Exchange) -> list[Action]:
        """Nothing has come for too long."""
        if exchange.begun:
            return self._hang_up("idle timeout")
        if exchange.body.done:
            return self._refuse(504, "no answer in time")
        return self._refuse(408, "slow request body")

    def _timed(self, exchange: Exchange, event: Deadline) -> list[Action]:
        """A deadline of the request under way."""
        if event.name == PACE:
            if exchange.body.done:
                return []
            return self._look(CLIENT, PACE) if exchange.lent is CLIENT else self._pace(exchange)
        return self._silent(exchange) if exchange.lent is None else self._look(exchange.lent, AWAITED)
