"""protocols.msrpc.ept: the calls of the endpoint mapper and their answers."""

from __future__ import annotations

import contextlib
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.ept import (
    ALL_ENTRIES,
    ANNOTATION,
    BY_INTERFACE,
    LOOKUP,
    MAP,
    NO_HANDLE,
    NOT_REGISTERED,
    VERSIONS_COMPATIBLE,
    Answer,
    Entry,
    LookupCall,
    MapCall,
    lookup_call,
    map_call,
    read_answer,
    read_lookup,
    read_map,
    write_answer,
)
from protocols.msrpc.names import EPM, KNOWN
from protocols.msrpc.ndr import BadStub, Syntax, Writer
from protocols.msrpc.tower import NoTower, read_tower
from tests.msrpc import lookup_samples, samples
from tests.msrpc.support import stub_of, tower_of

LITTLE, BIG = Syntax(), Syntax(little=False)
WIDE, BIG_WIDE = Syntax(wide=True), Syntax(little=False, wide=True)
SYNTAXES = (LITTLE, BIG, WIDE, BIG_WIDE)


def bare(answer: Answer) -> Answer:
    """The answer without the places of its towers."""
    entries = tuple(Entry(e.tower, 0, e.object, e.annotation) for e in answer.entries)
    return Answer(answer.handle, answer.most, entries, answer.status)


class MapAnswerTests(SynchronousTestCase):
    """Answers to ept_map."""

    def test_real_ones(self) -> None:
        """One tower each, of Exchange's interfaces, at the server's address and port."""
        for data, name, port in (
            (samples.EMSMDB_ANSWER, "emsmdb", 59531),
            (samples.RFRI_ANSWER, "rfri", 59532),
            (samples.NSPI_ANSWER, "nspi", 59532),
        ):
            found = read_answer(MAP, stub_of(data), LITTLE)
            (entry,) = found.entries
            tower = read_tower(entry.tower or b"")
            self.assertEqual((tower.interface, tower.port), (KNOWN[name].uuid, port))
            self.assertEqual((tower.host, found.status), ("127.0.0.13", 0))

    def test_place(self) -> None:
        """A tower's place in the stub is where its octets stand."""
        stub = stub_of(samples.SAMR_ANSWER)
        (entry,) = read_answer(MAP, stub, LITTLE).entries
        assert entry.tower is not None
        self.assertEqual(stub[entry.at : entry.at + 75], entry.tower)

    def test_both_orders(self) -> None:
        """The same answer in both byte orders: towers do not turn round."""
        little = read_answer(MAP, samples.MAP_STUB_ANSWER, LITTLE)
        self.assertEqual(read_answer(MAP, samples.BIG_MAP_STUB_ANSWER, BIG), little)
        self.assertEqual(little.entries[0].tower, tower_of("samr", 59531, "0.0.0.0"))

    def test_ndr64(self) -> None:
        """scapy's answer in NDR64."""
        found = read_answer(MAP, stub_of(samples.WIDE_ANSWER), WIDE)
        self.assertEqual(read_tower(found.entries[0].tower or b"").interface, KNOWN["emsmdb"].uuid)

    def test_nothing_registered(self) -> None:
        """An empty answer has no handle and a status of its own."""
        self.assertEqual(
            read_answer(MAP, stub_of(samples.LSARPC_ANSWER), LITTLE), Answer(NO_HANDLE, 4, (), NOT_REGISTERED)
        )

    def test_another_layout(self) -> None:
        """What another implementation takes for NDR64 is no tower, and raises nothing else."""
        (entry,) = read_answer(MAP, samples.ODD_WIDE_STUB, WIDE).entries
        with self.assertRaises(NoTower):
            read_tower(entry.tower or b"")


class LookupAnswerTests(SynchronousTestCase):
    """Answers to ept_lookup."""

    def test_fragmented(self) -> None:
        """All entries of an answer in two fragments that are cut inside a tower."""
        found = read_answer(LOOKUP, stub_of(lookup_samples.ALL_ANSWER), LITTLE)
        self.assertEqual(len(found.entries), 38)
        names = {read_tower(entry.tower or b"").transport.split()[0] for entry in found.entries}
        self.assertEqual(names, {"TCP", "named", "local", "HTTP"})
        self.assertEqual((found.handle, found.status), (NO_HANDLE, NOT_REGISTERED))

    def test_annotations(self) -> None:
        """Each entry has an annotation with its NUL, and an object."""
        found = read_answer(LOOKUP, stub_of(lookup_samples.BIG_LOOKUP_ANSWER), LITTLE)
        self.assertEqual(len(found.entries), 10)
        for entry in found.entries:
            self.assertTrue(entry.annotation.endswith(b"\0") or not entry.annotation)
            self.assertEqual(entry.object, bytes(16))

    def test_in_parts(self) -> None:
        """A handle says that there is more; the last part has none, and entries and a status."""
        part = read_answer(LOOKUP, stub_of(lookup_samples.PART_ANSWER), LITTLE)
        self.assertEqual((len(part.entries), part.most, part.status), (2, 2, 0))
        self.assertNotEqual(part.handle, NO_HANDLE)
        last = read_answer(LOOKUP, stub_of(lookup_samples.LAST_ANSWER), LITTLE)
        self.assertEqual((len(last.entries), last.handle, last.status), (8, NO_HANDLE, NOT_REGISTERED))

    def test_annotation_limit(self) -> None:
        """An annotation of 64 bytes is read, one of 65 is not."""
        for length, good in ((ANNOTATION, True), (ANNOTATION + 1, False)):
            stub = write_answer(
                LOOKUP, Answer(NO_HANDLE, 1, (Entry(None, annotation=bytes(length)),), 0), LITTLE
            )
            if good:
                self.assertEqual(len(read_answer(LOOKUP, stub, LITTLE).entries[0].annotation), 64)
            else:
                with self.assertRaisesRegex(BadStub, "^an annotation of 65 bytes from 0$"):
                    read_answer(LOOKUP, stub, LITTLE)


