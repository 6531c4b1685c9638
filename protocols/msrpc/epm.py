"""The endpoint mapper (C706 appendix O): tells an Outlook the ports of RPC Client Access and Address Book.

A server's mapper answers with that server's address and ports. The answers are edited on their way, so that
clients come back to exproxy: to the port of the service that has the interface, at the address that they
reached. Conversations under integrity or privacy pass as they are: nobody may change a byte of them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from exproxy.interfaces import IService
from exproxy.model import AssociationGroup, Destination
from protocols.msrpc.associations import Associations
from protocols.msrpc.calling import PROTECTED
from protocols.msrpc.ept import LOOKUP, MAP
from protocols.msrpc.fragments import Fragments
from protocols.msrpc.names import EPM
from protocols.msrpc.options import EpmOptions
from protocols.msrpc.own_mapper import OwnMapper
from protocols.msrpc.pdu import FAULT, FIRST, Header, Pdu
from protocols.msrpc.rewriting import Rewriting, rewritten
from protocols.msrpc.rpc import Rpc, RpcProtocol
from protocols.msrpc.served import Served
from protocols.msrpc.tower import Tower, address_of

# Calls whose answers are waited for, at most; the oldest are given up.
MOST_CALLS = 256


class Epm(Rpc):
    """One connection to a server's endpoint mapper."""

    def __init__(self, service: IService, associations: Associations) -> None:
        super().__init__(service, associations)
        self._served = Served(service)
        # Calls whose answers are to be edited: the operation, and whether it is in NDR64.
        self._edited: dict[int, tuple[int, bool]] = {}
        self._fragments = Fragments(service.limits.reassembly)

    def reads_whole_answer(self, header: Header) -> bool:
        """See Rpc."""
        return header.call in self._edited

    def asked(self, pdu: Pdu) -> None:
        """See Rpc."""
        if not pdu.header.flags & FIRST:
            return
        context = self.calling.accepted(pdu.context)
        call, operation = pdu.header.call, pdu.opnum
        if context is None or context.interface != EPM.uuid or operation not in (MAP, LOOKUP):
            self._edited.pop(call, None)
            return
        if len(self._edited) >= MOST_CALLS:
            self._edited.pop(next(iter(self._edited)))
        self._edited[call] = (operation, context.wide)

    def answer(self, pdu: Pdu) -> bytes:
        """See Rpc: b"" while more fragments of an answer are to come."""
        call = pdu.header.call
        if call not in self._edited or pdu.header.kind == FAULT or _protected(pdu):
            self._edited.pop(call, None)
            return b"".join(each.raw for each in self._fragments.drop(call)) + pdu.raw
        fragments = self._fragments.add(pdu)
        if fragments is None:
            return b""
        operation, wide = self._edited.pop(call)
        return rewritten(fragments, operation, wide, self._how())

    def _how(self) -> Rewriting:
        options: EpmOptions = self.service.options
        reached = self.facts[Destination].host

        def port(tower: Tower) -> int | None:
            return self._served.port(tower, self.server, reached)

        return Rewriting(port, address_of(options.advertise or reached), options.others == "hide")


def _protected(answer: Pdu) -> bool:
    trailer = answer.trailer
    return trailer is not None and trailer.level >= PROTECTED


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
    defaults={"check": "epm", "timeouts": {"idle": "2h10m"}},
    options=EpmOptions,
)
