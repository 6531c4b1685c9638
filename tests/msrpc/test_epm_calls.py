"""protocols.msrpc.epm: calls that are asked on or answered from elsewhere, mixed, faulted."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Hangup, ToBackend
from exproxy.backend import Backend
from exproxy.events import Eof, Lost
from exproxy.model import BACKEND, CLIENT, Listening
from exproxy.settings import Limits
from exproxy.testing import every_split
from protocols.msrpc import binding
from protocols.msrpc.binding import NDR64, Context, Result
from protocols.msrpc.epm import LARGEST_CALL, MOST_CALLS, MOST_TIMES, Epm
from protocols.msrpc.ept import (
    LOOKUP,
    MAP,
    NO_HANDLE,
    NOT_REGISTERED,
    Answer,
    Entry,
    read_answer,
    read_lookup,
    write_answer,
)
from protocols.msrpc.names import EPM
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.pdu import FAULT, FIRST, LAST, ORPHANED, REQUEST, RESPONSE
from tests.msrpc import lookup_samples, samples
from tests.msrpc.conversations import HOST, IMPACKET, Talk, mapped, mapper, places, reason, told
from tests.msrpc.support import (
    SIGNED,
    answer,
    carrier,
    one,
    packed,
    pdus,
    request,
    stub_of,
    tower_of,
)


class ElsewhereTests(SynchronousTestCase):
    """An interface that this server's mapper has lost, while others have it."""

    def talk(self, usable: bool = True, bind: tuple[bytes, bytes] = IMPACKET) -> Talk:
        """A client of a mapper beside a service whose one server has EMSMDB."""
        here = mapped(bind=bind)
        beside = here.rpc.service.siblings["emsmdb"]
        backend = Backend("emsmdb/exch2", "exch2", "127.0.0.12", 6142)
        backend.operator = "ready" if usable else "maint"
        beside.listens = (Listening("", 6001, (backend,)),)
        return here

    def found(
        self, here: Talk, *pieces: bytes, syntax: Syntax = Syntax()
    ) -> tuple[int, list[tuple[int, str]]]:
        """Status and places of the answer to a call in these pieces, of which the server knows nothing."""
        for piece in pieces:
            here.asks(piece)
        call = one(b"".join(pieces)).header.call
        empty = write_answer(MAP, Answer(NO_HANDLE, 4, (), NOT_REGISTERED), syntax)
        data = here.got(answer(call, empty, 4096, syntax.little))
        return read_answer(MAP, stub_of(data), syntax).status, places(data, wide=syntax.wide)

    def test_elsewhere(self) -> None:
        """The client is led to our port, behind which another server is."""
        self.assertEqual(self.found(self.talk(), samples.EMSMDB_CALL), (0, [(6001, HOST)]))

    def test_every_split(self) -> None:
        """However its call is cut."""
        for pieces in every_split(samples.EMSMDB_CALL):
            self.assertEqual(self.found(self.talk(), *pieces), (0, [(6001, HOST)]))

    def test_big_endian_server(self) -> None:
        """The answer is in the server's byte order, whatever the call was in."""
        found = self.found(self.talk(), samples.EMSMDB_CALL, syntax=Syntax(little=False))
        self.assertEqual(found, (0, [(6001, HOST)]))

    def test_nowhere(self) -> None:
        """What no usable server has, or no service here, is not registered."""
        self.assertEqual(self.found(self.talk(usable=False), samples.EMSMDB_CALL), (NOT_REGISTERED, []))
        self.assertEqual(self.found(self.talk(), samples.LSARPC_CALL), (NOT_REGISTERED, []))

    def test_ndr64(self) -> None:
        """A call for NDR64 is not answered with NDR."""
        here = self.talk(bind=(samples.WIDE_BIND, samples.WIDE_BIND_ACK))
        found = self.found(here, samples.WIDE_CALL, syntax=Syntax(wide=True))
        self.assertEqual(found, (NOT_REGISTERED, []))

    def test_unreadable(self) -> None:
        """Calls that nobody understands, that are signed, in fragments, or too long to be kept, are the
        server's to answer."""
        stub = stub_of(samples.EMSMDB_CALL)
        long = stub + bytes(LARGEST_CALL - 24 - len(stub) + 1)
        for call in (
            request(1, MAP, b"strange"),
            request(1, MAP, stub.replace(b"\5\0\x13\0", b"\xff\0\x13\0")),
            carrier(REQUEST, 1, stub, opnum=MAP, trailer=SIGNED),
            carrier(REQUEST, 1, stub, opnum=MAP, flags=FIRST),
            request(1, MAP, long),
        ):
            self.assertEqual(self.found(self.talk(), call), (NOT_REGISTERED, []))
        self.assertEqual(self.found(self.talk(), request(1, MAP, long[:-1])), (0, [(6001, HOST)]))

    def test_malformed_call(self) -> None:
        """A call without room for the object that it announces is malformed."""
        here = self.talk()
        here.asks(packed(REQUEST, 1, bytes(6) + b"\3\0", flags=FIRST | LAST | 0x80))
        actions = here.says(answer(1, stub_of(samples.LSARPC_ANSWER)))
        self.assertRegex(reason(actions) or "", "shorter than its own parts")


