"""An owner and workers in one process: what they say goes through the codec, and waits to be carried."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from exproxy.model import Claim, Key
from exproxy.workers import messages as said
from exproxy.workers.codec import Decoder, encode
from exproxy.workers.hearing import Hearing
from exproxy.workers.lending import Lending, kept
from exproxy.workers.messages import Message
from exproxy.workers.owner import Owner
from exproxy.workers.places import Borrowed
from exproxy.workers.replica import Replica


def key(text: str, kind: str = "source") -> Key:
    """A key that a test can read."""
    return Key(kind, text.encode())


def claim_of(answer: Claim | Deferred[Any] | None) -> Claim | None:
    """The Claim that is there by now."""
    if isinstance(answer, Deferred):
        found: list[Any] = []
        answer.addCallback(found.append)
        assert found, "no answer yet"
        return found[0]  # type: ignore[no-any-return]
    return answer


class Line:
    """One worker's channel: two queues of frames. ``mute``: the owner does not get to read it."""

    def __init__(self, crew: Crew, number: int) -> None:
        self.crew = crew
        self.number = number
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.mute = False

    def read(self) -> list[Message]:
        """What the owner reads."""
        decoder, found = Decoder(), []
        while self.up and not self.mute:
            found += decoder.feed(self.up.popleft())
        return found


class Crew:
    """``replicas`` and ``lines`` by worker's number, from 1."""

    def __init__(self, workers: int = 2) -> None:
        self.clock = Clock()
        self.lines = {number: Line(self, number) for number in range(1, workers + 1)}
        self.owner = Owner(self.clock, self._tell)
        self.lending = Lending(workers, self._lend)
        self.hearing = Hearing(self.clock, lambda: self.lines, self._answer, self._take)
        self.replicas = {number: Replica(self.clock, self._up(number)) for number in self.lines}
        self.places: dict[int, Borrowed] = {}
        self.freed: list[int] = []

    def limit(self, what: str, limit: int) -> None:
        """Every worker has its part of that limit."""
        self.lending.limit(what, limit)
        for number in self.lines:
            keep = kept(limit, len(self.lines))
            self.places[number] = Borrowed(
                self.clock, what, keep, self._up(number), lambda number=number: self.freed.append(number)
            )

    def _up(self, number: int) -> Any:
        return lambda message: self.lines[number].up.append(encode(message))

    def _tell(self, message: Message, *, but: int | None = None, to: int | None = None) -> None:
        for number, line in self.lines.items():
            if number != but and to in (None, number):
                line.down.append(encode(message))

    def _lend(self, worker: int, message: Message) -> None:
        if worker in self.lines:
            self.lines[worker].down.append(encode(message))

    def _answer(self, number: int, ask: said.Ask) -> None:
        self._tell(self.owner.asked(number, ask), to=number)

    def _take(self, number: int, message: Message) -> None:
        deeds: dict[type, Any] = {
            said.Used: self.owner.used,
            said.Held: self.owner.held_by,
            said.Want: self.lending.want,
            said.Give: self.lending.give,
        }
        deeds[type(message)](number, message)

    def dies(self, number: int) -> None:
        """That worker is gone, with all that it had not said yet."""
        del self.lines[number], self.replicas[number]
        self.places.pop(number, None)
        self.hearing.forget(number)
        self.owner.gone(number)
        self.lending.gone(number)

    def rise(self, number: int) -> None:
        """The owner hears what that worker has said; it looks at the others as it sees fit."""
        self.hearing.heard(number, self.lines[number].read())

    def fall(self, number: int) -> None:
        """That worker hears what was said to it."""
        line, decoder = self.lines[number], Decoder()
        while line.down:
            for message in decoder.feed(line.down.popleft()):
                self._hear(number, message)

    def _hear(self, number: int, message: Message) -> None:
        replica = self.replicas[number]
        replica.heard()
        deeds: dict[type, Any] = {
            said.Answer: replica.answered,
            said.Bound: replica.bound,
            said.Freed: replica.freed,
            said.Lent: lambda m: self.places[number].lent(m),
            said.Scarce: lambda m: self.places[number].scarce(m),
        }
        deeds[type(message)](message)

    def carry(self) -> None:
        """Everything that is said is heard, until there is nothing more to say."""
        while any((line.up and not line.mute) or line.down for line in self.lines.values()):
            for number in list(self.lines):
                self.rise(number)
                self.fall(number)
