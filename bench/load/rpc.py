"""The two RPC PDUs that an idle Outlook sends: a bind, and now and then a small call (C706 12.6)."""

from __future__ import annotations

import struct
from uuid import UUID

from exproxy.lab.dcerpc import (
    BIND,
    FIRST,
    HEADER,
    LAST,
    NDR32,
    REQUEST,
    Pdu,
    bind_ack,
    read_bind,
    read_pdu,
    response,
)
from exproxy.lab.dcerpc import Result as Verdict

EMSMDB = UUID("a4f1db00-ca47-1067-b31f-00dd010662da")
_VERSION = 0x00510000
_GROUP = 0x1234
_FRAGMENT = 5840
STUB = bytes(range(40))


def _pdu(kind: int, call: int, body: bytes) -> bytes:
    return struct.pack("<BBBBIHHI", 5, 0, kind, FIRST | LAST, 0x10, HEADER + len(body), 0, call) + body


def bind() -> bytes:
    """A bind to EMSMDB, of no association group yet."""
    head = struct.pack("<HHIB3xHBx", _FRAGMENT, _FRAGMENT, 0, 1, 0, 1)
    syntaxes = EMSMDB.bytes_le + struct.pack("<I", _VERSION) + NDR32.bytes_le + struct.pack("<I", 2)
    return _pdu(BIND, 1, head + syntaxes)


def ping() -> bytes:
    """A call."""
    return _pdu(REQUEST, 2, struct.pack("<IHH", len(STUB), 0, 4) + STUB)


def answer(pdu: Pdu, port: int) -> bytes:
    """The server's answer to either."""
    if pdu.kind == BIND:
        return bind_ack(pdu, read_bind(pdu), _GROUP, port, (Verdict(0),))
    return response(pdu, 0, STUB)


def pong() -> bytes:
    """What comes back for a ping."""
    return response(_read(ping()), 0, STUB)


def bound(port: int) -> bytes:
    """What comes back for a bind, from a server on that port."""
    return answer(_read(bind()), port)


def _read(data: bytes) -> Pdu:
    read = read_pdu(data)
    assert read is not None
    return read[0]
