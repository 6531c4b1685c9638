"""In which order the supervisor takes what its workers say.

A worker that learns a key says so before its client hears of it; the client may be at another worker a
moment later, which asks for that key. So before a question is answered, everything that all others had
said by then is read and done. Within one worker's words only finds are put off, which change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from exproxy.workers.messages import Ask, Message

# Rounds of reading before what was asked last has to wait for the next turn of the reactor.
ROUNDS = 8


class Speaker(Protocol):
    """A worker's channel."""

    def read(self) -> list[Message]:
        """What it has said by now."""


class Hearing:
    """``take(worker, message)`` does what is said, ``answer(worker, ask)`` answers a question."""

    def __init__(
        self,
        clock: Any,
        speakers: Callable[[], Mapping[int, Speaker]],
        answer: Callable[[int, Ask], None],
        take: Callable[[int, Message], None],
    ) -> None:
        self._clock = clock
        self._speakers = speakers
        self._answer = answer
        self._take = take
        self._finds: list[tuple[int, Ask]] = []
        self._turn: Any = None

    def heard(self, worker: int, messages: list[Message]) -> None:
        """A worker has said something."""
        self._finds += self._sift(worker, messages)
        self._rounds()

    def forget(self, worker: int) -> None:
        """It is no more."""
        self._finds = [each for each in self._finds if each[0] != worker]

    def stop(self) -> None:
        """Put nothing off any more; idempotent."""
        call, self._turn = self._turn, None
        if call is not None and call.active():
            call.cancel()

    def _sift(self, worker: int, messages: list[Message]) -> list[tuple[int, Ask]]:
        """Do what is said; the finds among it are for later."""
        finds = []
        for message in messages:
            if not isinstance(message, Ask):
                self._take(worker, message)
            elif message.deed == "find":
                finds.append((worker, message))
            else:
                self._answer(worker, message)
        return finds

    def _rounds(self) -> None:
        for _ in range(ROUNDS):
            if not self._finds:
                return
            asked, self._finds = self._finds, []
            # Theirs may be questions too, which have to wait for what is read after them.
            for number, speaker in list(self._speakers().items()):
                self._finds += self._sift(number, speaker.read())
            for worker, ask in asked:
                self._answer(worker, ask)
        if self._finds and self._turn is None:
            self._turn = self._clock.callLater(0, self._later)

    def _later(self) -> None:
        self._turn = None
        self._rounds()