class AskedOnTests(SynchronousTestCase):
    """Parts of a look-up of which nothing is left where others are hidden."""

    def again(self, here: Talk, part: bytes = lookup_samples.PART_ANSWER) -> bytes:
        """What the server is asked when it says that; the client hears nothing of it."""
        actions = here.says(part)
        self.assertEqual(told(actions), [])
        [asked] = [action.data for action in actions if isinstance(action, ToBackend)]
        return asked

    def test_on_and_on(self) -> None:
        """Part after part, until something is left; the call is under way as long."""
        here = mapped(others="hide")
        here.asks(lookup_samples.PART_CALL)
        for _ in range(3):
            self.again(here)
            self.assertTrue(here.rpc.busy)
        self.assertEqual(
            set(places(here.got(answer(2, stub_of(lookup_samples.ALL_ANSWER))), LOOKUP)), {(135, HOST)}
        )
        self.assertFalse(here.rpc.busy)

    def test_to_the_end(self) -> None:
        """Where nothing is left of the last part either, nothing is registered."""
        here = mapped(others="hide")
        here.asks(lookup_samples.PART_CALL)
        self.again(here)
        found = read_answer(LOOKUP, stub_of(here.got(answer(2, stub_of(samples.LSARPC_ANSWER)))), Syntax())
        self.assertEqual((found.entries, found.status), ((), NOT_REGISTERED))

    def test_every_split(self) -> None:
        """However call and part are cut."""
        wanted = mapped(others="hide")
        wanted.asks(lookup_samples.PART_CALL)
        again = self.again(wanted)
        for pieces in every_split(lookup_samples.PART_CALL):
            here = mapped(others="hide")
            for piece in pieces:
                here.asks(piece)
            self.assertEqual(self.again(here), again)

    def test_byte_orders(self) -> None:
        """A handle turns round with the byte order: it came in the server's, and goes in the client's."""
        here = mapped(bind=(samples.BIG_BIND, samples.BIG_BIND_ACK), others="hide")
        here.asks(lookup_samples.BIG_LOOKUP_CALL)
        call = one(lookup_samples.BIG_LOOKUP_CALL).header.call
        stub = b"\1\0\0\0" + bytes(range(16)) + stub_of(lookup_samples.PART_ANSWER)[20:]
        asked = read_lookup(stub_of(self.again(here, answer(call, stub))), Syntax(little=False))
        self.assertEqual(asked.handle, bytes.fromhex("00000001 03020100 0504 0706 08090a0b0c0d0e0f"))

    def test_not_understood(self) -> None:
        """Where the call cannot be read the client gets the empty part, with its handle."""
        here = mapped(others="hide")
        here.asks(request(2, LOOKUP, b"strange"))
        found = read_answer(LOOKUP, stub_of(here.got(lookup_samples.PART_ANSWER)), Syntax())
        self.assertEqual((found.entries, found.status), ((), 0))
        self.assertNotEqual(found.handle, NO_HANDLE)

    def test_half_closed(self) -> None:
        """A server that was told that the client has said all is not asked any more."""
        here = mapped(others="hide")
        here.asks(lookup_samples.PART_CALL)
        here.on(Eof(CLIENT))
        self.assertEqual(len(pdus(here.got(lookup_samples.PART_ANSWER))), 1)


