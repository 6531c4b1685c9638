"""An RPC client on a bare socket: what it sends and gets is one packet each."""

from __future__ import annotations

import socket
from types import TracebackType

from . import pdus
from .interfaces import EPM, Interface
from .netns import Namespace
from .pdus import Pdu

_LIMIT = 10.0


class Rpc:
    """One connection, from `source` if that is given; OSError and EOFError where it is not served."""

    def __init__(
        self, namespace: Namespace, address: str, port: int, *, source: str = "", limit: float = _LIMIT
    ) -> None:
        """Connect; `limit`: seconds for each step."""
        own = (source, 0) if source else None
        with namespace.entered():
            self.socket = socket.create_connection((address, port), timeout=limit, source_address=own)
        self.group = 0

    def __enter__(self) -> Rpc:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError(f"closed after {data.hex() or 'nothing'}")
            data += piece
        return data

    def read(self) -> Pdu:
        """The next packet."""
        head = self._exactly(16)
        return pdus.parse(head + self._exactly(pdus.length(head) - 16))

    def ask(self, packet: bytes) -> Pdu:
        """Send a packet, read one."""
        self.socket.sendall(packet)
        return self.read()

    def bind(self, *interfaces: Interface, group: int = 0, order: str = "<") -> Pdu:
        """Bind, remember the association group; gives the bind_ack or the bind_nak."""
        answer = self.ask(pdus.bind(*interfaces or (EPM,), group=group, order=order))
        if answer.kind == pdus.BIND_ACK:
            self.group = answer.unpack("HHI")[2]
        return answer

    def call(self, opnum: int = 0, stub: bytes = b"", *, order: str = "<") -> Pdu:
        """One call in context 0; gives the response or the fault."""
        return self.ask(pdus.request(opnum, stub, order=order))

    def who(self) -> str:
        """The name that a stub gives."""
        answer = self.call()
        if answer.kind != pdus.RESPONSE:
            raise AssertionError(f"no response: {answer}")
        return answer.body[8:].decode()


def refusal(pdu: Pdu) -> int:
    """The reason of a bind_nak."""
    if pdu.kind != pdus.BIND_NAK:
        raise AssertionError(f"no bind_nak: {pdu}")
    return pdu.unpack("H")[0]
