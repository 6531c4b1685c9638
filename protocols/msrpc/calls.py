"""Calls of our own: requests (checks, the search for ports), and answers (the mapper that answers itself)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from exproxy.actions import Fail, Outcome
from exproxy.checks.dialogue import LARGEST, Expect
from protocols.msrpc.binding import (
    ACCEPTED,
    NDR32,
    NEGOTIATED,
    NO_INTERFACE,
    Context,
    bind,
    pdu,
    read_ack,
    read_nak,
)
from protocols.msrpc.fragments import Fragments, join
from protocols.msrpc.names import Interface
from protocols.msrpc.ndr import BadStub, Syntax
from protocols.msrpc.pdu import (
    BIND_ACK,
    BIND_NAK,
    CALL_HEADER,
    FAULT,
    HEADER,
    REQUEST,
    RESPONSE,
    Malformed,
    Pdu,
    Stream,
    read_header,
)

# Answers to our own questions are short: a dialogue reads no more of them than this.
LARGEST_ANSWER = LARGEST

# What a finished answer means: more bytes of it to come never happens here.
Meaning = Callable[[bytes, Syntax], "Outcome | int"]


def request(call: int, opnum: int, stub: bytes, context: int = 0) -> bytes:
    """A call in one fragment."""
    return pdu(REQUEST, call, struct.pack("<IHH", len(stub), context, opnum) + stub)


def response(call: int, context: int, stub: bytes, largest: int) -> bytes:
    """The answer to a call, in fragments of at most ``largest`` bytes."""
    room = max(8, (largest - CALL_HEADER) // 8 * 8)
    parts = []
    for at in range(0, max(len(stub), 1), room):
        piece = stub[at : at + room]
        flags = (1 if not at else 0) | (2 if at + room >= len(stub) else 0)
        body = struct.pack("<IHBx", len(stub) - at, context, 0) + piece
        parts.append(pdu(RESPONSE, call, body, flags))
    return b"".join(parts)


def bind_to(*interfaces: Interface, group: int = 0, call: int = 1) -> bytes:
    """A bind with a context for each of these interfaces, in NDR."""
    contexts = [Context(n, each.uuid, each.major, each.minor, (NDR32,)) for n, each in enumerate(interfaces)]
    return bind(call, group, tuple(contexts))


def bound(*interfaces: Interface, any_word: bool = False) -> Expect:
    """The answer to :func:`bind_to`: every context must be accepted. ``any_word``: an answer is enough."""

    def read(data: bytes) -> int | Outcome | None:
        try:
            found = _first(data)
            if found is None:
                return None
            verdict = _objection(found, interfaces)
        except Malformed as error:
            return Fail("L7RSP", "bind", str(error))
        if verdict is None or (any_word and found.header.kind == BIND_ACK):
            return found.header.length
        return Fail("L7STS", "bind", verdict)

    return Expect("bind", read)


def _objection(answer: Pdu, interfaces: tuple[Interface, ...]) -> str | None:
    kind = answer.header.kind
    if kind == BIND_NAK:
        return f"bind_nak with reason {read_nak(answer)}"
    if kind == FAULT:
        return f"fault {answer.unpack('I', CALL_HEADER)[0]:#010x}"
    if kind != BIND_ACK:
        raise Malformed(f"a {answer.header.name} in answer to a bind")
    results = read_ack(answer).results
    if len(results) != len(interfaces):
        raise Malformed(f"{len(results)} results for {len(interfaces)} contexts")
    for interface, result in zip(interfaces, results, strict=True):
        if result.verdict not in (ACCEPTED, NEGOTIATED):
            known = "is not served there" if result.reason == NO_INTERFACE else "is rejected"
            return f"{interface.name} {known} (result {result.verdict}, reason {result.reason})"
    return None


def _first(data: bytes) -> Pdu | None:
    if len(data) < HEADER:
        return None
    header = read_header(data)
    return Pdu(header, data[: header.length]) if len(data) >= header.length else None


def answered(phase: str, meaning: Meaning, *, any_word: bool = False) -> Expect:
    """The answer to a request, all its fragments: ``meaning(stub, syntax)`` is the outcome, or 0 to go on.
    ``any_word``: a fault will do."""

    def read(data: bytes) -> int | Outcome | None:
        try:
            found = _whole_call(data)
            if found is None:
                return None
            fragments, length = found
            if fragments[0].header.kind == FAULT:
                if any_word:
                    return length
                return Fail("L7STS", phase, f"fault {fragments[0].unpack('I', CALL_HEADER)[0]:#010x}")
            outcome = meaning(join(fragments), Syntax(fragments[0].header.little))
        except (Malformed, BadStub) as error:
            return Fail("L7RSP", phase, str(error))
        return length if isinstance(outcome, int) else outcome

    return Expect(phase, read)


def _whole_call(data: bytes) -> tuple[list[Pdu], int] | None:
    """The fragments of the call that ``data`` begins with, and their length in bytes."""
    fragments, length = Fragments(LARGEST_ANSWER), 0
    for item in Stream(0xFFFF, lambda header: True).feed(data):
        assert isinstance(item, Pdu)
        if not item.whole:
            return None
        if item.header.kind not in (RESPONSE, FAULT):
            raise Malformed(f"a {item.header.name} in answer to a request", item.header)
        length += item.header.length
        complete = [item] if item.header.kind == FAULT else fragments.add(item)
        if complete is not None:
            return complete, length
    return None