class CallsTests(SynchronousTestCase):
    """Several calls, and what is none of them."""

    def answers(self, *names: str, first: int = 1) -> list[bytes]:
        """An answer to a map in three fragments for each of these, as calls ``first``, ``first`` + 1 …"""
        found = []
        for call, name in enumerate(names, first):
            entries = (Entry(tower_of(name, 59531)),)
            stub = write_answer(MAP, Answer(NO_HANDLE, 4, entries, 0), Syntax())
            found.append(answer(call, stub, 48))
        return found

    def test_interleaved(self) -> None:
        """Calls that run at once, their answers' fragments mixed with each other and with others'."""
        here = mapped()
        for call in (1, 2):
            here.asks(request(call, MAP, b"x"))
        here.asks(request(3, 99))
        one_answer, other = (pdus(each) for each in self.answers("emsmdb", "nspi"))
        foreign = carrier(RESPONSE, 3, b"12345678")
        self.assertEqual(here.got(one_answer[0].raw + other[0].raw), b"")
        self.assertEqual(here.got(foreign), foreign)
        self.assertEqual(here.got(other[1].raw + one_answer[1].raw), b"")
        self.assertEqual(places(here.got(other[2].raw)), [(6004, HOST)])
        self.assertEqual(places(here.got(one_answer[2].raw)), [(6001, HOST)])

    def test_together(self) -> None:
        """Several answers in one piece, each edited, in their order."""
        here = mapped()
        for call in (1, 2, 3):
            here.asks(request(call, MAP, b"x"))
        said = here.got(b"".join(self.answers("emsmdb", "samr", "nspi")))
        self.assertEqual([pdu.header.call for pdu in pdus(said)], [1] * 3 + [2] * 3 + [3] * 3)
        self.assertEqual(places(b"".join(pdu.raw for pdu in pdus(said)[:3])), [(6001, HOST)])

    def test_other_operations(self) -> None:
        """Answers to other calls pass as they come, piece by piece."""
        here = mapped()
        here.asks(request(1, 5, b"x"))
        (data,) = self.answers("emsmdb")
        self.assertEqual([here.got(data[:60]), here.got(data[60:])], [data[:60], data[60:]])

    def test_other_interfaces(self) -> None:
        """Operations 2 and 3 of another interface are no business of the mapper's."""
        here = mapped()
        here.asks(request(1, MAP, b"x", context=7))
        (data,) = self.answers("emsmdb")
        self.assertEqual(here.got(data), data)

    def test_alter_context(self) -> None:
        """A context that is added later counts, in its own syntax."""
        here = mapped()
        alter = binding.bind(2, 0, (Context(1, EPM.uuid, 3, 0, (NDR64,)),), 14)
        here.asks(alter)
        here.says(binding.ack(2, binding.read_bind(one(alter)), 0, 0, (Result(0, 0, NDR64),), 15))
        here.asks(samples.WIDE_CALL)
        self.assertEqual(places(here.got(samples.WIDE_ANSWER), wide=True), [(6001, HOST)])

    def test_number_used_again(self) -> None:
        """A call's number may be used again, for another operation too."""
        here = mapped()
        for _ in range(3):
            here.asks(request(1, MAP, b"x"))
            self.assertEqual(places(here.got(self.answers("emsmdb")[0])), [(6001, HOST)])
            here.asks(request(1, 5, b"x"))
            (data,) = self.answers("emsmdb")
            self.assertEqual(here.got(data), data)

    def test_number_used_again_too_early(self) -> None:
        """Where a number is used for another call while its answer comes, what was kept is not lost."""
        here = mapped()
        here.asks(request(1, MAP, b"x"))
        first, *rest = pdus(self.answers("emsmdb")[0])
        self.assertEqual(here.got(first.raw), b"")
        here.asks(request(1, 5, b"x"))
        self.assertEqual(here.got(rest[0].raw), first.raw + rest[0].raw)

    def test_orphaned(self) -> None:
        """The answer to a call that was given up is edited all the same, if it comes."""
        here = mapped()
        here.asks(samples.SAMR_CALL)
        here.asks(packed(ORPHANED, 2, b""))
        self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, HOST)])

    def test_calls_in_fragments(self) -> None:
        """A call in fragments is known by its first."""
        here = mapped()
        here.asks(carrier(REQUEST, 1, b"x" * 8, opnum=MAP, flags=FIRST))
        here.asks(carrier(REQUEST, 1, b"x" * 8, opnum=MAP, flags=LAST))
        self.assertEqual(places(here.got(self.answers("emsmdb")[0])), [(6001, HOST)])

    def test_before_the_ack(self) -> None:
        """A call that the client sends with its bind is edited too."""
        here = Talk(mapper(), kind=Epm).opened()
        here.asks(request(1, MAP, b"x"))
        (data,) = self.answers("emsmdb")
        self.assertEqual(here.got(samples.PLAIN_BIND_ACK), samples.PLAIN_BIND_ACK)
        self.assertEqual(places(here.got(data)), [(6001, HOST)])

    def test_asked_on_for_ever(self) -> None:
        """A server that has nothing for a client, and always more, is asked on MOST_TIMES times."""
        here = mapped(others="hide")
        here.asks(lookup_samples.PART_CALL)
        call = pdus(lookup_samples.PART_CALL)[0].header.call
        more = write_answer(LOOKUP, Answer(b"\1" * 20, 2, (Entry(None),), 0), Syntax())
        data = answer(call, more, 4096)
        for _ in range(MOST_TIMES):
            self.assertEqual(here.got(data), b"")
        self.assertEqual(read_answer(LOOKUP, stub_of(here.got(data)), Syntax()).entries, ())

    def test_most_calls(self) -> None:
        """256 calls are waited for; of more, the oldest answers pass as they are."""
        here = mapped()
        for call in range(1, MOST_CALLS + 2):
            here.asks(request(call, MAP, b"x"))
        (data,) = self.answers("emsmdb")
        self.assertEqual(here.got(data), data)
        for call in (2, MOST_CALLS + 1):
            self.assertEqual(places(here.got(self.answers("emsmdb", first=call)[0])), [(6001, HOST)])


