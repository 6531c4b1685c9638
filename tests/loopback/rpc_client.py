"""An RPC client of a few lines, for talking to a running exproxy."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from exproxy.connect import connect
from protocols.msrpc.binding import Ack, read_ack
from protocols.msrpc.calls import bind_to, request
from protocols.msrpc.names import Interface
from protocols.msrpc.pdu import BIND_ACK, RESPONSE, Pdu, Stream
from tests.loopback.pairs import Recorder


class RpcClient:
    """One connection. What comes is kept as PDUs in ``answers``, oldest first."""

    def __init__(self, wire: Any) -> None:
        self.wire = wire
        self.heard = Recorder()
        self._stream = Stream(0xFFFF, lambda header: True)
        self._read = 0
        self._calls = 1
        self.answers: list[Pdu] = []
        wire.attach(self.heard)

    @classmethod
    async def to(cls, port: int, address: str = "127.0.0.1") -> RpcClient:
        """Connect."""
        return cls(await connect(reactor, address, port, timeout=5))

    def _parse(self) -> int:
        data = self.heard.bytes()
        for item in self._stream.feed(data[self._read :]):
            if isinstance(item, Pdu) and item.whole:
                self.answers.append(item)
        self._read = len(data)
        return len(self.answers)

    @property
    def over(self) -> bool:
        """Whether the other end has ended."""
        return bool({"lost", "ended"} & set(self.heard.words()))

    async def next(self) -> Pdu:
        """The next PDU; AssertionError where the connection ends before."""
        await self.heard.until(lambda: self._parse() or self.over)
        if not self.answers:
            raise AssertionError(f"the connection ended: {self.heard.heard[-1:]}")
        return self.answers.pop(0)

    async def bind(self, *interfaces: Interface, group: int = 0) -> Ack:
        """Bind, and be accepted."""
        self.wire.write(bind_to(*interfaces, group=group))
        answer = await self.next()
        assert answer.header.kind == BIND_ACK, answer
        return read_ack(answer)

    async def call(self, opnum: int, stub: bytes = b"", context: int = 0) -> bytes:
        """Call, and have the answer's stub."""
        self._calls += 1
        self.wire.write(request(self._calls, opnum, stub, context))
        answer = await self.next()
        assert answer.header.kind == RESPONSE, answer
        start, end = answer.stub()
        return answer.raw[start:end]

    async def close(self) -> None:
        """Go."""
        self.wire.abort()
        await self.heard.until(lambda: "lost" in self.heard.words())
