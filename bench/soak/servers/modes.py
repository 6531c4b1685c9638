"""What is wrong with a server at the moment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable

from bench.soak.line import Cut, Line

MODES = ("well", "refuse", "hang", "reset", "slow", "lie")
# How often an answer is broken off, or a lie.
_SHARE = 0.3
# Seconds between the parts of a slow answer, and parts of each piece.
_PAUSE, _PARTS = 0.08, 4


class Modes:
    """The present mode, for all threads; see MODES. ``refuse`` is the listening sockets' affair."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.now = "well"
        self._changed = threading.Condition()
        self._dice = random.Random(name)

    def set(self, mode: str) -> None:
        """From now on."""
        with self._changed:
            self.now = mode
            self._changed.notify_all()

    def lies(self) -> bool:
        """Whether the next answer's length is to be wrong."""
        return self.now == "lie" and self._dice.random() < _SHARE

    def pass_gate(self) -> None:
        """Wait here while the server hangs; what hung is lost then. Raises Cut."""
        if self.now == "hang":
            with self._changed:
                self._changed.wait_for(lambda: self.now != "hang")
            raise Cut("it had hung")

    def say(self, line: Line, *pieces: bytes) -> None:
        """An answer, as the mode has it. Raises Cut."""
        self.say_all(line, pieces)

    def say_all(self, line: Line, pieces: Iterable[bytes]) -> None:
        """The same, of pieces that are made on the way."""
        for piece in pieces:
            self.pass_gate()
            if self.now == "reset" and self._dice.random() < _SHARE:
                line.send(piece[: len(piece) // 2])
                line.reset()
                raise Cut("reset by ourselves")
            if self.now == "slow":
                line.drip(piece, _PARTS, _PAUSE)
            else:
                line.send(piece)


def nap(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
