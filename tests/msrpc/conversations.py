"""RPC conversations under test: a client, and a server that is there."""

from __future__ import annotations

from exproxy.actions import Action, Hangup, Pick, ToClient
from exproxy.backend import Backend
from exproxy.events import Began, Connected, Data
from exproxy.interfaces import IService
from exproxy.model import BACKEND, CLIENT, Facts, Listening
from exproxy.settings import Limits
from exproxy.testing import FakeService, Script, facts, link, service
from protocols.msrpc import binding
from protocols.msrpc.associations import Associations
from protocols.msrpc.binding import NDR32, Context, Result
from protocols.msrpc.epm import Epm
from protocols.msrpc.ept import MAP, read_answer
from protocols.msrpc.names import KNOWN as INTERFACES
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.options import EpmOptions, RpcOptions
from protocols.msrpc.pdu import FAULT, Pdu
from protocols.msrpc.rpc import Rpc
from protocols.msrpc.tower import read_tower
from tests.msrpc import samples
from tests.msrpc.support import one, pdus, stub_of

HOST = "192.0.2.200"
KNOWN = facts(destination=HOST, port=135)
IMPACKET = (samples.IMPACKET_BIND, samples.IMPACKET_BIND_ACK)


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


def exchange(*names: str, group: int = 0x77) -> tuple[bytes, bytes]:
    """A bind to these interfaces in NDR, and its answer."""
    contexts = tuple(
        Context(n, each.uuid, each.major, each.minor, (NDR32,))
        for n, each in enumerate(INTERFACES[name] for name in names)
    )
    bind = binding.bind(1, 0, contexts)
    accepted = tuple(Result(0, 0, NDR32) for _ in names)
    return bind, binding.ack(1, binding.read_bind(one(bind)), group, 6001, accepted)


def statuses(found: list[Pdu]) -> list[tuple[int, int, int]]:
    """Call, context and status of faults."""
    assert all(pdu.header.kind == FAULT for pdu in found)
    return [(pdu.header.call, pdu.context, pdu.unpack("I", 24)[0]) for pdu in found]


def mapper(limits: Limits | None = None, **options: object) -> FakeService:
    """A mapper's service beside RPC services for EMSMDB and NSPI, and one for whatever is at 59531."""
    behind = tuple(Backend(f"ports/{name}", name, "127.0.0.11", 59531) for name in ("exch1", "exch2"))
    others = [
        service(
            RpcOptions(interface=tuple(INTERFACES[name] for name in names)),
            name="-".join(names) or "ports",
            protocol="rpc",
            listens=(Listening("", port, backends),),
        )
        for names, port, backends in (
            (("emsmdb",), 6001, ()),
            (("nspi", "rfri"), 6004, ()),
            ((), 6100, behind),
        )
    ]
    here = (Listening("", 135, (Backend("epm/exch1", "exch1", "127.0.0.11", 135),)),)
    chosen = EpmOptions.model_validate(options)
    return service(chosen, name="epm", protocol="epm", listens=here, siblings=others, limits=limits)


def mapped(
    limits: Limits | None = None,
    bind: tuple[bytes, bytes] = (samples.PLAIN_BIND, samples.PLAIN_BIND_ACK),
    **options: object,
) -> Talk:
    """A client that has bound to the mapper of exch1."""
    return Talk(mapper(limits, **options), kind=Epm).bound(*bind)


def places(data: bytes, operation: int = MAP, wide: bool = False) -> list[tuple[int, str]]:
    """Ports and addresses in an answer."""
    syntax = Syntax(pdus(data)[0].header.little, wide)
    entries = read_answer(operation, stub_of(data), syntax).entries
    towers = [read_tower(entry.tower or b"") for entry in entries]
    return [(tower.port, tower.host) for tower in towers]
