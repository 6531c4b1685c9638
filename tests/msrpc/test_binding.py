"""protocols.msrpc.binding: binds, their answers, refusals and faults."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc import binding
from protocols.msrpc.binding import (
    ACCEPTED,
    LIMIT_EXCEEDED,
    MOST_CONTEXTS,
    NDR32,
    NDR64,
    NEGOTIATED,
    NO_TRANSFER,
    REJECTED,
    Ack,
    Bind,
    Context,
    Result,
    read_ack,
    read_bind,
    read_nak,
)
from protocols.msrpc.names import EPM, KNOWN
from protocols.msrpc.pdu import (
    ALTER_CONTEXT,
    ALTER_CONTEXT_RESPONSE,
    BIND,
    BIND_ACK,
    BIND_NAK,
    DID_NOT_EXECUTE,
    FAULT,
    Malformed,
    Pdu,
)
from tests.msrpc import protected_samples, samples
from tests.msrpc.support import one, packed

FEATURES = UUID("6cb71c2c-9812-4540-0300-000000000000")
PLAIN = Context(0, EPM.uuid, 3, 0, (NDR32,))


class ReadBindTests(SynchronousTestCase):
    """What clients offer."""

    def test_plain(self) -> None:
        """One context in NDR, a new group."""
        self.assertEqual(read_bind(one(samples.PLAIN_BIND)), Bind(4280, 4280, 0, (PLAIN,)))

    def test_big_endian(self) -> None:
        """A big-endian bind turns UUIDs and all numbers round; the time features stay as they are."""
        little, big = (read_bind(one(data)) for data in (samples.TORTURE_BIND, samples.BIG_BIND))
        self.assertEqual(little, big)
        self.assertEqual(big.contexts, (PLAIN, Context(1, EPM.uuid, 3, 0, (FEATURES,))))
        self.assertTrue(FEATURES.bytes_le.startswith(binding.FEATURES))

    def test_versions(self) -> None:
        """Major and minor version are halves of one integer."""
        made = binding.bind(1, 0, (Context(4, KNOWN["emsmdb"].uuid, 0, 81, (NDR32,)),))
        self.assertEqual(made[48:52], bytes([0, 0, 81, 0]))
        (found,) = read_bind(one(made)).contexts
        self.assertEqual((found.number, found.major, found.minor), (4, 0, 81))

    def test_three_contexts(self) -> None:
        """NDR, NDR64 and the time features, as Windows offers them."""
        found = read_bind(one(samples.WIDE_BIND))
        self.assertEqual([each.transfers for each in found.contexts], [(NDR32,), (NDR64,), (FEATURES,)])
        self.assertEqual((found.send, found.receive), (5840, 8192))

    def test_groups(self) -> None:
        """A bind names the group to join, and so does each alter_context."""
        self.assertEqual(read_bind(one(samples.JOIN_BIND)).group, 0x374D)
        self.assertEqual(read_bind(one(samples.ALTER)).group, 0x7B3B)
        self.assertEqual(read_bind(one(protected_samples.WRONG_SERVER_BIND)).group, 0x4E49)

    def test_most_contexts(self) -> None:
        """64 contexts are read, 65 are not."""
        contexts = [Context(n, EPM.uuid, 3, 0, ()) for n in range(MOST_CONTEXTS + 1)]
        self.assertEqual(len(read_bind(one(binding.bind(1, 0, tuple(contexts[:-1])))).contexts), 64)
        with self.assertRaisesRegex(Malformed, "^a bind with 65 contexts$"):
            read_bind(one(binding.bind(1, 0, tuple(contexts))))

    def test_truncated(self) -> None:
        """A bind that ends anywhere in its parts is Malformed, and its call can be refused."""
        for data, little in ((samples.WIDE_BIND, True), (samples.BIG_BIND, False)):
            for end in range(16, len(data)):
                with self.assertRaisesRegex(Malformed, "^a bind is cut short$") as caught:
                    read_bind(one(packed(BIND, 7, data[16:end], little=little)))
                assert caught.exception.header is not None
                self.assertEqual(caught.exception.header.call, 7)


class ReadAckTests(SynchronousTestCase):
    """What servers answer."""

    def test_accepted(self) -> None:
        """The group, and a result for each context."""
        self.assertEqual(
            read_ack(one(samples.PLAIN_BIND_ACK)), Ack(4280, 4280, 0xF8BC, (Result(ACCEPTED, 0, NDR32),))
        )

    def test_rejected(self) -> None:
        """NDR64 is refused; the time features are answered with those in common."""
        self.assertEqual(
            read_ack(one(samples.WIDE_REJECTION)).results,
            (Result(REJECTED, NO_TRANSFER, None), Result(NEGOTIATED, 3, None)),
        )

    def test_ndr64(self) -> None:
        """The transfer syntax that was chosen; a secondary address of 5 bytes is filled up to 4."""
        found = read_ack(one(samples.WIDE_BIND_ACK))
        self.assertEqual([each.transfer for each in found.results], [None, NDR64, None])

    def test_alter_context(self) -> None:
        """The answer to an alter_context has no secondary address."""
        self.assertEqual(read_ack(one(samples.ALTER_ACK)).results, (Result(ACCEPTED, 0, NDR32),))

    def test_protected(self) -> None:
        """An authentication token behind it does no harm."""
        self.assertEqual(read_ack(one(protected_samples.SIGNED_BIND_ACK)).results[0].transfer, NDR32)

    def test_truncated(self) -> None:
        """An answer that ends anywhere in its parts is Malformed."""
        data = samples.WIDE_BIND_ACK
        for end in range(16, len(data)):
            with self.assertRaisesRegex(Malformed, "^a bind_ack is cut short$"):
                read_ack(one(packed(BIND_ACK, 1, data[16:end])))

    def test_nak(self) -> None:
        """The reason of a refusal, and a refusal without one."""
        self.assertEqual(read_nak(one(samples.STRANGE_BIND_NAK)), 0)
        self.assertEqual(read_nak(one(binding.nak(1, LIMIT_EXCEEDED))), 2)
        with self.assertRaisesRegex(Malformed, "^a bind_nak is cut short$"):
            read_nak(one(packed(BIND_NAK, 1, b"\0")))

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=200), st.booleans())
    def test_rubbish(self, body: bytes, little: bool) -> None:
        """Any bytes are read, or Malformed."""
        readers: list[tuple[int, Callable[[Pdu], object]]] = [
            (BIND, read_bind),
            (ALTER_CONTEXT, read_bind),
            (BIND_ACK, read_ack),
            (BIND_NAK, read_nak),
        ]
        for kind, read in readers:
            with contextlib.suppress(Malformed):
                read(one(packed(kind, 1, body, little=little)))


CONTEXTS = st.builds(
    Context,
    st.integers(0, 0xFFFF),
    st.uuids(),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.lists(st.sampled_from([NDR32, NDR64]), max_size=3).map(tuple),
)
RESULTS = st.one_of(
    st.builds(Result, st.just(ACCEPTED), st.just(0), st.sampled_from([NDR32, NDR64])),
    st.builds(Result, st.sampled_from([REJECTED, NEGOTIATED]), st.integers(0, 0xFFFF), st.none()),
)


class WriteTests(SynchronousTestCase):
    """PDUs of our own."""

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.lists(CONTEXTS, max_size=5))
    def test_bind(self, call: int, group: int, contexts: list[Context]) -> None:
        """What is offered is read again, in a bind and in an alter_context."""
        for kind in (BIND, ALTER_CONTEXT):
            pdu = one(binding.bind(call, group, tuple(contexts), kind))
            self.assertEqual((pdu.header.kind, pdu.header.call), (kind, call))
            self.assertEqual(read_bind(pdu), Bind(5840, 5840, group, tuple(contexts)))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 0xFFFF), st.lists(RESULTS, max_size=5))
    def test_ack(self, port: int, results: list[Result]) -> None:
        """What is answered is read again, whatever the length of the secondary address."""
        offered = Bind(1432, 4280, 0, ())
        for kind in (BIND_ACK, ALTER_CONTEXT_RESPONSE):
            found = read_ack(one(binding.ack(5, offered, 9, port, tuple(results), kind)))
            self.assertEqual(found, Ack(4280, 1432, 9, tuple(results)))

    def test_as_a_server_writes_it(self) -> None:
        """Our bind_ack and alter_context_resp are Samba's, byte for byte."""
        accepted = (Result(ACCEPTED, 0, NDR32),)
        bind, alter = read_bind(one(samples.PLAIN_BIND)), read_bind(one(samples.ALTER))
        self.assertEqual(binding.ack(1, bind, 0xF8BC, 135, accepted), samples.PLAIN_BIND_ACK)
        call = one(samples.ALTER).header.call
        self.assertEqual(
            binding.ack(call, alter, 0x7B3B, 0, accepted, ALTER_CONTEXT_RESPONSE), samples.ALTER_ACK
        )

    def test_nak(self) -> None:
        """A refusal names the one protocol version that is spoken."""
        self.assertEqual(
            binding.nak(3, 1), bytes.fromhex("05000d031000000018000000030000000100 01 0500 000000")
        )

    def test_fault(self) -> None:
        """A fault says of which call and context it is, its status, and that nothing was executed."""
        pdu = one(binding.fault(7, 2, binding.TOO_BUSY))
        self.assertEqual((pdu.header.kind, pdu.header.call, pdu.context), (FAULT, 7, 2))
        self.assertEqual(pdu.unpack("I", 24), (0x1C010014,))
        self.assertTrue(pdu.header.flags & DID_NOT_EXECUTE)
        self.assertEqual(len(pdu.raw), len(samples.NO_CONTEXT_FAULT))

    def test_fault_of_what_may_have_been_done(self) -> None:
        """Where a call may have been carried out, the flag is not there."""
        pdu = one(binding.fault(7, 2, binding.COMM_FAILURE, executed=True))
        self.assertFalse(pdu.header.flags & DID_NOT_EXECUTE)

    def test_as_a_server_faults(self) -> None:
        """Our fault for an unknown context is Samba's, byte for byte but for a hint at its size."""
        theirs = one(samples.NO_CONTEXT_FAULT)
        ours = binding.fault(theirs.header.call, theirs.context, binding.UNKNOWN_INTERFACE)
        self.assertEqual(ours[:16] + theirs.raw[16:20] + ours[20:], theirs.raw)
