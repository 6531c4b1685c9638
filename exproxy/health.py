"""UP or DOWN, with rise and fall: pure; it is told of answers and tells of flips.

As HAProxy does, a server is UP until it has shown otherwise, and its very first answer decides: one
bad answer takes it down, so that a server that was dead before we came gets no client for long.
"""

from __future__ import annotations

import enum

from exproxy.actions import Drain, Fail, Outcome

MEANINGS = {
    "L4CON": "Layer4 connection problem",
    "L4TOUT": "Layer4 timeout",
    "L6RSP": "Layer6 invalid response",
    "L6TOUT": "Layer6 timeout",
    "L7RSP": "Layer7 invalid response",
    "L7STS": "Layer7 wrong status",
    "L7TOUT": "Layer7 timeout",
}


class Flip(enum.Enum):
    """What an answer made of a server; UNDRAIN: UP again, having asked for nobody new."""

    UP = "UP"
    DOWN = "DOWN"
    DRAIN = "DRAIN"
    UNDRAIN = "UNDRAIN"


class Health:
    """The health of one backend. ``rise`` good answers in a row bring it up, ``fall`` bad ones down."""

    __slots__ = ("_bad", "_fall", "_good", "_rise", "asked", "draining", "up")

    def __init__(self, rise: int = 2, fall: int = 3) -> None:
        self._rise = rise
        self._fall = fall
        self._good = 0
        self._bad = 0
        self.asked = False
        self.up = True
        # The server itself asks for nobody new.
        self.draining = False

    def __repr__(self) -> str:
        return f"<Health {self.text()}>"

    def text(self) -> str:
        """``UP``, ``DOWN``, or on the way: ``UP 2/3``, ``DOWN 1/2``; ``no check`` before the first."""
        if not self.asked:
            return "no check"
        if self.up:
            return f"UP {self._fall - self._bad}/{self._fall}" if self._bad else "UP"
        return f"DOWN {self._good}/{self._rise}" if self._good else "DOWN"

    def told(self, outcome: Outcome, *, by_client: bool = False) -> Flip | None:
        """Take one answer. What a client met (``by_client``) counts only against the server, and
        is not a first answer."""
        before = self._flip()
        first = not self.asked and not by_client
        self.asked = self.asked or first
        if isinstance(outcome, Fail):
            self._failed(first)
        elif not by_client:
            self.draining = isinstance(outcome, Drain)
            self._passed()
        after = self._flip()
        if after is before:
            return None
        return Flip.UNDRAIN if before is Flip.DRAIN and after is Flip.UP else after

    def restart(self) -> None:
        """Nothing is known any more, as at the start."""
        self._good = self._bad = 0
        self.asked = False
        self.up = True
        self.draining = False

    def become(self, *, up: bool, draining: bool, asked: bool) -> None:
        """Take over what somebody else has found out, who asks the server."""
        if up != self.up:
            self._good = self._bad = 0
        self.up, self.draining, self.asked = up, draining, asked

    def retune(self, other: Health) -> None:
        """Take over the other's ``rise`` and ``fall``."""
        self._rise, self._fall = other._rise, other._fall

    def _flip(self) -> Flip:
        if not self.up:
            return Flip.DOWN
        return Flip.DRAIN if self.draining else Flip.UP

    def _failed(self, first: bool) -> None:
        self._good = 0
        self._bad += 1
        if first or self._bad >= self._fall:
            self.up = False

    def _passed(self) -> None:
        self._bad = 0
        if not self.up:
            self._good += 1
            if self._good >= self._rise:
                self._good = 0
                self.up = True


def announcement(name: str, flip: Flip, outcome: Outcome, seconds: float, active: int, backup: int) -> str:
    """The log's sentence for a flip, in HAProxy's words. ``seconds``: how long the check took."""
    left = f"{active} active and {backup} backup servers left."
    took = f"check duration: {seconds * 1000:.0f}ms."
    if isinstance(outcome, Fail):
        reason = MEANINGS.get(outcome.code, outcome.code)
        info = f"{outcome.phase}: {outcome.reason}" if outcome.phase != "connect" else outcome.reason
        return f'Server {name} is DOWN, reason: {reason}, info: "{info}", {took} {left}'
    if flip is Flip.DRAIN:
        reason = outcome.reason if isinstance(outcome, Drain) else ""
        return f'Server {name} is DRAIN, reason: "{reason}", {took} {left}'
    return f"Server {name} is UP, reason: check passed, {took} {left.replace('left', 'online')}"
