"""A check as a list of steps: what to send, what to expect, and how a failure of each is called.

::

    Dialogue(Expect("banner", read_banner), Send(b"QUIT\\r\\n"))

The monitor connects, feeds it, and times it out: a timeout is told with ``phase``, the step that was
waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from zope.interface import implementer

from exproxy.actions import Action, Fail, Outcome, Pass, StartTLS, ToBackend
from exproxy.events import Connected, Data, Eof, Event, Lost, Secured
from exproxy.interfaces import IConversation
from exproxy.model import BACKEND

# Reads what has come in since the last step. The count of bytes that answer this step (the next one
# begins behind them), or the dialogue's end: Pass, Drain or Fail. None: more bytes are needed.
Reading: TypeAlias = Callable[[bytes], "int | Outcome | None"]

# Bytes of one answer; a server that says more to a check is not well.
LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to the server."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Expect:
    """An answer from the server.

    ``phase`` is a word for logs ("banner"); ``read`` a :data:`Reading`. ``at_end`` reads what there
    is when the server ends the connection (an HTTP body, say); without it that is a failure, as it
    is where ``at_end`` gives None.
    """

    phase: str
    read: Reading
    at_end: Reading | None = None


@dataclass(frozen=True, slots=True)
class Secure:
    """TLS from here on, the server having agreed to it; whatever it said beyond that is a failure."""

    phase: str = "TLS handshake"


Step: TypeAlias = Send | Expect | Secure


@implementer(IConversation)
class Dialogue:
    """The conversation of one question: steps in order; past the last one it is a Pass.

    ``layer`` is the prefix of its own codes: an end or too many bytes where an answer was expected
    are ``L7RSP``. ``phase`` names the step that is waited for.
    """

    def __init__(self, *steps: Step, layer: str = "L7", largest: int = LARGEST) -> None:
        self.phase = "connect"
        self._steps = list(steps)
        self._layer = layer
        self._largest = largest
        self._received = b""
        self._ended = False
        self._over = False
        self._upgrading = False
        self._secured = False

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        if self._over:
            return ()
        if isinstance(event, Data):
            self._received += event.data
        elif isinstance(event, (Eof, Lost)):
            self._ended = True
        elif isinstance(event, Secured):
            self._secured = True
        elif not isinstance(event, Connected):
            return ()
        return self._advance()

    def _advance(self) -> Iterable[Action]:
        actions: list[Action] = []
        while self._steps:
            step = self._steps[0]
            if isinstance(step, Send):
                actions.append(ToBackend(step.data))
            elif isinstance(step, Secure):
                if not self._secure(step, actions):
                    return actions
            else:
                self.phase = step.phase
                outcome = self._read(step)
                if outcome is None:
                    return actions
                if not isinstance(outcome, int):
                    return self._end(actions, outcome)
                self._received = self._received[outcome:]
            del self._steps[0]
        return self._end(actions, Pass())

    def _secure(self, step: Secure, actions: list[Action]) -> bool:
        """Whether the handshake is done; it is begun where it was not."""
        if self._secured:
            self._secured = self._upgrading = False
            return True
        self.phase = step.phase
        if self._ended:
            self._end(actions, self._fail("the connection ended"))
        elif not self._upgrading and self._received:
            self._end(actions, self._fail("plain text behind the answer to STARTTLS"))
        elif not self._upgrading:
            self._upgrading = True
            actions.append(StartTLS(BACKEND))
        return False

    def _read(self, step: Expect) -> int | Outcome | None:
        verdict = step.read(self._received)
        if verdict is None and self._ended:
            verdict = step.at_end(self._received) if step.at_end is not None else None
            return self._fail("the connection ended") if verdict is None else verdict
        if verdict is None and len(self._received) > self._largest:
            return self._fail(f"no end of it within {self._largest} bytes")
        return verdict

    def _fail(self, reason: str) -> Outcome:
        return Fail(f"{self._layer}RSP", self.phase, reason)

    def _end(self, actions: list[Action], outcome: Outcome) -> list[Action]:
        self._over = True
        actions.append(outcome)
        return actions


def seen(answer: bytes) -> str:
    """The first line of an answer, made fit for a log: printable, and at most 100 characters."""
    line = answer.split(b"\n", 1)[0].rstrip(b"\r")[:100].decode("ascii", "replace")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
