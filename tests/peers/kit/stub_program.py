"""An RPC server that has the given interfaces and no other, and says who it is.

`python -m tests.peers.kit.stub_program NAME ADDRESS PORT UUID/MAJOR.MINOR ...`. No authentication.
Operation 0 of each interface answers with NAME; there is no other. Association groups are as in
MS-RPCE: a group ends with its last connection, and who joins one that is not there is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import sys
from collections import Counter

from tests.peers.kit import pdus
from tests.peers.kit.pdus import Pdu


class Stub:
    """What all connections share."""

    def __init__(self, name: str, port: int, interfaces: list[str]) -> None:
        self.name = name.encode()
        self.port = port
        self.interfaces = [tuple(text.split("/")) for text in interfaces]
        self.members: Counter[int] = Counter()

    def result(self, order: str, abstract: bytes, transfers: list[bytes]) -> tuple[int, int]:
        """Whether a context is accepted; the minor version may be any that is not higher."""
        for uuid, version in self.interfaces:
            known = pdus.syntax((uuid, version), order)
            major = slice(16, 18) if order == "<" else slice(18, 20)
            if (known[:16], known[major]) == (abstract[:16], abstract[major]):
                if pdus.syntax(pdus.NDR, order) in transfers:
                    return (pdus.ACCEPTED, 0)
                return (pdus.REJECTED, pdus.NO_SUCH_SYNTAX)
        return (pdus.REJECTED, pdus.NO_SUCH_INTERFACE)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        connection = Connection(self)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readexactly(16)
                    pdu = pdus.parse(head + await reader.readexactly(pdus.length(head) - 16))
                    writer.write(connection.answer(pdu))
                    await writer.drain()
        finally:
            connection.end()
            writer.close()


class Connection:
    """One client."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._group = 0
        self._accepted: set[int] = set()

    def answer(self, pdu: Pdu) -> bytes:
        """What is said to a packet."""
        if pdu.kind in (pdus.BIND, pdus.ALTER):
            return self._bound(pdu)
        if pdu.kind == pdus.REQUEST:
            return self._called(pdu)
        return b""

    def _bound(self, pdu: Pdu) -> bytes:
        if not self._group:
            wanted = pdu.unpack("HHI")[2]
            if wanted and not self._stub.members[wanted]:
                body = struct.pack(f"{pdu.order}H3B", 0, 1, 5, 0)
                return Pdu(pdus.BIND_NAK, pdu.call, body, pdu.order).pack()
            self._group = wanted or random.randrange(1, 1 << 32)
            self._stub.members[self._group] += 1
        told = []
        for identifier, abstract, transfers in pdus.contexts(pdu):
            told.append(self._stub.result(pdu.order, abstract, transfers))
            if told[-1][0] == pdus.ACCEPTED:
                self._accepted.add(identifier)
        return pdus.ack(pdu, self._group, self._stub.port, told)

    def _called(self, pdu: Pdu) -> bytes:
        _, context, opnum = pdu.unpack("IHH")
        if context in self._accepted and opnum == 0:
            name = self._stub.name
            body = struct.pack(f"{pdu.order}IHBx", len(name), context, 0) + name
            return Pdu(pdus.RESPONSE, pdu.call, body, pdu.order).pack()
        body = struct.pack(f"{pdu.order}IHBxI4x", 0, context, 0, pdus.OPNUM_OUT_OF_RANGE)
        return Pdu(pdus.FAULT, pdu.call, body, pdu.order).pack()

    def end(self) -> None:
        """It left its group."""
        if self._group:
            self._stub.members[self._group] -= 1


async def main(name: str, address: str, port: int, interfaces: list[str]) -> None:
    """Serve for ever."""
    stub = Stub(name, port, interfaces)
    server = await asyncio.start_server(stub.serve, address, port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
