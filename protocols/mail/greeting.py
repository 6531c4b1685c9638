"""Protocols whose server speaks first: the client is joined to a server that has greeted it well.

The client knows nothing yet when its server is picked, so a server that does not greet (in time, or
kindly) is as good as one that does not answer at all: the next one is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from zope.interface import implementer

from exproxy.actions import Action, Hangup, Hold, Pick, Relay, Retry, SetDeadline, ToClient
from exproxy.checks.dialogue import seen
from exproxy.events import Began, Connected, Data, Deadline, Eof, Event, Lost, Unavailable
from exproxy.interfaces import IConversation, IService
from exproxy.model import BACKEND, CLIENT, Destination, Facts
from protocols.mail.options import reads
from protocols.plain import Plain

DEADLINE = "greeting"


@implementer(IConversation)
class ServerFirst:
    """The conversation of one client; a protocol says in :meth:`greeted` what a good greeting is, and in
    :meth:`refusal` how it refuses.

    After the greeting all bytes pass unseen. On a pass-through TLS port nothing can be read at all:
    the connection is relayed from its first byte, and refused by a close.
    """

    def __init__(self, service: IService) -> None:
        self.service = service
        self._received = b""
        self._state = self._beginning

    def greeted(self, lines: Sequence[bytes]) -> bool | None:
        """Whether the server's first ``lines`` (one or more, without line ends) are a greeting: True, or
        False for a refusal or nonsense, or None where more lines must follow."""
        return True

    def refusal(self) -> bytes:
        """What a client is told, line end included, when there is no server for it."""
        return b""

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        return self._state(event)

    def _beginning(self, event: Event) -> Iterable[Action]:
        if not isinstance(event, Began):
            return ()
        if self._unreadable(event.facts):
            self._state = plain = Plain(self.service).handle
            return plain(event)
        self._state = self._picking
        return (Pick(event.facts),)

    def _unreadable(self, facts: Facts) -> bool:
        return self.service.port_tls(facts[Destination].listening) == "passthrough"

    def _picking(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Connected):
            self._received = b""
            self._state = self._waiting
            # A client that speaks before its turn is not read; Relay passes on what it said.
            return (Hold(CLIENT), SetDeadline(DEADLINE, self.service.timeouts.greeting))
        if isinstance(event, Unavailable):
            refusal = self.refusal()
            return (ToClient(refusal), Hangup()) if refusal else (Hangup(),)
        return ()

    def _waiting(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Data) and event.side is BACKEND:
            return self._read(event.data)
        if isinstance(event, (Eof, Lost)) and event.side is BACKEND:
            return self._next("the connection ended")
        if event == Deadline(DEADLINE):
            return self._next(f"none in {self.service.timeouts.greeting:g} s")
        return ()

    def _read(self, data: bytes) -> Iterable[Action]:
        self._received += data
        lines = [line.removesuffix(b"\r") for line in self._received.split(b"\n")[:-1]]
        verdict = self.greeted(lines) if lines else None
        if verdict:
            self._state = self._relaying
            return (ToClient(self._received), Relay())
        if verdict is False:
            return self._next(seen(lines[-1]))
        if len(self._received) > self.service.limits.line:
            return self._next(f"no end of it within {self.service.limits.line} bytes")
        return ()

    def _next(self, reason: str) -> Iterable[Action]:
        self._state = self._picking
        return (SetDeadline(DEADLINE, None), Retry(f"greeting: {reason}"))

    def _relaying(self, event: Event) -> Iterable[Action]:
        return ()


@implementer(IConversation)
class _Choosing:
    """Whether the dialogue is read depends on the port, which is known when the client is there."""

    def __init__(
        self,
        service: IService,
        path: Callable[[IService], IConversation],
        relayed: Callable[[IService], IConversation],
    ) -> None:
        self._service = service
        self._path = path
        self._relayed = relayed
        self._chosen: IConversation | None = None

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        if isinstance(event, Began):
            make = self._path if reads(self._service, event.facts[Destination].listening) else self._relayed
            self._chosen = make(self._service)
        return () if self._chosen is None else self._chosen.handle(event)


def of_client(
    service: IService,
    path: Callable[[IService], IConversation],
    relayed: Callable[[IService], IConversation],
) -> IConversation:
    """The conversation of one client: ``path`` where the dialogue is to be read, else ``relayed``."""
    return _Choosing(service, path, relayed)
