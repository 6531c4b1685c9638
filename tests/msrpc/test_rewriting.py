"""protocols.msrpc.rewriting: a mapper's answers made to lead here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.binding import BAD_STUB, LEAST_FRAGMENT
from protocols.msrpc.ept import (
    LOOKUP,
    MAP,
    MOST_ENTRIES,
    NO_HANDLE,
    NOT_REGISTERED,
    Answer,
    Entry,
    read_answer,
    write_answer,
)
from protocols.msrpc.names import KNOWN
from protocols.msrpc.ndr import Syntax, Writer
from protocols.msrpc.pdu import FIRST, RESPONSE
from protocols.msrpc.rewriting import Rewriting
from protocols.msrpc.rewriting import edited as edit
from protocols.msrpc.tower import Tower, read_tower
from tests.msrpc import lookup_samples, samples
from tests.msrpc.conversations import statuses
from tests.msrpc.support import CONNECT, answer, carrier, pdus, pipe_tower, stub_of, tower_of

HOST = bytes([192, 0, 2, 1])
# A handle that says: there is more.
MORE = b"\0\0\0\0" + bytes(range(16))
PIPE = pipe_tower("samr", "\\pipe\\lsass")


def by_name(**ports: int) -> Callable[[Tower], int | None]:
    """Our ports by interface (``async_emsmdb`` for async-emsmdb)."""
    known = {KNOWN[name.replace("_", "-")].uuid: port for name, port in ports.items()}
    return lambda tower: known.get(tower.interface)


def by_port(tower: Tower) -> int | None:
    """Everything over TCP, 10000 ports higher than it was."""
    return (tower.port + 10000) % 65536 if tower.port else None


def edited(data: bytes, how: Rewriting, operation: int = MAP, wide: bool = False) -> bytes:
    """An answer in its fragments, edited."""
    return edit(pdus(data), operation, wide, how).data


def places(data: bytes, operation: int = MAP, wide: bool = False) -> list[tuple[int, str]]:
    """Ports and hosts of all towers in an answer."""
    syntax = Syntax(pdus(data)[0].header.little, wide)
    found = read_answer(operation, stub_of(data), syntax)
    towers = [read_tower(entry.tower) for entry in found.entries if entry.tower is not None]
    return [(tower.port, tower.host) for tower in towers]


def difference(one: bytes, other: bytes) -> list[int]:
    """Where two texts of the same length differ."""
    assert len(one) == len(other)
    return [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def edited_answers(towers: Iterable[bytes | None], how: Rewriting) -> Iterator[Answer]:
    """An answer to ept_map with these towers, edited, in each transfer syntax and byte order."""
    entries = tuple(Entry(tower) for tower in towers)
    for syntax in (Syntax(), Syntax(wide=True), Syntax(little=False), Syntax(little=False, wide=True)):
        data = answer(1, write_answer(MAP, Answer(NO_HANDLE, 9, entries, 0), syntax), little=syntax.little)
        yield read_answer(MAP, stub_of(edited(data, how, wide=syntax.wide)), syntax)


class MapTests(SynchronousTestCase):
    """Answers to ept_map."""

    def test_by_interface(self) -> None:
        """A tower of an interface that is here gets our port and address, and nothing else changes."""
        how = Rewriting(by_name(emsmdb=6001, nspi=6004, rfri=6004), HOST, hide=False)
        for data, port in (
            (samples.EMSMDB_ANSWER, 6001),
            (samples.NSPI_ANSWER, 6004),
            (samples.RFRI_ANSWER, 6004),
        ):
            said = edited(data, how)
            self.assertEqual(places(said), [(port, "192.0.2.1")])
            self.assertLessEqual(len(difference(data, said)), 6)

    def test_not_here(self) -> None:
        """What is not here passes as it was."""
        how = Rewriting(by_name(emsmdb=6001), HOST, hide=False)
        self.assertEqual(edited(samples.SAMR_ANSWER, how), samples.SAMR_ANSWER)

    def test_ndr64(self) -> None:
        """The same in NDR64."""
        said = edited(samples.WIDE_ANSWER, Rewriting(by_name(emsmdb=6001), HOST, hide=False), wide=True)
        self.assertEqual(places(said, wide=True), [(6001, "192.0.2.1")])
        self.assertEqual(len(said), len(samples.WIDE_ANSWER))

    def test_big_endian(self) -> None:
        """The same of a big-endian server."""
        data = answer(2, samples.BIG_MAP_STUB_ANSWER, little=False)
        said = edited(data, Rewriting(by_name(samr=6001), HOST, hide=False))
        self.assertEqual(places(said), [(6001, "192.0.2.1")])
        self.assertLessEqual(len(difference(data, said)), 6)

    def test_several(self) -> None:
        """Several towers, of which some are here."""
        towers = (tower_of("emsmdb", 59531), tower_of("samr", 1025), None, tower_of("nspi", 59532), PIPE)
        how = Rewriting(by_name(emsmdb=6001, nspi=6004), HOST, hide=False)
        for said in edited_answers(towers, how):
            self.assertEqual(
                [entry.tower for entry in said.entries],
                [
                    tower_of("emsmdb", 6001, "192.0.2.1"),
                    tower_of("samr", 1025),
                    None,
                    tower_of("nspi", 6004, "192.0.2.1"),
                    PIPE,
                ],
            )

    def test_empty(self) -> None:
        """An empty answer stays what it is, hidden or not."""
        for hide in (False, True):
            how = Rewriting(by_port, HOST, hide)
            self.assertEqual(edited(samples.LSARPC_ANSWER, how), samples.LSARPC_ANSWER)

    def test_unreadable(self) -> None:
        """An answer in a layout that nobody has described passes as it was; it is a fault where others are
        hidden, for it may say what they are. So is one with more entries than MOST_ENTRIES."""
        writer = Writer(Syntax())
        writer.octets(NO_HANDLE)
        writer.long(MOST_ENTRIES + 1)
        writer.count(MOST_ENTRIES + 1, 0, *([MOST_ENTRIES + 1] + [0] * (MOST_ENTRIES + 1)))
        writer.long(0)
        many = answer(1, bytes(writer.stub))
        self.assertEqual(edited(many, Rewriting(by_port, HOST, hide=False)), many)
        for stub in (b"", b"rubbish", samples.ODD_WIDE_STUB[:-8], bytes(20) + b"\xff" * 40):
            data = answer(1, stub)
            for wide in (False, True):
                self.assertEqual(edited(data, Rewriting(by_port, HOST, hide=False), wide=wide), data)
                hidden = edited(data, Rewriting(by_port, HOST, hide=True), wide=wide)
                self.assertEqual(statuses(pdus(hidden)), [(1, 0, BAD_STUB)])

    def test_another_layout(self) -> None:
        """Where the layout is readable but the towers are none, they are left alone."""
        data = answer(1, samples.ODD_WIDE_STUB)
        self.assertEqual(edited(data, Rewriting(by_port, HOST, hide=False), wide=True), data)

    def test_trailer_stays(self) -> None:
        """A trailer that protects nothing (level 2) stays where it was."""
        data = answer(1, stub_of(samples.EMSMDB_ANSWER), trailer=CONNECT)
        said = edited(data, Rewriting(by_port, HOST, hide=False))
        self.assertEqual(said[-24:], CONNECT)
        self.assertEqual(places(said), [(3995, "192.0.2.1")])


class LookupTests(SynchronousTestCase):
    """Answers to ept_lookup."""

    def test_fragments(self) -> None:
        """Two fragments that are cut inside a tower are the same two, but for ports and addresses."""
        data = lookup_samples.ALL_ANSWER
        said = edited(data, Rewriting(by_port, HOST, hide=False), LOOKUP)
        before, after = places(data, LOOKUP), places(said, LOOKUP)
        tcp = [port for port, _ in before if port]
        self.assertEqual(
            [at for at in after if at[0]], [((port + 10000) % 65536, "192.0.2.1") for port in tcp]
        )
        self.assertEqual([len(pdu.raw) for pdu in pdus(said)], [4280, 596])
        changed = difference(data, said)
        self.assertGreater(len(changed), 0)
        self.assertLessEqual(len(changed), 6 * len(tcp))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 60).map(lambda n: 8 * n), st.booleans())
    def test_any_fragments(self, largest: int, little: bool) -> None:
        """Wherever a stub is cut, the towers are found, and the fragments are the same."""
        syntax = Syntax(little)
        found = read_answer(LOOKUP, stub_of(lookup_samples.PART_ANSWER), Syntax())
        stub = write_answer(LOOKUP, found, syntax)
        data = answer(5, stub, largest, little)
        said = edited(data, Rewriting(by_port, HOST, hide=False), LOOKUP)
        self.assertEqual([pdu.header for pdu in pdus(said)], [pdu.header for pdu in pdus(data)])
        whole = edited(answer(5, stub, 60000, little), Rewriting(by_port, HOST, hide=False), LOOKUP)
        self.assertEqual(stub_of(said), stub_of(whole))

    def test_only_tcp(self) -> None:
        """Named pipes, local endpoints and HTTP are left alone."""
        data = lookup_samples.ALL_ANSWER
        said = read_answer(
            LOOKUP, stub_of(edited(data, Rewriting(by_port, HOST, hide=False), LOOKUP)), Syntax()
        )
        was = read_answer(LOOKUP, stub_of(data), Syntax())
        for old, new in zip(was.entries, said.entries, strict=True):
            if not read_tower(old.tower or b"").port:
                self.assertEqual(old, new)
            self.assertEqual((old.annotation, old.object, old.at), (new.annotation, new.object, new.at))


class HideTests(SynchronousTestCase):
    """``others: hide``."""

    def test_map(self) -> None:
        """An interface that is not here is not registered."""
        said = edited(samples.SAMR_ANSWER, Rewriting(by_name(emsmdb=6001), HOST, hide=True))
        self.assertEqual(read_answer(MAP, stub_of(said), Syntax()), Answer(NO_HANDLE, 1, (), NOT_REGISTERED))
        self.assertEqual(pdus(said)[0].header.call, 2)

    def test_map_with_a_handle(self) -> None:
        """ept_map has no second part: where nothing is left it is not registered, handle or not."""
        stub = write_answer(MAP, Answer(MORE, 1, (Entry(tower_of("samr", 1025)),), 0), Syntax())
        said = edited(answer(1, stub), Rewriting(by_name(), HOST, hide=True))
        self.assertEqual(read_answer(MAP, stub_of(said), Syntax()).status, NOT_REGISTERED)

    def test_some(self) -> None:
        """Of several towers those that are here are left, in their order."""
        towers = (
            tower_of("samr", 1025),
            tower_of("emsmdb", 59531),
            None,
            PIPE,
            b"\1",
            tower_of("nspi", 59532),
        )
        how = Rewriting(by_name(emsmdb=6001, nspi=6004), HOST, hide=True)
        for said in edited_answers(towers, how):
            self.assertEqual(
                [entry.tower for entry in said.entries],
                [tower_of("emsmdb", 6001, "192.0.2.1"), tower_of("nspi", 6004, "192.0.2.1")],
            )
            self.assertEqual((said.status, said.most), (0, 9))

    def test_lookup(self) -> None:
        """A look-up is left with what is here, in fragments no longer than before, its status as it was."""
        how = Rewriting(lambda tower: 6001 if tower.port == 135 else None, HOST, hide=True)
        said = edited(lookup_samples.ALL_ANSWER, how, LOOKUP)
        found = read_answer(LOOKUP, stub_of(said), Syntax())
        self.assertEqual(set(places(said, LOOKUP)), {(6001, "192.0.2.1")})
        self.assertEqual((found.handle, found.status), (NO_HANDLE, NOT_REGISTERED))
        self.assertTrue(all(pdu.header.length <= 4280 for pdu in pdus(said)))

    def test_lookup_with_a_handle(self) -> None:
        """A part of which nothing is left is an empty part, where more is to come."""
        said = edited(lookup_samples.PART_ANSWER, Rewriting(by_name(), HOST, hide=True), LOOKUP)
        found = read_answer(LOOKUP, stub_of(said), Syntax())
        handle = read_answer(LOOKUP, stub_of(lookup_samples.PART_ANSWER), Syntax()).handle
        self.assertEqual(found, Answer(handle, 2, (), 0))

    def test_lookup_without_a_handle(self) -> None:
        """Where nothing is left and nothing to come, nothing is registered."""
        entries = (Entry(tower_of("samr", 1025), annotation=b"SAMR\0"),)
        stub = write_answer(LOOKUP, Answer(NO_HANDLE, 9, entries, 0), Syntax())
        said = edited(answer(1, stub), Rewriting(by_name(), HOST, hide=True), LOOKUP)
        found = read_answer(LOOKUP, stub_of(said), Syntax())
        self.assertEqual((found.entries, found.status), ((), NOT_REGISTERED))

    def test_many_left(self) -> None:
        """Fragments that are cut anew are as long as those of the server at the most."""
        entries = tuple(
            Entry(tower_of(name, 1025), annotation=b"x" * 60)
            for name in ("samr", "emsmdb")
            for _ in range(60)
        )
        stub = write_answer(LOOKUP, Answer(MORE, 500, entries, 0), Syntax())
        data = answer(3, stub, 1000)
        said = edited(data, Rewriting(by_name(emsmdb=6001), HOST, hide=True), LOOKUP)
        self.assertLessEqual(max(pdu.header.length for pdu in pdus(said)), LEAST_FRAGMENT)
        self.assertGreater(len(pdus(said)), 5)
        self.assertEqual(places(said, LOOKUP), [(6001, "192.0.2.1")] * 60)

    def test_first_fragment_only(self) -> None:
        """A single fragment's flags beside first and last stay."""
        data = carrier(RESPONSE, 1, stub_of(samples.SAMR_ANSWER), flags=FIRST | 2 | 0x04)
        said = pdus(edited(data, Rewriting(by_name(), HOST, hide=True)))
        self.assertEqual([pdu.header.flags for pdu in said], [7])
