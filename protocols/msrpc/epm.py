"""The endpoint mapper (C706 appendix O): tells an Outlook the ports of RPC Client Access and Address Book.

A server's mapper answers with that server's address and ports. The answers are edited on their way, so that
clients come back to exproxy: to the port of the service that has the interface, at the address that they
reached. Conversations under integrity or privacy pass as they are: nobody may change a byte of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from exproxy.actions import ToBackend
from exproxy.interfaces import IService
from exproxy.model import AssociationGroup, Destination
from protocols.msrpc.associations import Associations
from protocols.msrpc.calling import PROTECTED
from protocols.msrpc.ept import LOOKUP, MAP, read_map
from protocols.msrpc.fragments import Fragments
from protocols.msrpc.names import EPM
from protocols.msrpc.ndr import BadStub, Syntax
from protocols.msrpc.options import EpmOptions
from protocols.msrpc.own_mapper import OwnMapper
from protocols.msrpc.pdu import FAULT, FIRST, LAST, REQUEST, Header, Pdu
from protocols.msrpc.rewriting import Edited, Rewriting, asked_on, edited
from protocols.msrpc.rpc import Rpc, RpcProtocol
from protocols.msrpc.served import Served
from protocols.msrpc.tower import NoTower, Tower, address_of, read_tower, tcp_tower

# Calls whose answers are waited for, at most; the oldest are given up.
MOST_CALLS = 256
# Bytes of a call that is kept until its answer is there; real ones have 64 to 220.
LARGEST_CALL = 1024
# So often a look-up is asked on for a client; a server that then still has nothing for it is not well.
MOST_TIMES = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of LOOKUP or MAP. ``context``: its number, which says whether it is the mapper's, and in NDR64,
    once the bind is answered; ``request``: the call, where it is short, in one fragment, and nobody vouches
    for its bytes; ``times`` it was asked on."""

    operation: int
    context: int
    request: Pdu | None
    times: int = 0


class Epm(Rpc):
    """One connection to a server's endpoint mapper."""

    def __init__(self, service: IService, associations: Associations) -> None:
        super().__init__(service, associations)
        self._served = Served(service)
        self._asked: dict[int, Asked] = {}
        self._fragments = Fragments(service.limits.reassembly)

    def reads_whole_call(self, header: Header) -> bool:
        """See Rpc."""
        return header.kind == REQUEST and header.length <= LARGEST_CALL

    def reads_whole_answer(self, header: Header) -> bool:
        """See Rpc."""
        return header.call in self._asked

    def asked(self, pdu: Pdu) -> None:
        """See Rpc."""
        header = pdu.header
        if not header.flags & FIRST:
            return
        operation = pdu.opnum
        if operation not in (MAP, LOOKUP):
            self._asked.pop(header.call, None)
            return
        if len(self._asked) >= MOST_CALLS:
            self._asked.pop(next(iter(self._asked)))
        plain = header.length <= LARGEST_CALL and header.flags & LAST and not header.auth
        self._asked[header.call] = Asked(operation, pdu.context, pdu if plain else None)

    def answer(self, pdu: Pdu) -> bytes | ToBackend:
        """See Rpc: b"" while more fragments of an answer are to come."""
        header = pdu.header
        asked = self._asked.get(header.call)
        context = self.calling.accepted(asked.context) if asked is not None else None
        mapper = context is not None and context.interface == EPM.uuid
        if asked is None or context is None or not mapper or header.kind == FAULT or _protected(pdu):
            self._asked.pop(header.call, None)
            return b"".join(each.raw for each in self._fragments.drop(header.call)) + pdu.raw
        fragments = self._fragments.add(pdu)
        if fragments is None:
            return b""
        found = edited(fragments, asked.operation, context.wide, self._how(asked, context.wide))
        again = self._asked_on(asked, found, header.little, context.wide)
        if again is not None:
            self._asked[header.call] = replace(asked, times=asked.times + 1)
            return ToBackend(again)
        del self._asked[header.call]
        return found.data

    def _asked_on(self, asked: Asked, found: Edited, little: bool, wide: bool) -> bytes | None:
        """The call from where its answer ended: a client that asks for one entry at a time takes an answer
        without any for the end."""
        if found.more is None or asked.request is None or self.half or asked.times >= MOST_TIMES:
            return None
        return asked_on(asked.request, found.more, little, wide)

    def _how(self, asked: Asked, wide: bool) -> Rewriting:
        options: EpmOptions = self.service.options
        reached = self.facts[Destination].host
        host = address_of(options.advertise or reached)

        def port(tower: Tower) -> int | None:
            return self._served.port(tower, self.server, reached)

        def ours() -> bytes | None:
            wanted = _wanted(asked, wide)
            place = self._served.place(wanted, reached) if wanted is not None else None
            if place is None:
                return None
            return tcp_tower(
                place.interface.uuid, place.interface.major, place.interface.minor, place.port, host
            )

        return Rewriting(port, host, options.others == "hide", ours)


def _protected(answer: Pdu) -> bool:
    trailer = answer.trailer
    return trailer is not None and trailer.level >= PROTECTED


def _wanted(asked: Asked, wide: bool) -> Tower | None:
    """What a call of ept_map is about; None where it is not about NDR over TCP, or cannot be read."""
    if asked.request is None:
        return None
    start, end = asked.request.stub()
    try:
        call = read_map(asked.request.raw[start:end], Syntax(asked.request.header.little, wide))
        return read_tower(call.tower)
    except (BadStub, NoTower):
        return None


class EpmProtocol(RpcProtocol):
    """The plugin: who answers is an option."""

    def factory(self, service: IService) -> Any:
        """See IProtocolPlugin."""
        from exproxy.session import SessionFactory

        if service.options.answer == "proxy":
            return SessionFactory(service, partial(OwnMapper, served=Served(service)))
        return super().factory(service)


plugin = EpmProtocol(
    name="epm",
    summary="DCE/RPC endpoint mapper: its answers lead back here, or are our own",
    conversation=Epm,  # type: ignore[arg-type]  # its second argument comes from the factory
    default_ports={135: "none"},
    gives=(AssociationGroup,),
    defaults={"check": "epm", "timeouts": {"idle": "2h10m"}, "on-down": "cut"},
    options=EpmOptions,
)