class FaultTests(SynchronousTestCase):
    """Calls that end otherwise."""

    def test_fault(self) -> None:
        """A fault passes, and is the end of its call."""
        here = mapped()
        here.asks(samples.SAMR_CALL)
        fault = binding.fault(2, 0, 5)
        self.assertEqual(here.got(fault), fault)
        self.assertEqual(here.got(samples.SAMR_ANSWER), samples.SAMR_ANSWER)

    def test_in_the_middle(self) -> None:
        """A fault after the first fragment: the client gets that too, however the fault is cut."""
        first = pdus(lookup_samples.ALL_ANSWER)[0].raw
        fault = binding.fault(1, 0, 5, executed=True)
        for pieces in every_split(fault):
            here = mapped()
            here.asks(lookup_samples.ALL_CALL)
            self.assertEqual(here.got(first), b"")
            self.assertEqual(b"".join(here.got(piece) for piece in pieces), first + fault)
            # Its number is free again.
            here.asks(lookup_samples.ALL_CALL)
            self.assertEqual(here.got(first), b"")

    def test_lost_in_the_middle(self) -> None:
        """A server that is lost with half an answer kept here leaves a fault for the call."""
        here = mapped()
        here.asks(lookup_samples.ALL_CALL)
        here.says(pdus(lookup_samples.ALL_ANSWER)[0].raw)
        actions = here.on(Lost(BACKEND, "reset"))
        self.assertEqual([(pdu.header.kind, pdu.header.call) for pdu in told(actions)], [(FAULT, 1)])
        self.assertEqual(actions[-1], Hangup("server reset"))

    def test_limit(self) -> None:
        """An answer of more than limits.reassembly bytes ends the connection, with a fault for the call."""
        here = mapped(Limits(reassembly=5000))
        here.asks(lookup_samples.ALL_CALL)
        self.assertNotEqual(here.got(lookup_samples.ALL_ANSWER), b"")
        here = mapped(Limits(reassembly=4875))
        here.asks(lookup_samples.ALL_CALL)
        actions = here.says(lookup_samples.ALL_ANSWER)
        self.assertEqual([pdu.header.kind for pdu in told(actions)], [FAULT])
        self.assertRegex(reason(actions) or "", r"more than limits\.reassembly \(4875\)")

    def test_out_of_order(self) -> None:
        """An answer without a begin ends the connection."""
        here = mapped()
        here.asks(lookup_samples.ALL_CALL)
        actions = here.says(pdus(lookup_samples.ALL_ANSWER)[1].raw)
        self.assertRegex(reason(actions) or "", "no fragment of its call")
