"""RPC conversations under test: a client, and a server that is there."""

from __future__ import annotations

from exproxy.actions import Action, Hangup, Pick, ToClient
from exproxy.events import Began, Connected, Data
from exproxy.interfaces import IService
from exproxy.model import BACKEND, CLIENT, Facts
from exproxy.testing import Script, facts, link, service
from protocols.msrpc.associations import Associations
from protocols.msrpc.options import RpcOptions
from protocols.msrpc.pdu import Pdu
from protocols.msrpc.rpc import Rpc
from tests.msrpc import samples
from tests.msrpc.support import pdus

KNOWN = facts(destination="192.0.2.200", port=135)


class Talk(Script):
    """A conversation, step by step, in bytes."""

    def __init__(
        self,
        served: IService | None = None,
        associations: Associations | None = None,
        kind: type[Rpc] = Rpc,
        known: Facts = KNOWN,
    ) -> None:
        # Empty ones are false.
        associations = Associations() if associations is None else associations
        self.rpc = kind(served or service(RpcOptions()), associations)
        super().__init__(self.rpc)
        self.on(Began(known))

    def opened(self, bind: bytes = samples.PLAIN_BIND, server: str = "exch1") -> Talk:
        """The client binds, and has a server."""
        assert any(isinstance(each, Pick) for each in self.on(Data(CLIENT, bind)))
        self.on(Connected(link(server)))
        return self

    def bound(
        self,
        bind: bytes = samples.PLAIN_BIND,
        ack: bytes = samples.PLAIN_BIND_ACK,
        server: str = "exch1",
    ) -> Talk:
        """The client has bound; what was said is forgotten."""
        self.opened(bind, server).says(ack)
        self.client = self.server = b""
        return self

    def asks(self, data: bytes) -> list[Action]:
        """The client says that."""
        return self.on(Data(CLIENT, data))

    def says(self, data: bytes) -> list[Action]:
        """The server says that."""
        return self.on(Data(BACKEND, data, link()))

    def got(self, data: bytes) -> bytes:
        """What the client gets when the server says that."""
        return b"".join(each.data for each in self.says(data) if isinstance(each, ToClient))


def told(actions: list[Action]) -> list[Pdu]:
    """The PDUs that the client gets by these actions."""
    return pdus(b"".join(each.data for each in actions if isinstance(each, ToClient)))


def reason(actions: list[Action]) -> str | None:
    """Why it is hung up; None where it is not."""
    return next((each.reason for each in actions if isinstance(each, Hangup)), None)
