"""An endpoint mapper's answer, its towers made to lead here. Pure: fragments in, bytes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from protocols.msrpc.binding import BAD_STUB, LEAST_FRAGMENT, fault
from protocols.msrpc.ept import (
    MAP,
    NO_HANDLE,
    NOT_REGISTERED,
    Answer,
    Entry,
    read_answer,
    read_lookup,
    turned,
    write_answer,
)
from protocols.msrpc.fragments import cut_anew, join, put_back
from protocols.msrpc.ndr import BadStub, Syntax
from protocols.msrpc.pdu import Pdu
from protocols.msrpc.tower import NoTower, Tower, read_tower


@dataclass(frozen=True, slots=True)
class Rewriting:
    """How. ``port(tower)``: ours, or None for what we do not serve, which ``hide`` leaves out; ``host``: 4
    bytes; ``ours()``: the tower that this server's mapper does not know, for we have it from another server.
    """

    port: Callable[[Tower], int | None]
    host: bytes
    hide: bool
    ours: Callable[[], bytes | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Edited:
    """The answer for the client; or ``more``: nothing is left of it, but the server has more to say to who
    comes with that handle, which is in the answer's byte order."""

    data: bytes
    more: bytes | None = None


def edited(fragments: Sequence[Pdu], operation: int, wide: bool, how: Rewriting) -> Edited:
    """The answer of LOOKUP or MAP in all its fragments; as it was where it cannot be read, a fault where
    something is to be hidden from it."""
    syntax = Syntax(fragments[0].header.little, wide)
    stub = join(fragments)
    try:
        answer = read_answer(operation, stub, syntax)
    except BadStub:
        if how.hide:
            # Whatever it says, it may say what is to be hidden.
            first = fragments[0]
            return Edited(fault(first.header.call, first.context, BAD_STUB, executed=True))
        # A layout that nobody has described yet; the client may know it.
        return Edited(b"".join(pdu.raw for pdu in fragments))
    entries = [moved for entry in answer.entries if (moved := _moved(entry, how)) is not None]
    if operation == MAP and not answer.entries and answer.status == NOT_REGISTERED:
        own = how.ours()
        if own is not None:
            return Edited(_anew(fragments, operation, replace(answer, status=0), (Entry(own),), syntax))
    if len(entries) == len(answer.entries):
        return Edited(put_back(fragments, _patched(stub, entries)))
    last = operation == MAP or answer.handle == NO_HANDLE or answer.status != 0
    status = NOT_REGISTERED if last and not entries else answer.status
    data = _anew(fragments, operation, replace(answer, status=status), entries, syntax)
    return Edited(data, None if entries or last else answer.handle)


def asked_on(request: Pdu, handle: bytes, little: bool, wide: bool) -> bytes | None:
    """The same look-up from that handle on (``little``: its byte order); None where it cannot be read."""
    start, end = request.stub()
    try:
        call = read_lookup(request.raw[start:end], Syntax(request.header.little, wide))
    except BadStub:
        return None
    at = start + call.handle_at
    handle = handle if little == request.header.little else turned(handle)
    return request.raw[:at] + handle + request.raw[at + len(handle) :]


def _moved(entry: Entry, how: Rewriting) -> Entry | None:
    """The entry with our port and address; None where it is to be left out."""
    try:
        tower = read_tower(entry.tower or b"")
    except NoTower:
        return None if how.hide else entry
    port = how.port(tower)
    if port is None or entry.tower is None:
        return None if how.hide else entry
    return replace(entry, tower=tower.moved(entry.tower, port, how.host))


def _patched(stub: bytes, entries: Sequence[Entry]) -> bytes:
    patched = bytearray(stub)
    for entry in entries:
        if entry.tower is not None:
            patched[entry.at : entry.at + len(entry.tower)] = entry.tower
    return bytes(patched)


def _anew(
    fragments: Sequence[Pdu], operation: int, answer: Answer, entries: Sequence[Entry], syntax: Syntax
) -> bytes:
    """The answer with other entries, in fragments no larger than those that came."""
    most = max(answer.most, len(entries))
    stub = write_answer(operation, replace(answer, most=most, entries=tuple(entries)), syntax)
    return cut_anew(fragments[0], stub, max(LEAST_FRAGMENT, *(pdu.header.length for pdu in fragments)))
