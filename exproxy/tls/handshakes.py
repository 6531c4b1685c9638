"""A budget for TLS handshakes: a flood of them must not keep connections waiting that are there already.

A step of a handshake (a signature, an agreement on keys, a chain of certificates) costs as much as serving
some thirty small messages.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, TypeAlias

from twisted.logger import Logger

# Steps that are carried out before everything else has its turn again: some 3 ms with ECDSA, 5 with RSA.
PER_TURN = 8

Later: TypeAlias = Callable[[Callable[[], None]], None]


class Shaking(Protocol):
    """A connection whose handshake is not done."""

    def shake(self) -> None:
        """Go on with the handshake; called once for each time it was put in the queue."""

    def fail(self) -> None:
        """shake() raised, which is a mistake of ours and logged: end this connection."""


class Handshakes:
    """The queue of handshakes that can go on, first come, first served; each turn takes PER_TURN of them.

    Those that are urgent come before all others: connections to servers, for clients that are in already.
    """

    log = Logger()

    def __init__(self) -> None:
        # A dictionary's first is found slowly where many have gone before it.
        self._urgent: OrderedDict[Shaking, None] = OrderedDict()
        self._waiting: OrderedDict[Shaking, None] = OrderedDict()
        # Whom the next turn was asked of; None while none is wanted.
        self._later: Later | None = None

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    def put(self, shaking: Shaking, later: Later, urgent: bool = False) -> None:
        """It can go on, when its turn comes; idempotent until then. ``later(call)`` calls once when those
        that are ready now were served: see Poller."""
        (self._urgent if urgent else self._waiting)[shaking] = None
        if self._later is None:
            self._later = later
            later(self._turn)

    def drop(self, shaking: Shaking) -> None:
        """It is gone; idempotent."""
        self._urgent.pop(shaking, None)
        self._waiting.pop(shaking, None)

    def _turn(self) -> None:
        later, self._later = self._later, None
        for _ in range(min(PER_TURN, len(self))):
            queue = self._urgent or self._waiting
            if not queue:
                break
            shaking, _ = queue.popitem(last=False)
            try:
                shaking.shake()
            except Exception:
                self.log.failure("{shaking} failed", shaking=shaking)
                shaking.fail()
        if len(self) and self._later is None and later is not None:
            self._later = later
            later(self._turn)
