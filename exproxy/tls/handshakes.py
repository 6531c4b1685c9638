"""A budget for TLS handshakes: a flood of them must not keep connections waiting that are there already.

A step of a handshake (a signature, an agreement on keys, a chain of certificates) costs as much as serving
some thirty small messages.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

# Steps that are carried out before everything else has its turn again: some 3 ms with ECDSA, 5 with RSA.
PER_TURN = 8


class Shaking(Protocol):
    """A connection whose handshake is not done."""

    def shake(self) -> None:
        """Go on with the handshake; called once for each time it was put in the queue."""

    def fail(self) -> None:
        """shake() raised, which is a mistake of ours and logged: end this connection."""


class Handshakes:
    """The queue of handshakes that can go on, first come, first served; each turn takes PER_TURN of them."""

    log = Logger()

    def __init__(self, later: Callable[[Callable[[], None]], None]) -> None:
        """``later(call)`` calls once when those that are ready now were served: see Poller."""
        self._later = later
        # A dictionary's first is found slowly where many have gone before it.
        self._waiting: OrderedDict[Shaking, None] = OrderedDict()
        self._asked = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, shaking: Shaking) -> None:
        """It can go on, when its turn comes; idempotent until then."""
        self._waiting[shaking] = None
        self._ask()

    def drop(self, shaking: Shaking) -> None:
        """It is gone; idempotent."""
        self._waiting.pop(shaking, None)

    def _ask(self) -> None:
        if not self._asked:
            self._asked = True
            self._later(self._turn)

    def _turn(self) -> None:
        self._asked = False
        left = min(PER_TURN, len(self._waiting))
        while left and self._waiting:
            left -= 1
            shaking, _ = self._waiting.popitem(last=False)
            try:
                shaking.shake()
            except Exception:
                self.log.failure("{shaking} failed", shaking=shaking)
                shaking.fail()
        if self._waiting:
            self._ask()
