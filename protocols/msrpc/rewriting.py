"""An endpoint mapper's answer, its towers made to lead here. Pure: fragments in, bytes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from protocols.msrpc.ept import LOOKUP, NO_HANDLE, NOT_REGISTERED, Answer, Entry, read_answer, write_answer
from protocols.msrpc.fragments import cut_anew, join, put_back
from protocols.msrpc.ndr import BadStub, Syntax
from protocols.msrpc.pdu import Pdu
from protocols.msrpc.tower import NoTower, Tower, read_tower


@dataclass(frozen=True, slots=True)
class Rewriting:
    """How. ``port(tower)``: ours, or None for what we do not serve, which ``hide`` leaves out; ``host``: 4
    bytes."""

    port: Callable[[Tower], int | None]
    host: bytes
    hide: bool


def rewritten(fragments: Sequence[Pdu], operation: int, wide: bool, how: Rewriting) -> bytes:
    """The answer of LOOKUP or MAP in all its fragments, edited; as it was where it cannot be read."""
    header = fragments[0].header
    syntax = Syntax(header.little, wide)
    stub = join(fragments)
    try:
        answer = read_answer(operation, stub, syntax)
    except BadStub:
        # A layout that nobody has described yet; the client may know it.
        return b"".join(pdu.raw for pdu in fragments)
    entries = [moved for entry in answer.entries if (moved := _moved(entry, how)) is not None]
    if len(entries) == len(answer.entries):
        return put_back(fragments, _patched(stub, entries))
    largest = max(pdu.header.length for pdu in fragments)
    return cut_anew(
        fragments[0], write_answer(operation, _without(operation, answer, entries), syntax), largest
    )


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


def _without(operation: int, answer: Answer, entries: Sequence[Entry]) -> Answer:
    """The answer with fewer entries; where none is left and none is to come, nothing is registered."""
    none = not entries and (operation != LOOKUP or answer.handle == NO_HANDLE)
    return Answer(answer.handle, answer.most, tuple(entries), NOT_REGISTERED if none else answer.status)
