"""The server's side of RPC connections: binds, association groups, calls. Simulated, no authentication.

Endpoint mapper, RPC Client Access and Address Book are the same conversation with other interfaces.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.python.failure import Failure

from exproxy.lab import dcerpc
from exproxy.lab.dcerpc import Fault, Malformed, Pdu, Request

CALL_LIMIT = 1024 * 1024
"""The most bytes of unfinished calls that one connection may have with us."""

Answer = Callable[[Request], bytes]


class Groups:
    """The association groups of one server (MS-RPCE): an identity lives while a connection has it."""

    def __init__(self) -> None:
        self._members: Counter[int] = Counter()

    def join(self, asked: int) -> int | None:
        """The group joined, a new one for 0, None when there is no such group (here)."""
        group = asked
        if asked and asked not in self._members:
            return None
        while not group or (not asked and group in self._members):
            group = random.randrange(1, 0x10000)  # noqa: S311 - 16 bits, like a real server's
        self._members[group] += 1
        return group

    def leave(self, group: int) -> None:
        """One connection less; the last one takes the group with it."""
        self._members[group] -= 1
        self._members += Counter()


@dataclass(frozen=True, slots=True)
class RpcService:
    """What a listening RPC port is: its interfaces (UUID and major version) and the server's groups."""

    interfaces: Mapping[tuple[UUID, int], Answer]
    groups: Groups
    port: Callable[[], int]
    refusing: Callable[[], bool]


class RpcConversation:
    """One connection, from bytes to bytes."""

    def __init__(self, service: RpcService) -> None:
        self._service = service
        self._held = bytearray()
        self._group: int | None = None
        self._answers: dict[int, Answer] = {}
        self._calls: dict[int, Request] = {}
        self.closing = False

    def receive(self, data: bytes) -> bytes:
        """The answers to what is complete by now; `closing` says that the connection ends after them."""
        self._held += data
        said = b""
        try:
            while not self.closing and (read := dcerpc.read_pdu(self._held)):
                del self._held[: read[1]]
                said += self._answer(read[0])
        except Malformed:
            self.closing = True
        return said

    def ended(self) -> None:
        """The connection is gone: leave the group."""
        if self._group is not None:
            self._service.groups.leave(self._group)
            self._group = None

    def _answer(self, pdu: Pdu) -> bytes:
        if pdu.kind == dcerpc.BIND and self._group is None:
            return self._bind(pdu)
        if pdu.kind == dcerpc.ALTER and self._group is not None:
            return self._accept(pdu, dcerpc.read_bind(pdu), self._group)
        if pdu.kind == dcerpc.REQUEST:
            return self._request(pdu)
        if pdu.kind in (dcerpc.AUTH3, dcerpc.CO_CANCEL):
            return b""
        if pdu.kind == dcerpc.ORPHANED:
            self._calls.pop(pdu.call, None)
            return b""
        raise Malformed(f"PDU type {pdu.kind} out of place")

    def _bind(self, pdu: Pdu) -> bytes:
        bind = dcerpc.read_bind(pdu)
        if pdu.authenticated:
            return self._refuse(pdu, dcerpc.NAK_NO_AUTHENTICATION)
        if self._service.refusing():
            return self._refuse(pdu, dcerpc.NAK_REASON_UNKNOWN)
        self._group = self._service.groups.join(bind.group)
        if self._group is None:
            return self._refuse(pdu, dcerpc.NAK_REASON_UNKNOWN)
        return self._accept(pdu, bind, self._group)

    def _refuse(self, pdu: Pdu, reason: int) -> bytes:
        self.closing = True
        return dcerpc.bind_nak(pdu, reason)

    def _accept(self, pdu: Pdu, bind: dcerpc.Bind, group: int) -> bytes:
        results = []
        for context in bind.contexts:
            answer = self._service.interfaces.get((context.interface, context.major))
            result = dcerpc.judge(context, answer is not None)
            if answer is not None and result.verdict == dcerpc.ACCEPTED:
                self._answers[context.identity] = answer
            results.append(result)
        return dcerpc.bind_ack(pdu, bind, group, self._service.port(), tuple(results))

    def _request(self, pdu: Pdu) -> bytes:
        request = dcerpc.read_request(pdu)
        if self._group is None:
            self.closing = True
            return dcerpc.fault(pdu, request.context, dcerpc.PROTOCOL_ERROR)
        if not pdu.flags & dcerpc.FIRST:
            begun = self._calls.pop(pdu.call, None)
            if begun is None:
                raise Malformed("a fragment of no call")
            request = replace(begun, stub=begun.stub + request.stub)
        if not pdu.flags & dcerpc.LAST:
            self._calls[pdu.call] = request
            if sum(len(call.stub) + 64 for call in self._calls.values()) > CALL_LIMIT:
                raise Malformed("calls too large")
            return b""
        answer = self._answers.get(request.context)
        if answer is None:
            return dcerpc.fault(pdu, request.context, dcerpc.UNKNOWN_INTERFACE)
        try:
            return dcerpc.response(pdu, request.context, answer(request))
        except Fault as fault:
            return dcerpc.fault(pdu, request.context, fault.status)


class RpcProtocol(Protocol):
    """The conversation on a transport."""

    def __init__(self, service: RpcService) -> None:
        self._conversation = RpcConversation(service)

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        said = self._conversation.receive(data)
        if said:
            self.transport.write(said)
        if self._conversation.closing:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Leave the association group."""
        self._conversation.ended()


class RpcFactory(ServerFactory):
    """A listening RPC port."""

    noisy = False

    def __init__(self, service: RpcService) -> None:
        self._service = service

    def buildProtocol(self, addr: IAddress | None) -> RpcProtocol:
        """A conversation of its own for each connection."""
        return RpcProtocol(self._service)


def named(server: str) -> Answer:
    """An answer to any call that says who answered: ``simulated server=l12ex1 opnum=0``, NUL-terminated."""

    def answer(request: Request) -> bytes:
        return f"simulated server={server} opnum={request.opnum}\0".encode()

    return answer
