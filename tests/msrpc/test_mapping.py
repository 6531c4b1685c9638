"""protocols.msrpc.mapping: what our own mapper says."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.binding import NDR64
from protocols.msrpc.ept import (
    ALL_ENTRIES,
    BY_BOTH,
    BY_INTERFACE,
    BY_OBJECT,
    FREE,
    LOOKUP,
    MAP,
    NO_HANDLE,
    NOT_REGISTERED,
    VERSIONS_ALL,
    VERSIONS_COMPATIBLE,
    Answer,
    lookup_call,
    map_call,
    read_answer,
)
from protocols.msrpc.mapping import Mapping
from protocols.msrpc.names import EPM, KNOWN, Interface
from protocols.msrpc.ndr import BadStub, Syntax, Writer
from protocols.msrpc.served import Place
from protocols.msrpc.tower import read_tower, tcp_tower
from tests.msrpc import samples
from tests.msrpc.support import pipe_tower, stub_of, tower_of

HOST = bytes([192, 0, 2, 1])
NAMES = ("epmapper", "emsmdb", "async-emsmdb", "nspi", "rfri")
PLACES = [Place(KNOWN[name], 6000 + number) for number, name in enumerate(NAMES)]
HERE = Mapping(PLACES, HOST)
SYNTAXES = [Syntax(little, wide) for little in (True, False) for wide in (False, True)]


def map_stub(tower: bytes, most: int = 4, syntax: Syntax = Syntax()) -> bytes:
    """The stub of an ept_map for any tower."""
    writer = Writer(syntax)
    writer.count(0, 1, len(tower))
    writer.long(len(tower))
    writer.octets(tower)
    writer.align(4)
    writer.octets(NO_HANDLE)
    writer.long(most)
    return bytes(writer.stub)


def lookup_stub(
    inquiry: int, interface: Interface | None, versions: int, most: int = 100, syntax: Syntax = Syntax()
) -> bytes:
    """The stub of an ept_lookup."""
    writer = Writer(syntax)
    order = "<" if syntax.little else ">"
    writer.long(inquiry)
    writer.count(0, 1 if interface else 0)
    if interface:
        writer.octets(interface.uuid.bytes_le if syntax.little else interface.uuid.bytes)
        low, high = (interface.major, interface.minor)
        writer.octets(b"".join(n.to_bytes(2, "little" if order == "<" else "big") for n in (low, high)))
    writer.long(versions)
    writer.octets(NO_HANDLE)
    writer.long(most)
    return bytes(writer.stub)


class MapTests(SynchronousTestCase):
    """ept_map."""

    def asked(self, stub: bytes, syntax: Syntax = Syntax()) -> Answer:
        """The answer."""
        return read_answer(MAP, HERE.answer(MAP, stub, syntax), Syntax(wide=syntax.wide))

    def test_here(self) -> None:
        """One tower for an interface that is here: our port, the address for all."""
        for name, place in zip(NAMES, PLACES, strict=True):
            found = self.asked(map_call(KNOWN[name]))
            self.assertEqual([e.tower for e in found.entries], [tower_of(name, place.port, "192.0.2.1")])
            self.assertEqual((found.status, found.handle, found.most), (0, NO_HANDLE, 4))

    def test_real_clients(self) -> None:
        """impacket's call, and scapy's in NDR64."""
        found = self.asked(stub_of(samples.EMSMDB_CALL))
        self.assertEqual(read_tower(found.entries[0].tower or b"").port, 6001)
        self.assertEqual(self.asked(samples.BIG_MAP_STUB, Syntax(little=False)).status, NOT_REGISTERED)

    def test_all_layouts(self) -> None:
        """Both byte orders, NDR and NDR64; answers are little-endian."""
        for syntax in SYNTAXES:
            found = self.asked(map_stub(tower_of("nspi", 0, "0.0.0.0"), 4, syntax), syntax)
            self.assertEqual([e.tower for e in found.entries], [tower_of("nspi", 6003, "192.0.2.1")])

    def test_not_here(self) -> None:
        """What is not here is not registered: another interface, version, transfer syntax or transport."""
        emsmdb = KNOWN["emsmdb"]
        for tower in (
            tower_of("samr", 0),
            tcp_tower(emsmdb.uuid, 1, 81, 0, bytes(4)),
            tcp_tower(emsmdb.uuid, 0, 82, 0, bytes(4)),
            tcp_tower(emsmdb.uuid, 0, 81, 0, bytes(4), NDR64),
            pipe_tower("emsmdb", "\\pipe\\x"),
            b"",
            b"no tower",
        ):
            self.assertEqual(self.asked(map_stub(tower)), Answer(NO_HANDLE, 4, (), NOT_REGISTERED))

    def test_older_minor_version(self) -> None:
        """A client of an older minor version is served."""
        emsmdb = KNOWN["emsmdb"]
        found = self.asked(map_stub(tcp_tower(emsmdb.uuid, 0, 0, 0, bytes(4))))
        self.assertEqual(len(found.entries), 1)

    def test_most(self) -> None:
        """No more towers than are wanted; none is an answer too."""
        self.assertEqual(self.asked(map_stub(tower_of("nspi", 0), 0)).entries, ())
        twice = Mapping([PLACES[1], Place(KNOWN["emsmdb"], 7000)], HOST)
        for most, ports in ((1, [6001]), (2, [6001, 7000]), (500, [6001, 7000])):
            said = twice.answer(MAP, map_stub(tower_of("emsmdb", 0), most), Syntax())
            found = read_answer(MAP, said, Syntax())
            self.assertEqual([read_tower(e.tower or b"").port for e in found.entries], ports)

    def test_bad_stub(self) -> None:
        """A call that means nothing is a BadStub."""
        for operation in (MAP, LOOKUP):
            with self.assertRaises(BadStub):
                HERE.answer(operation, b"\1\0\0\0", Syntax())


class LookupTests(SynchronousTestCase):
    """ept_lookup."""

    def asked(self, stub: bytes, syntax: Syntax = Syntax(), mapping: Mapping = HERE) -> Answer:
        """The answer."""
        return read_answer(LOOKUP, mapping.answer(LOOKUP, stub, syntax), Syntax(wide=syntax.wide))

    def ports(self, answer: Answer) -> list[int]:
        """The ports in it."""
        return [read_tower(entry.tower or b"").port for entry in answer.entries]

    def test_everything(self) -> None:
        """All interfaces with their titles, in one part."""
        for syntax in SYNTAXES:
            found = self.asked(lookup_stub(ALL_ENTRIES, None, VERSIONS_ALL, syntax=syntax), syntax)
            self.assertEqual(self.ports(found), [6000, 6001, 6002, 6003, 6004])
            self.assertEqual(found.entries[0].annotation, b"endpoint mapper\0")
            self.assertEqual((found.handle, found.status), (NO_HANDLE, 0))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 7))
    def test_in_parts(self, most: int) -> None:
        """Part by part, each handle leads on, and the last part has none."""
        handle, ports = NO_HANDLE, []
        for _ in range(10):
            found = self.asked(lookup_call(handle, most))
            self.assertLessEqual(len(found.entries), most)
            ports += self.ports(found)
            handle = found.handle
            if handle == NO_HANDLE:
                break
        self.assertEqual(ports, [6000, 6001, 6002, 6003, 6004])

    def test_strange_handles(self) -> None:
        """A handle that is not of ours begins anew; one that is beyond the end finds nothing."""
        self.assertEqual(len(self.asked(lookup_call(bytes(range(20)))).entries), 5)
        ours = self.asked(lookup_call(most=1)).handle
        for position in (5, 2**32 - 1):
            found = self.asked(lookup_call(ours[:16] + position.to_bytes(4, "little")))
            self.assertEqual(found, Answer(NO_HANDLE, 100, (), NOT_REGISTERED))

    def test_fewer_than_before(self) -> None:
        """Interfaces may go while a client reads."""
        handle = self.asked(lookup_call(most=3)).handle
        found = self.asked(lookup_call(handle), mapping=Mapping(PLACES[:2], HOST))
        self.assertEqual((found.entries, found.status), ((), NOT_REGISTERED))

    def test_none_wanted(self) -> None:
        """A client that wants none is not led on for ever."""
        self.assertEqual(self.asked(lookup_call(most=0)), Answer(NO_HANDLE, 0, (), NOT_REGISTERED))

    def test_by_interface(self) -> None:
        """One interface, in its major version or in all."""
        nspi = KNOWN["nspi"]
        other = Interface("", nspi.uuid, 1, 0)
        for interface, versions, ports in (
            (nspi, VERSIONS_COMPATIBLE, [6003]),
            (other, VERSIONS_COMPATIBLE, []),
            (other, VERSIONS_ALL, [6003]),
            (KNOWN["samr"], VERSIONS_ALL, []),
            (None, VERSIONS_ALL, []),
        ):
            for syntax in SYNTAXES:
                found = self.asked(lookup_stub(BY_INTERFACE, interface, versions, syntax=syntax), syntax)
                self.assertEqual(self.ports(found), ports)
                self.assertEqual(found.status, 0 if ports else NOT_REGISTERED)

    def test_by_object(self) -> None:
        """Our interfaces have no objects."""
        for inquiry in (BY_OBJECT, BY_BOTH, 99):
            self.assertEqual(self.asked(lookup_stub(inquiry, EPM, VERSIONS_ALL)).entries, ())

    def test_long_titles(self) -> None:
        """A title is cut to 63 characters and its NUL, and is ASCII."""
        interface = Interface("x", UUID(int=1), 1, 0, "é" + "t" * 100)
        (entry,) = self.asked(lookup_call(), mapping=Mapping([Place(interface, 1)], HOST)).entries
        self.assertEqual(entry.annotation, b"?" + b"t" * 62 + b"\0")

    def test_free(self) -> None:
        """A handle that is freed is none from then on."""
        self.assertEqual(HERE.answer(FREE, bytes(range(20)), Syntax(little=False)), bytes(24))

    def test_nothing_here(self) -> None:
        """Where nothing is served nothing is registered."""
        self.assertEqual(self.asked(lookup_call(), mapping=Mapping([], HOST)).status, NOT_REGISTERED)