class BadAnswerTests(SynchronousTestCase):
    """Answers that do not mean anything."""

    def test_truncated(self) -> None:
        """Cut anywhere it is a BadStub."""
        for operation, stub, syntax in (
            (MAP, stub_of(samples.SAMR_ANSWER), LITTLE),
            (MAP, samples.BIG_MAP_STUB_ANSWER, BIG),
            (MAP, stub_of(samples.WIDE_ANSWER)[:148], WIDE),
            (LOOKUP, stub_of(lookup_samples.PART_ANSWER), LITTLE),
        ):
            read_answer(operation, stub, syntax)
            for end in range(len(stub)):
                with self.assertRaises(BadStub):
                    read_answer(operation, stub[:end], syntax)

    def test_counts_that_differ(self) -> None:
        """Number, maximum, offset and actual count must agree, and towers fit into their arrays."""
        for longs in (
            [1, 1, 0, 0],
            [0, 1, 0, 1],
            [2, 1, 0, 2],
            [1, 1, 1, 1],
            [2**32 - 1, 2**32 - 1, 0, 2**32 - 1],
        ):
            writer = Writer(LITTLE)
            writer.octets(NO_HANDLE)
            writer.long(*longs, 1, 4, 4)
            writer.octets(bytes(8))
            with self.assertRaises(BadStub):
                read_answer(MAP, bytes(writer.stub), LITTLE)
        writer = Writer(LITTLE)
        writer.octets(NO_HANDLE)
        writer.long(1, 1, 0, 1, 1, 4, 5)
        writer.octets(bytes(16))
        with self.assertRaisesRegex(BadStub, "^a tower of 5 bytes in 4$"):
            read_answer(MAP, bytes(writer.stub), LITTLE)

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=300))
    def test_rubbish(self, stub: bytes) -> None:
        """Any bytes are read, or BadStub."""
        for syntax in SYNTAXES:
            for operation in (MAP, LOOKUP):
                with contextlib.suppress(BadStub):
                    read_answer(operation, NO_HANDLE + stub, syntax)
            for read in (read_map, read_lookup):
                with contextlib.suppress(BadStub):
                    read(stub, syntax)


ENTRIES = st.lists(
    st.builds(
        Entry,
        st.none() | st.binary(max_size=90),
        st.just(0),
        st.binary(min_size=16, max_size=16),
        st.binary(max_size=ANNOTATION),
    ),
    max_size=6,
)


class WriteTests(SynchronousTestCase):
    """Answers and calls of our own."""

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(SYNTAXES), st.binary(min_size=20, max_size=20), ENTRIES, st.integers(0, 2**32 - 1))
    def test_lookup_round_trip(
        self, syntax: Syntax, handle: bytes, entries: list[Entry], status: int
    ) -> None:
        """What is written is read again, in NDR and NDR64 and both byte orders, null pointers and all."""
        written = Answer(handle, 10, tuple(entries), status)
        self.assertEqual(bare(read_answer(LOOKUP, write_answer(LOOKUP, written, syntax), syntax)), written)

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(SYNTAXES), st.lists(st.none() | st.binary(max_size=90), max_size=6))
    def test_map_round_trip(self, syntax: Syntax, towers: list[bytes | None]) -> None:
        """The same for ept_map; towers stand where it is said."""
        written = Answer(NO_HANDLE, 6, tuple(Entry(tower) for tower in towers), 0)
        stub = write_answer(MAP, written, syntax)
        found = read_answer(MAP, stub, syntax)
        self.assertEqual(bare(found), written)
        for entry in found.entries:
            if entry.tower is not None:
                self.assertEqual(stub[entry.at : entry.at + len(entry.tower)], entry.tower)

    def test_as_a_server_writes_it(self) -> None:
        """A real answer, read and written, is the same but for the values of its pointers."""
        found = read_answer(MAP, samples.MAP_STUB_ANSWER, LITTLE)
        self.assertEqual(write_answer(MAP, found, LITTLE), samples.MAP_STUB_ANSWER)
        found = read_answer(MAP, samples.BIG_MAP_STUB_ANSWER, BIG)
        self.assertEqual(write_answer(MAP, found, BIG), samples.BIG_MAP_STUB_ANSWER)
        found = read_answer(LOOKUP, stub_of(lookup_samples.LAST_ANSWER), LITTLE)
        written = write_answer(LOOKUP, found, LITTLE)
        self.assertEqual(read_answer(LOOKUP, written, LITTLE), found)


