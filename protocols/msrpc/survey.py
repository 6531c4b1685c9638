"""``exproxyctl epm``: every interface that a server's endpoint mapper knows, with Exchange's names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zope.interface import implementer

from exproxy.actions import Action, Fail, Outcome, Pass, ToBackend
from exproxy.checks.dialogue import Dialogue, Expect, Send, Step
from exproxy.checks.record import Check
from exproxy.events import Event
from exproxy.interfaces import IConversation
from protocols.msrpc.calls import answered, bind_to, bound, request
from protocols.msrpc.ept import LOOKUP, MOST_ENTRIES, NO_HANDLE, NOT_REGISTERED, lookup_call, read_answer
from protocols.msrpc.names import EPM
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.tower import NoTower, Tower, read_tower


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entry of a mapper. ``annotation``: what its owner says of it."""

    tower: Tower
    annotation: str


@implementer(IConversation)
class Survey:
    """Looks up everything; ends with Pass(tuple of Endpoint), or Fail."""

    def __init__(self) -> None:
        self.phase = "connect"
        self._call = 2
        self._found: list[Endpoint] = []
        self._handle: bytes | None = NO_HANDLE
        self._dialogue = Dialogue(Send(bind_to(EPM)), bound(EPM), *self._step())

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        actions: list[Action] = []
        said = self._dialogue.handle(event)
        self.phase = self._dialogue.phase
        for action in said:
            if isinstance(action, Pass):
                actions += self._next()
            else:
                actions.append(action)
        return actions

    def _step(self) -> tuple[Step, Expect]:
        call = lookup_call(self._handle or NO_HANDLE)
        return Send(request(self._call, LOOKUP, call)), answered("ept_lookup", self._read)

    def _next(self) -> Iterable[Action]:
        """Ask on where there is more, in a dialogue of its own that begins with the call."""
        if self._handle is None:
            return (Pass(tuple(self._found)),)
        self._call += 1
        send, expect = self._step()
        self._dialogue = Dialogue(expect)
        assert isinstance(send, Send)
        return (ToBackend(send.data),)

    def _read(self, stub: bytes, syntax: Syntax) -> Outcome | int:
        answer = read_answer(LOOKUP, stub, syntax)
        if answer.status not in (0, NOT_REGISTERED):
            return Fail("L7STS", "ept_lookup", f"status {answer.status:#010x}")
        for entry in answer.entries:
            try:
                tower = read_tower(entry.tower or b"")
            except NoTower:
                continue
            self._found.append(Endpoint(tower, entry.annotation.rstrip(b"\0").decode("utf-8", "replace")))
        if len(self._found) > MOST_ENTRIES:
            return Fail("L7RSP", "ept_lookup", f"more than {MOST_ENTRIES} entries")
        ended = answer.status == NOT_REGISTERED or answer.handle == NO_HANDLE
        self._handle = None if ended else answer.handle
        return 0


check = Check(Survey, tls="never")
