"""protocols.msrpc.calling: what one connection is about."""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc import binding
from protocols.msrpc.binding import (
    ACCEPTED,
    NDR32,
    NDR64,
    REJECTED,
    Ack,
    Bind,
    Context,
    Result,
    read_ack,
    read_bind,
)
from protocols.msrpc.calling import (
    MOST_BINDS,
    MOST_CALLS,
    MOST_CONTEXTS,
    MOST_OPERATIONS,
    Accepted,
    Calling,
)
from protocols.msrpc.names import EPM, KNOWN
from protocols.msrpc.pdu import FAULT, FIRST, LAST, MAYBE, ORPHANED, REQUEST, RESPONSE
from tests.msrpc import protected_samples, samples
from tests.msrpc.support import carrier, one, packed, request

PLAIN = one(samples.PLAIN_BIND)


def agreed(*names: str) -> Calling:
    """A connection with these interfaces, the first one's context being 0."""
    calling = Calling()
    contexts = tuple(
        Context(number, known.uuid, known.major, known.minor, (NDR32,))
        for number, known in enumerate(KNOWN[name] for name in names)
    )
    calling.offered(1, Bind(5840, 5840, 0, contexts), PLAIN)
    calling.agreed(1, Ack(5840, 5840, 0x77, tuple(Result(ACCEPTED, 0, NDR32) for _ in names)))
    return calling


class AgreementTests(SynchronousTestCase):
    """Binds and their answers."""

    def test_real_one(self) -> None:
        """A bind and its answer: the group, and a context in force."""
        calling = Calling()
        calling.offered(1, read_bind(PLAIN), PLAIN)
        self.assertTrue(calling.busy)
        self.assertTrue(calling.agreed(1, read_ack(one(samples.PLAIN_BIND_ACK))))
        self.assertEqual((calling.group, calling.interfaces, calling.busy), (0xF8BC, ["epmapper"], False))
        self.assertEqual(calling.accepted(0), Accepted(EPM.uuid, False))

    def test_ndr64(self) -> None:
        """Of several contexts that one is in force that was accepted, in the syntax that was chosen."""
        calling = Calling()
        bind = one(samples.WIDE_BIND)
        calling.offered(1, read_bind(bind), bind)
        calling.agreed(1, read_ack(one(samples.WIDE_BIND_ACK)))
        self.assertEqual([calling.accepted(n) for n in range(3)], [None, Accepted(EPM.uuid, True), None])

    def test_not_offered(self) -> None:
        """An answer to nothing says nothing, and neither does a second answer."""
        calling = agreed("emsmdb")
        self.assertFalse(calling.agreed(1, Ack(0, 0, 0x88, ())))
        self.assertFalse(calling.agreed(9, Ack(0, 0, 0x88, ())))
        self.assertEqual(calling.group, 0x77)

    def test_more_contexts(self) -> None:
        """An alter_context adds to them; its answer may leave the group out."""
        calling = agreed("emsmdb")
        context = Context(5, KNOWN["async-emsmdb"].uuid, 0, 1, (NDR64,))
        calling.offered(2, Bind(0, 0, 0x77, (context,)), PLAIN)
        self.assertTrue(calling.agreed(2, Ack(0, 0, 0, (Result(ACCEPTED, 0, NDR64),))))
        self.assertEqual(calling.interfaces, ["emsmdb", "async-emsmdb"])
        self.assertEqual((calling.group, calling.accepted(5).wide), (0x77, True))  # type: ignore[union-attr]

    def test_lengths_that_differ(self) -> None:
        """More results than contexts, or less, are no matter."""
        calling = Calling()
        calling.offered(1, read_bind(PLAIN), PLAIN)
        self.assertTrue(
            calling.agreed(1, Ack(0, 0, 1, (Result(REJECTED, 1, None), Result(ACCEPTED, 0, NDR32))))
        )
        self.assertEqual(calling.interfaces, [])

    def test_security(self) -> None:
        """Mechanism and level, by name where they have one."""
        for data, text in (
            (protected_samples.SEALED_BIND, "ntlm privacy"),
            (protected_samples.SIGNED_BIND, "spnego integrity"),
        ):
            calling = Calling()
            calling.offered(1, read_bind(one(data)), one(data))
            self.assertEqual(calling.security, text)
        for mechanism, level, text in (
            (68, 6, "netlogon privacy"),
            (16, 2, "kerberos connect"),
            (99, 77, "99 77"),
        ):
            calling = Calling()
            trailer = bytes([mechanism, level, 0, 0, 0, 0, 0, 0, 1])
            calling.offered(1, read_bind(PLAIN), one(carrier(RESPONSE, 1, trailer=trailer)))
            self.assertEqual(calling.security, text)
        self.assertIsNone(agreed("nspi").security)

    def test_most_binds(self) -> None:
        """16 binds without an answer are remembered, the oldest goes for the next."""
        calling = Calling()
        for call in range(MOST_BINDS + 1):
            calling.offered(call, read_bind(PLAIN), PLAIN)
        self.assertFalse(calling.agreed(0, Ack(0, 0, 1, ())))
        for call in range(1, MOST_BINDS + 1):
            self.assertTrue(calling.agreed(call, Ack(0, 0, 1, ())))

    def test_most_contexts(self) -> None:
        """256 contexts are in force, no more."""
        calling = Calling()
        for number in range(MOST_CONTEXTS + 1):
            calling.offered(1, Bind(0, 0, 0, (Context(number, EPM.uuid, 3, 0, (NDR32,)),)), PLAIN)
            calling.agreed(1, Ack(0, 0, 0, (Result(ACCEPTED, 0, NDR32),)))
        self.assertIsNotNone(calling.accepted(MOST_CONTEXTS - 1))
        self.assertIsNone(calling.accepted(MOST_CONTEXTS))