class CallTests(SynchronousTestCase):
    """What clients ask."""

    def test_map(self) -> None:
        """The tower in question and how many are wanted, without and with an object."""
        self.assertEqual(read_map(samples.MAP_STUB, LITTLE), MapCall(tower_of("samr", 0, "0.0.0.0"), 1))
        self.assertEqual(read_map(samples.BIG_MAP_STUB, BIG), MapCall(tower_of("samr", 0, "0.0.0.0"), 1))
        call = read_map(stub_of(samples.EMSMDB_CALL), LITTLE)
        tower = read_tower(call.tower)
        self.assertEqual((tower.interface, tower.minor, call.most), (KNOWN["emsmdb"].uuid, 81, 4))

    def test_map_ndr64(self) -> None:
        """The same in NDR64."""
        call = read_map(stub_of(samples.WIDE_CALL), WIDE)
        self.assertEqual((read_tower(call.tower).interface, call.most), (KNOWN["emsmdb"].uuid, 500))

    def test_big_endian_map(self) -> None:
        """The same of big-endian clients."""
        for data in (samples.BIG_MAP_CALL, samples.SCAPY_CALL):
            call = read_map(stub_of(data), BIG)
            self.assertTrue(read_tower(call.tower).interface)
            self.assertGreater(call.most, 0)

    def test_map_without_a_tower(self) -> None:
        """A null pointer in place of the tower, or a tower longer than its array, is a BadStub."""
        with self.assertRaisesRegex(BadStub, "^no tower$"):
            read_map(bytes(40), LITTLE)
        writer = Writer(LITTLE)
        writer.long(0, 1, 4, 5)
        with self.assertRaisesRegex(BadStub, "^a tower of 5 bytes in 4$"):
            read_map(bytes(writer.stub) + bytes(40), LITTLE)

    def test_lookup(self) -> None:
        """Everything from the begin, from a handle on, in both byte orders."""
        self.assertEqual(
            read_lookup(stub_of(lookup_samples.PART_CALL), LITTLE),
            LookupCall(ALL_ENTRIES, None, 0, NO_HANDLE, 16, 2),
        )
        handle = read_answer(LOOKUP, stub_of(lookup_samples.PART_ANSWER), LITTLE).handle
        self.assertEqual(len(handle), 20)
        self.assertNotEqual(read_lookup(stub_of(lookup_samples.LAST_CALL), LITTLE).handle, NO_HANDLE)
        self.assertEqual(read_lookup(stub_of(lookup_samples.BIG_LOOKUP_CALL), BIG).most, 10)

    def test_lookup_by_interface(self) -> None:
        """An interface with its version, behind an object, in all layouts."""
        uuid = UUID("12345778-1234-abcd-ef00-0123456789ac")
        for syntax in SYNTAXES:
            writer = Writer(syntax)
            order = "little" if syntax.little else "big"
            writer.long(BY_INTERFACE)
            writer.count(1)
            writer.octets(bytes(range(16)))
            writer.count(2)
            writer.octets(uuid.bytes_le if syntax.little else uuid.bytes)
            writer.octets((1).to_bytes(2, order) + (7).to_bytes(2, order))  # type: ignore[arg-type]
            writer.long(VERSIONS_COMPATIBLE)
            writer.octets(bytes(range(20)))
            writer.long(500)
            found = read_lookup(bytes(writer.stub), syntax)
            handle, at = bytes(range(20)), found.handle_at
            self.assertEqual(bytes(writer.stub)[at : at + 20], handle)
            self.assertEqual(
                found, LookupCall(BY_INTERFACE, (uuid, 1, 7), VERSIONS_COMPATIBLE, handle, at, 500)
            )

    def test_truncated(self) -> None:
        """Cut anywhere it is a BadStub."""
        for read, stub, syntax in (
            (read_map, stub_of(samples.EMSMDB_CALL), LITTLE),
            (read_map, samples.BIG_MAP_STUB, BIG),
            (read_lookup, stub_of(lookup_samples.ALL_CALL), LITTLE),
            (read_lookup, lookup_call(), LITTLE),
        ):
            for end in range(len(stub)):
                with self.assertRaises(BadStub):
                    read(stub[:end], syntax)

    def test_ours(self) -> None:
        """Our own calls mean what they should."""
        call = read_map(map_call(KNOWN["nspi"]), LITTLE)
        self.assertEqual(call, MapCall(tower_of("nspi", 0, "0.0.0.0"), 4))
        self.assertEqual(map_call(KNOWN["samr"], 1), samples.MAP_STUB)
        self.assertEqual(
            read_lookup(lookup_call(), LITTLE), LookupCall(ALL_ENTRIES, None, 1, NO_HANDLE, 16, 100)
        )
        self.assertEqual(read_lookup(lookup_call(bytes(range(20)), 5), LITTLE).handle, bytes(range(20)))
        self.assertNotEqual(EPM.uuid, KNOWN["mgmt"].uuid)
