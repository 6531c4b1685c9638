"""TLS passed through: exproxy reads the ClientHello, which is plain text, and ends no encryption.

The client speaks first. Its hello gives the fact :class:`ClientHello`; after it has gone on to the
server, the ServerHello is watched as it passes, for the session id that a later connection of this
client will show (TLS 1.2 and before). From there on the two are relayed unread.
"""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from exproxy.actions import Action, Hangup, Learn, Pick, Record, Relay, SetDeadline, ToBackend, ToClient
from exproxy.events import Began, Connected, Data, Deadline, Eof, Event, Lost, Unavailable
from exproxy.interfaces import IConversation, IService
from exproxy.model import BACKEND, CLIENT, Facts, TLSSessionId
from exproxy.protocol import Protocol
from exproxy.question import Client
from protocols.tls_hello import (
    CLIENT_HELLO,
    SERVER_HELLO,
    ClientHello,
    Handshake,
    NotHello,
    client_hello,
    server_hello,
)

CLIENT_DEADLINE, SERVER_DEADLINE = "client-hello", "server-hello"


@implementer(IConversation)
class PassThrough:
    """One client: its hello, a server, the server's hello, and then nothing more to see."""

    def __init__(self, service: IService) -> None:
        self._service = service
        self._facts = Facts()
        self._held = bytearray()
        self._handshake = Handshake(CLIENT_HELLO)
        self._state = self._beginning

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        return self._state(event)

    def _beginning(self, event: Event) -> Iterable[Action]:
        if not isinstance(event, Began):
            return ()
        self._facts = event.facts
        self._state = self._waiting
        return (SetDeadline(CLIENT_DEADLINE, self._service.timeouts.client_hello),)

    # -- the client's hello ----------------------------------------------------------

    def _waiting(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Data) and event.side is CLIENT:
            return self._read(event.data)
        if event == Eof(CLIENT):
            return self._give_up("ended before its ClientHello")
        if event == Deadline(CLIENT_DEADLINE):
            return self._give_up(f"no ClientHello in {self._service.timeouts.client_hello:g} s")
        return ()

    def _read(self, data: bytes) -> Iterable[Action]:
        self._held += data
        try:
            body = self._handshake.feed(data)
            if body is not None:
                return self._pick(client_hello(body))
        except NotHello as error:
            return self._give_up(str(error))
        if len(self._held) > self._service.limits.max_held:
            return self._give_up(f"no end of its ClientHello within {self._service.limits.max_held} bytes")
        return ()

    def _pick(self, hello: ClientHello) -> Iterable[Action]:
        self._state = self._picking
        name = (Record({"server_name": hello.server_name}),) if hello.server_name else ()
        return (SetDeadline(CLIENT_DEADLINE, None), *name, Pick(self._facts.plus(hello)))

    def _picking(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Connected):
            self._state = self._watching
            self._handshake = Handshake(SERVER_HELLO)
            hello = bytes(self._held)
            self._held.clear()
            return (ToBackend(hello), SetDeadline(SERVER_DEADLINE, self._service.timeouts.tls_handshake))
        if isinstance(event, Unavailable):
            return (Hangup(),)
        return ()

    # -- the server's hello ----------------------------------------------------------

    def _watching(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Data):
            if event.side is BACKEND:
                return (ToClient(event.data), *self._watch(event.data))
            return (ToBackend(event.data),)
        if isinstance(event, (Eof, Lost)):
            return self._give_up(f"{event.side.value} ended before the ServerHello")
        if event == Deadline(SERVER_DEADLINE):
            return self._give_up(f"no ServerHello in {self._service.timeouts.tls_handshake:g} s")
        return ()

    def _watch(self, data: bytes) -> Iterable[Action]:
        try:
            body = self._handshake.feed(data)
            if body is None:
                return ()
            hello = server_hello(body)
        except NotHello:
            # An alert, say. It is the client's to judge.
            self._state = self._over
            return (Relay(),)
        self._state = self._over
        chosen: list[Action] = [Record({"tls": hello.version})]
        if hello.version != "TLSv1.3" and hello.session_id:
            chosen.append(Learn(TLSSessionId(hello.session_id)))
        return (*chosen, Relay())

    # -- the end ---------------------------------------------------------------------

    def _give_up(self, reason: str) -> Iterable[Action]:
        self._state = self._over
        return (Hangup(reason),)

    def _over(self, event: Event) -> Iterable[Action]:
        return ()


def _facts(service: IService, facts: Facts, client: Client) -> Facts:
    """With a hello of TLS 1.2 where there is a session id: the last version whose ids lead anywhere."""
    name, session = client.server_name.lower() or None, bytes.fromhex(client.session_id)
    return facts.plus(ClientHello(name, session, versions=("TLSv1.2",) if session else ("TLSv1.3",)))


plugin = Protocol(
    name="tls",
    summary="any protocol inside TLS: passed through, with the server name and session id read",
    conversation=PassThrough,
    tls_modes=("passthrough",),
    gives=(ClientHello,),
    defaults={"check": "tls"},
    facts_for=_facts,
)
