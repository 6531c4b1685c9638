"""What a backend's health has been: the latest check, how long it was DOWN, when its state changed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from exproxy.actions import Outcome

# Changes that are kept of one backend: at one a minute they are the last four hours.
CHANGES = 256


@dataclass(frozen=True, slots=True)
class Checked:
    """One answer: the clock's reading ``at`` its end, and how many seconds it took."""

    at: float
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Changed:
    """The state was ``state`` from the clock's reading ``at`` on."""

    at: float
    state: str
    reason: str


class Past:
    """``downs``: how often it went DOWN; ``down_since``: the clock's reading, None while it is not."""

    __slots__ = ("_seconds", "changes", "checked", "down_since", "downs")

    def __init__(self) -> None:
        self.checked: Checked | None = None
        self.changes: deque[Changed] = deque(maxlen=CHANGES)
        self.downs = 0
        self.down_since: float | None = None
        self._seconds = 0.0

    def __repr__(self) -> str:
        return f"<Past: {self.downs} times DOWN, {self.checked}>"

    def changed(self, at: float, state: str, reason: str) -> None:
        """Its state is another one now."""
        if not self.changes or self.changes[-1].state != state:
            self.changes.append(Changed(at, state, reason))

    def went(self, at: float, up: bool) -> None:
        """It is UP or DOWN now."""
        if up and self.down_since is not None:
            self._seconds += at - self.down_since
            self.down_since = None
        elif not up and self.down_since is None:
            self.downs += 1
            self.down_since = at

    def down_seconds(self, now: float) -> float:
        """How long it was DOWN, all times together."""
        return self._seconds + (now - self.down_since if self.down_since is not None else 0.0)
