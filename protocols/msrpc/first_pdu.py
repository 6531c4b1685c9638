"""The beginning of a DCE/RPC connection: the client speaks first, with a bind.

A server is picked only when a packet's header is there, so silent connections and port scanners
cost no server anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from exproxy.actions import Action, Hangup, Pick, Relay, SetDeadline, ToBackend
from exproxy.events import Began, Connected, Data, Deadline, Eof, Event, Unavailable
from exproxy.interfaces import IConversation, IService
from exproxy.model import CLIENT, Facts

# The header that all packets have in common (C706 12.6.1), and the version that it begins with.
HEADER = 16
VERSION = 5
DEADLINE = "first-pdu"


@implementer(IConversation)
class FirstPdu:
    """Waits for the client's first header, picks, passes on what it held, and relays to the end."""

    def __init__(self, service: IService) -> None:
        self._seconds = service.timeouts.first_pdu
        self._facts = Facts()
        self._held = b""
        self._state = self._beginning

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        return self._state(event)

    def _beginning(self, event: Event) -> Iterable[Action]:
        if not isinstance(event, Began):
            return ()
        self._facts = event.facts
        self._state = self._waiting
        return (SetDeadline(DEADLINE, self._seconds),)

    def _waiting(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Data) and event.side is CLIENT:
            return self._read(event.data)
        if event == Eof(CLIENT):
            return self._give_up("ended before its first packet")
        if event == Deadline(DEADLINE):
            return self._give_up(f"no packet in {self._seconds:g} s")
        return ()

    def _read(self, data: bytes) -> Iterable[Action]:
        self._held += data
        if self._held and self._held[0] != VERSION:
            return self._give_up(f"not DCE/RPC: the first byte is {self._held[0]}, not {VERSION}")
        if len(self._held) < HEADER:
            return ()
        self._state = self._picking
        return (SetDeadline(DEADLINE, None), Pick(self._facts))

    def _picking(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Connected):
            self._state = self._over
            held, self._held = self._held, b""
            return (ToBackend(held), Relay())
        if isinstance(event, Unavailable):
            return (Hangup(),)
        return ()

    def _give_up(self, reason: str) -> Iterable[Action]:
        self._state = self._over
        return (Hangup(reason),)

    def _over(self, event: Event) -> Iterable[Action]:
        return ()
