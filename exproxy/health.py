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
    """What an answer changed."""

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
        bad = isinstance(outcome, Fail)
        first = not self.asked and not by_client
        if not by_client:
            self.asked = True
        if bad:
            return self._failed(first)
        flip = self._passed()
        draining = isinstance(outcome, Drain)
        if draining != self.draining:
            self.draining = draining
            flip = flip or (Flip.DRAIN if draining else Flip.UNDRAIN)
        return flip

    def _failed(self, first: bool) -> Flip | None:
        self._good = 0
        self._bad += 1
        if self.up and (first or self._bad >= self._fall):
            self.up = False
            return Flip.DOWN
        return None

    def _passed(self) -> Flip | None:
        self._bad = 0
        if self.up:
            return None
        self._good += 1
        if self._good < self._rise:
            return None
        self._good = 0
        self.up = True
        return Flip.UP


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
    return f"Server {name} is UP, reason: check passed, {took} {left}"
