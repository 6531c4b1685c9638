"""What our own endpoint mapper says: ept_map and ept_lookup over the interfaces that are here. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from protocols.msrpc.binding import NDR32
from protocols.msrpc.ept import (
    ALL_ENTRIES,
    ANNOTATION,
    BY_INTERFACE,
    FREE,
    MAP,
    NO_HANDLE,
    NOT_REGISTERED,
    VERSIONS_ALL,
    Answer,
    Entry,
    LookupCall,
    read_lookup,
    read_map,
    write_answer,
)
from protocols.msrpc.ndr import Syntax, Writer
from protocols.msrpc.served import Place
from protocols.msrpc.tower import NoTower, read_tower, tcp_tower

# A handle is opaque to clients, so it carries the position itself: there is nothing to keep, or to lose.
_MARK = b"\0\0\0\0exproxy look"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Answers calls. ``host``: 4 bytes, for all towers."""

    places: Sequence[Place]
    host: bytes

    def answer(self, operation: int, stub: bytes, syntax: Syntax) -> bytes:
        """The stub of the answer (always little-endian) to a call of MAP, LOOKUP or FREE; raises BadStub."""
        ours = replace(syntax, little=True)
        if operation == FREE:
            writer = Writer(ours)
            writer.octets(NO_HANDLE)
            writer.long(0)
            return bytes(writer.stub)
        answer = self._map(stub, syntax) if operation == MAP else self._lookup(read_lookup(stub, syntax))
        return write_answer(operation, answer, ours)

    def _map(self, stub: bytes, syntax: Syntax) -> Answer:
        call = read_map(stub, syntax)
        try:
            wanted = read_tower(call.tower)
        except NoTower:
            return Answer(NO_HANDLE, call.most, (), NOT_REGISTERED)
        over_tcp = wanted.transport == "TCP" and wanted.transfer == NDR32
        found = [
            Entry(self._tower(place))
            for place in self.places
            if over_tcp
            and (place.interface.uuid, place.interface.major) == (wanted.interface, wanted.major)
            and wanted.minor <= place.interface.minor
        ]
        entries = tuple(found[: call.most])
        return Answer(NO_HANDLE, call.most, entries, 0 if found else NOT_REGISTERED)

    def _lookup(self, call: LookupCall) -> Answer:
        places = [place for place in self.places if _asked_for(place, call)]
        start = int.from_bytes(call.handle[16:], "little") if call.handle.startswith(_MARK) else 0
        here = places[start : start + call.most]
        # Clients go on as long as they get as many as they asked for, whatever the handle is.
        more = bool(here) and len(here) == call.most
        handle = _MARK + (start + len(here)).to_bytes(4, "little") if more else NO_HANDLE
        entries = tuple(Entry(self._tower(p), annotation=_annotation(p)) for p in here)
        return Answer(handle, call.most, entries, 0 if here else NOT_REGISTERED)

    def _tower(self, place: Place) -> bytes:
        interface = place.interface
        return tcp_tower(interface.uuid, interface.major, interface.minor, place.port, self.host)


def _asked_for(place: Place, call: LookupCall) -> bool:
    if call.inquiry == ALL_ENTRIES:
        return True
    if call.inquiry != BY_INTERFACE or call.interface is None:
        # By object: our interfaces have none.
        return False
    uuid, major, _ = call.interface
    return place.interface.uuid == uuid and (call.versions == VERSIONS_ALL or place.interface.major == major)


def _annotation(place: Place) -> bytes:
    return place.interface.title.encode("ascii", "replace")[: ANNOTATION - 1] + b"\0"
