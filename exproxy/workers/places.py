"""A worker's part of a limit: the places that it was lent, and how it comes by more. See lending.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from exproxy.workers.messages import Give, Lent, Scarce, Want

# Seconds that a client waits for the owner's word on whether there is a place. To refuse it without need is
# worse than to let it wait.
PATIENCE = 2.0


class Borrowed:
    """See exproxy.backend.Places."""

    def __init__(
        self,
        clock: IReactorTime,
        what: str,
        keep: int,
        send: Callable[[Any], None],
        freed: Callable[[], None],
    ) -> None:
        """``keep``: how many unused ones may stay here; ``freed()`` is called for each that comes without
        anybody's asking at that moment."""
        self.what = what
        self.granted = 0
        self.used = 0
        self._clock = clock
        self._keep = keep
        self._send = send
        self._freed = freed
        self._wanting = False
        # The owner has said that there are none, and will say when there are.
        self._none = False
        self._scarce = False
        self._waiting: list[Deferred[None]] = []
        self._patience: IDelayedCall | None = None

    def __repr__(self) -> str:
        return f"<Borrowed {self.what}: {self.used} of {self.granted}>"

    @property
    def unused(self) -> int:
        """Places that nobody has here."""
        return max(0, self.granted - self.used)

    def full(self, used: int) -> bool:
        """See Places."""
        return used >= self.granted

    def use(self, used: int) -> None:
        """See Places. What is too much here goes back; where it gets scarce more is asked for in time."""
        self.used = used
        if self._scarce:
            self._give(self.unused)
        elif self.unused > 2 * self._keep:
            self._give(self.unused - self._keep)
        elif self.unused < self._keep // 2:
            self._want()

    def more(self, used: int) -> Deferred[None] | None:
        """See Places. It fires within PATIENCE, whatever the owner does."""
        self.used = used
        if used < self.granted or self._none:
            return None
        self._want()
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        if self._patience is None:
            self._patience = self._clock.callLater(PATIENCE, self._give_up)
        return waiting

    # -- the owner's words -----------------------------------------------------------

    def lent(self, lent: Lent) -> None:
        """So many more."""
        self._wanting = False
        self.granted += lent.places
        self._none = not lent.places
        self._answer()
        for _ in range(min(lent.places, self.unused)):
            self._freed()
        if self._scarce:
            # Whoever was waited for has taken it, or is not there any more.
            self._give(self.unused)

    def scarce(self, scarce: Scarce) -> None:
        """Others wait for some, or nobody does any more."""
        self._scarce = scarce.scarce
        if scarce.scarce:
            self._give(self.unused, called=True)
        elif self._none:
            self._none = False
            self._freed()

    def stop(self) -> None:
        """The owner is gone, or this process ends: nobody waits."""
        self._none = True
        self._answer()

    def _want(self) -> None:
        if not self._wanting and not self._none:
            self._wanting = True
            self._send(Want(self.what))

    def _give(self, places: int, called: bool = False) -> None:
        if places or called:
            self.granted -= places
            self._send(Give(self.what, places, called))

    def _give_up(self) -> None:
        self._patience = None
        self._none = True
        self._answer()

    def _answer(self) -> None:
        call, self._patience = self._patience, None
        if call is not None and call.active():
            call.cancel()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