class CallTests(SynchronousTestCase):
    """Requests, and what ends them."""

    def test_counted(self) -> None:
        """A call is counted by interface and operation, and has a name for counts."""
        calling = agreed("emsmdb", "async-emsmdb")
        self.assertEqual(calling.asked(one(request(2, 10))), "rpc_emsmdb_opnum_10")
        self.assertEqual(calling.asked(one(request(3, 11))), "rpc_emsmdb_opnum_11")
        self.assertEqual(calling.asked(one(request(4, 11))), "rpc_emsmdb_opnum_11")
        self.assertEqual(calling.asked(one(request(5, 0, context=1))), "rpc_async_emsmdb_opnum_0")
        self.assertEqual(calling.operations, {"emsmdb": {"10": 1, "11": 2}, "async-emsmdb": {"0": 1}})
        self.assertEqual(calling.calls, {2: 0, 3: 0, 4: 0, 5: 1})

    def test_fragments(self) -> None:
        """A call in fragments is one call; only the last fragment of its answer ends it."""
        calling = agreed("emsmdb")
        self.assertIsNotNone(calling.asked(one(carrier(REQUEST, 2, flags=FIRST))))
        for flags in (0, LAST):
            self.assertIsNone(calling.asked(one(carrier(REQUEST, 2, flags=flags))))
        calling.answered(one(carrier(RESPONSE, 2, flags=FIRST)).header)
        self.assertTrue(calling.busy)
        calling.answered(one(carrier(RESPONSE, 2, flags=LAST)).header)
        self.assertEqual((calling.busy, calling.operations), (False, {"emsmdb": {"0": 1}}))

    def test_ends(self) -> None:
        """A fault ends a call as an answer does, and so does a client that gives it up."""
        calling = agreed("emsmdb")
        for end in (one(binding.fault(2, 0, 5)).header, one(carrier(RESPONSE, 2)).header):
            calling.asked(one(request(2, 1)))
            calling.answered(end)
            self.assertFalse(calling.busy)
        calling.asked(one(request(2, 1)))
        calling.abandoned(one(packed(ORPHANED, 2, b"")).header)
        self.assertFalse(calling.busy)
        self.assertEqual(FAULT, one(binding.fault(2, 0, 5)).header.kind)

    def test_waiting(self) -> None:
        """A call that waits for news is no work under way; one in a context that nobody knows is."""
        calling = agreed("emsmdb", "async-emsmdb")
        calling.asked(one(request(2, 0, context=1)))
        self.assertEqual((calling.busy, calling.calls), (False, {2: 1}))
        self.assertIsNone(calling.asked(one(request(3, 0, context=9))))
        self.assertTrue(calling.busy)

    def test_maybe(self) -> None:
        """A call that wants no answer is counted, and not waited for."""
        calling = agreed("emsmdb")
        self.assertIsNotNone(calling.asked(one(carrier(REQUEST, 2, flags=FIRST | LAST | MAYBE))))
        self.assertEqual((calling.busy, calling.calls), (False, {}))

    def test_strange_interfaces(self) -> None:
        """Interfaces without a name are counted together, so that nobody can make up counts."""
        calling = Calling()
        for number in (0, 1):
            uuid = UUID(int=number + 1)
            calling.offered(1, Bind(0, 0, 0, (Context(number, uuid, 1, 0, (NDR32,)),)), PLAIN)
            calling.agreed(1, Ack(0, 0, 0, (Result(ACCEPTED, 0, NDR32),)))
            self.assertEqual(calling.asked(one(request(2, 7, context=number))), "rpc_other_opnum_7")
        self.assertEqual(calling.operations, {"other": {"7": 2}})
        self.assertEqual(calling.interfaces, [str(UUID(int=1)), str(UUID(int=2))])

    def test_most_calls(self) -> None:
        """1024 calls without an answer are remembered, the oldest goes for the next."""
        calling = agreed("emsmdb")
        for call in range(MOST_CALLS + 1):
            calling.asked(one(request(call, 0)))
        self.assertEqual(len(calling.calls), MOST_CALLS)
        self.assertNotIn(0, calling.calls)

    def test_most_operations(self) -> None:
        """256 operations of an interface are counted by number, all others together."""
        calling = agreed("emsmdb")
        for opnum in range(MOST_OPERATIONS + 2):
            name = calling.asked(one(request(opnum, opnum)))
            shown = opnum if opnum < MOST_OPERATIONS else "other"
            self.assertEqual(name, f"rpc_emsmdb_opnum_{shown}")
        counts = calling.operations["emsmdb"]
        self.assertEqual((len(counts), counts["255"], counts["other"]), (MOST_OPERATIONS + 1, 1, 2))
        calling.asked(one(request(1, 255)))
        self.assertEqual(counts["255"], 2)
