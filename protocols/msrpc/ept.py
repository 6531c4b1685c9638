"""The calls of the endpoint mapper: ept_map and ept_lookup (C706 appendix O, MS-RPCE 2.2.1.2).

Read and written in NDR and NDR64 and both byte orders. Shapes only; what is in them is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from protocols.msrpc.names import Interface
from protocols.msrpc.ndr import BadStub, Reader, Syntax, Writer
from protocols.msrpc.tower import tcp_tower

LOOKUP, MAP, FREE = 2, 3, 4
NOT_REGISTERED = 0x16C9A0D6
# A context handle that stands for nothing: the begin, or the end, of a lookup.
NO_HANDLE = bytes(20)
# What a lookup asks for, and which versions (C706 appendix O).
ALL_ENTRIES, BY_INTERFACE, BY_OBJECT, BY_BOTH = 0, 1, 2, 3
VERSIONS_ALL, VERSIONS_COMPATIBLE, VERSIONS_EXACT, VERSIONS_MAJOR, VERSIONS_UPTO = 1, 2, 3, 4, 5
# Entries of one answer; a Windows server has a few hundred, and clients ask for 500 at a time.
MOST_ENTRIES = 10_000
# Annotations are 64 bytes with their NUL.
ANNOTATION = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One place in an answer. ``tower`` None: a null pointer; ``at``: where its octets begin in the stub.

    ``object`` (16 bytes, as they came) and ``annotation`` are of ept_lookup alone.
    """

    tower: bytes | None
    at: int = 0
    object: bytes = bytes(16)
    annotation: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to ept_map or ept_lookup. ``most``: how many were asked for; ``handle``: 20 bytes."""

    handle: bytes
    most: int
    entries: tuple[Entry, ...]
    status: int


@dataclass(frozen=True, slots=True)
class MapCall:
    """A call of ept_map. ``most``: how many towers the client wants at most."""

    tower: bytes
    most: int


@dataclass(frozen=True, slots=True)
class LookupCall:
    """A call of ept_lookup. ``interface``: UUID, major and minor version, where one was named; ``handle_at``:
    where the handle stands in the stub."""

    inquiry: int
    interface: tuple[UUID, int, int] | None
    versions: int
    handle: bytes
    handle_at: int
    most: int


# -- answers ---------------------------------------------------------------------------


def read_answer(operation: int, stub: bytes, syntax: Syntax) -> Answer:
    """The answer of LOOKUP or MAP in that stub; raises BadStub."""
    reader = Reader(stub, syntax)
    handle, number = reader.take(20), reader.long()
    most, offset, actual = reader.count(), reader.count(), reader.count()
    if actual > MOST_ENTRIES:
        raise BadStub(f"{actual} entries, more than {MOST_ENTRIES}")
    if offset or actual > most or actual != number:
        raise BadStub(f"{number} entries, but an array of {actual} from {offset} of {most}")
    entries = [_entry(reader, operation, syntax) for _ in range(actual)]
    found = []
    for pointer, entry in entries:
        if not pointer:
            found.append(entry)
            continue
        size, length = reader.count(), reader.long()
        if length > size:
            raise BadStub(f"a tower of {length} bytes in {size}")
        found.append(Entry(reader.take(length), reader.at - length, entry.object, entry.annotation))
    return Answer(handle, most, tuple(found), reader.long())


def _entry(reader: Reader, operation: int, syntax: Syntax) -> tuple[int, Entry]:
    """The pointer to an entry's tower, and what else is said of it."""
    if operation == MAP:
        return reader.count(), Entry(None)
    reader.align(syntax.size)
    identity, pointer = reader.take(16), reader.count()
    offset, length = reader.count(), reader.count()
    if offset or length > ANNOTATION:
        raise BadStub(f"an annotation of {length} bytes from {offset}")
    return pointer, Entry(None, 0, identity, reader.take(length))


def write_answer(operation: int, answer: Answer, syntax: Syntax) -> bytes:
    """The stub of an answer."""
    writer = Writer(syntax)
    writer.octets(answer.handle)
    writer.long(len(answer.entries))
    writer.count(answer.most, 0, len(answer.entries))
    for number, entry in enumerate(answer.entries, 1):
        pointer = 0 if entry.tower is None else number
        if operation == LOOKUP:
            writer.align(syntax.size)
            writer.octets(entry.object)
        writer.count(pointer)
        if operation == LOOKUP:
            writer.count(0, len(entry.annotation))
            writer.octets(entry.annotation)
    for entry in answer.entries:
        if entry.tower is not None:
            writer.count(len(entry.tower))
            writer.long(len(entry.tower))
            writer.octets(entry.tower)
    writer.long(answer.status)
    return bytes(writer.stub)


# -- calls -----------------------------------------------------------------------------


def read_map(stub: bytes, syntax: Syntax) -> MapCall:
    """The call of ept_map in that stub; raises BadStub."""
    reader = Reader(stub, syntax)
    if reader.count():
        _uuid(reader, syntax)
    if not reader.count():
        raise BadStub("no tower")
    size, length = reader.count(), reader.long()
    if length > size:
        raise BadStub(f"a tower of {length} bytes in {size}")
    tower = reader.take(length)
    reader.align(4)
    reader.take(20)
    return MapCall(tower, reader.long())


def read_lookup(stub: bytes, syntax: Syntax) -> LookupCall:
    """The call of ept_lookup in that stub; raises BadStub."""
    reader = Reader(stub, syntax)
    inquiry = reader.long()
    if reader.count():
        _uuid(reader, syntax)
    interface = None
    if reader.count():
        interface = (_uuid(reader, syntax), reader.short(), reader.short())
    versions = reader.long()
    handle = reader.take(20)
    return LookupCall(inquiry, interface, versions, handle, reader.at - 20, reader.long())


def _uuid(reader: Reader, syntax: Syntax) -> UUID:
    reader.align(4)
    octets = reader.take(16)
    return UUID(bytes_le=octets) if syntax.little else UUID(bytes=octets)


def map_call(wanted: Interface, most: int = 4) -> bytes:
    """The stub of an ept_map for one interface over TCP, in little-endian NDR."""
    writer = Writer(Syntax())
    tower = tcp_tower(wanted.uuid, wanted.major, wanted.minor, 0, bytes(4))
    writer.count(0, 1, len(tower))
    writer.long(len(tower))
    writer.octets(tower)
    writer.align(4)
    writer.octets(NO_HANDLE)
    writer.long(most)
    return bytes(writer.stub)


def lookup_call(handle: bytes = NO_HANDLE, most: int = 100) -> bytes:
    """The stub of an ept_lookup for everything, from that handle on, in little-endian NDR."""
    writer = Writer(Syntax())
    writer.long(ALL_ENTRIES)
    writer.count(0, 0)
    writer.long(VERSIONS_ALL)
    writer.octets(handle)
    writer.long(most)
    return bytes(writer.stub)


def turned(handle: bytes) -> bytes:
    """A handle in the other byte order: a number and a UUID (C706 appendix N, ndr_context_handle)."""
    return handle[3::-1] + handle[7:3:-1] + handle[9:7:-1] + handle[11:9:-1] + handle[12:]
