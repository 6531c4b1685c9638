"""protocols.msrpc.fragments: calls put together, and written back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.fragments import MOST_FRAGMENTS, Fragments, TooLarge, cut_anew, join, put_back
from protocols.msrpc.pdu import CALL_HEADER, FAULT, FIRST, LAST, REQUEST, RESPONSE, Malformed
from tests.msrpc import protected_samples, samples
from tests.msrpc.lookup_samples import ALL_ANSWER
from tests.msrpc.support import CONNECT, answer, carrier, one, pdus, stub_of

LIMIT = 4 * 1024 * 1024


class AddTests(SynchronousTestCase):
    """Fragments come in."""

    def setUp(self) -> None:
        self.fragments = Fragments(LIMIT)

    def test_one(self) -> None:
        """A call in one fragment is whole at once, and nothing is kept."""
        pdu = one(samples.SAMR_CALL)
        self.assertEqual(self.fragments.add(pdu), [pdu])
        self.assertEqual(len(self.fragments), 0)

    def test_two(self) -> None:
        """The two fragments of a real answer."""
        first, last = pdus(ALL_ANSWER)
        self.assertIsNone(self.fragments.add(first))
        self.assertEqual(len(self.fragments), 1)
        self.assertEqual(self.fragments.add(last), [first, last])
        self.assertEqual(len(self.fragments), 0)

    def test_interleaved(self) -> None:
        """Fragments of several calls may be mixed."""
        one_call, other = pdus(answer(1, bytes(range(40)), 16)), pdus(answer(2, bytes(40), 16))
        found = [self.fragments.add(each) for pair in zip(one_call, other, strict=True) for each in pair]
        self.assertEqual([each for each in found if each], [one_call, other])

    def test_out_of_order(self) -> None:
        """A fragment without a begin, or a second begin, is no fragment of its call."""
        first, last = pdus(ALL_ANSWER)
        with self.assertRaisesRegex(Malformed, "^a response that is no fragment of its call$") as caught:
            self.fragments.add(last)
        self.assertEqual(caught.exception.header, last.header)
        self.fragments.add(first)
        with self.assertRaisesRegex(Malformed, "no fragment of its call$"):
            self.fragments.add(first)

    def test_unlike_its_begin(self) -> None:
        """A call keeps its byte order and its type."""
        for kind, little in ((RESPONSE, False), (REQUEST, True), (FAULT, True)):
            fragments = Fragments(LIMIT)
            fragments.add(one(carrier(RESPONSE, 1, b"x" * 8, flags=FIRST)))
            with self.assertRaisesRegex(Malformed, "unlike the begin of its call$"):
                fragments.add(one(carrier(kind, 1, b"x" * 8, flags=LAST, little=little)))

    def test_limit(self) -> None:
        """All that is kept together has limits.reassembly bytes at the most, headers counted."""
        size = len(carrier(RESPONSE, 1, bytes(76)))
        self.assertEqual(size, 100)
        fragments = Fragments(300)
        for call in (1, 2, 3):
            fragments.add(one(carrier(RESPONSE, call, bytes(76), flags=FIRST)))
        with self.assertRaisesRegex(
            TooLarge, r"^calls in fragments of more than limits\.reassembly \(300\) bytes$"
        ):
            fragments.add(one(carrier(RESPONSE, 4, flags=FIRST)))

    def test_room_again(self) -> None:
        """What is complete or given up makes room."""
        fragments = Fragments(250)
        for _ in range(5):
            fragments.add(one(carrier(RESPONSE, 1, bytes(76), flags=FIRST)))
            fragments.add(one(carrier(RESPONSE, 1, bytes(76), flags=LAST)))
            fragments.add(one(carrier(RESPONSE, 1, bytes(76), flags=FIRST)))
            self.assertEqual(len(fragments.drop(1)), 1)
        self.assertEqual(fragments.drop(1), [])

    def test_most_fragments(self) -> None:
        """However small they are, so many are kept and no more."""
        tiny = one(carrier(RESPONSE, 1, flags=0))
        self.fragments.add(one(carrier(RESPONSE, 1, flags=FIRST)))
        for _ in range(MOST_FRAGMENTS - 1):
            self.assertIsNone(self.fragments.add(tiny))
        with self.assertRaisesRegex(TooLarge, "^calls in more than 4096 fragments$"):
            self.fragments.add(tiny)
        self.fragments.drop(1)
        self.assertIsNone(self.fragments.add(one(carrier(RESPONSE, 1, flags=FIRST))))


class JoinTests(SynchronousTestCase):
    """One stub out of fragments, and back."""

    def test_join(self) -> None:
        """The stub is what stands between headers and trailers."""
        self.assertEqual(join(pdus(ALL_ANSWER)), stub_of(ALL_ANSWER))
        self.assertEqual(len(join(pdus(ALL_ANSWER))), 4256 + 572)
        self.assertEqual(join([one(protected_samples.SIGNED_CALL)]), stub_of(protected_samples.SIGNED_CALL))

    def test_put_back(self) -> None:
        """The same stub makes the same bytes."""
        for data in (ALL_ANSWER, samples.SAMR_ANSWER, protected_samples.SIGNED_ANSWER):
            self.assertEqual(put_back(pdus(data), stub_of(data)), data)

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=200), st.integers(1, 10).map(lambda n: 8 * n), st.booleans(), st.booleans())
    def test_any(self, stub: bytes, largest: int, little: bool, protected: bool) -> None:
        """Any stub in any fragments: nothing but the stub changes, and trailers stay."""
        trailer = CONNECT if protected else b""
        data = answer(9, stub, largest, little, trailer)
        self.assertEqual(join(pdus(data)), stub)
        other = bytes(255 - octet for octet in stub)
        self.assertEqual(put_back(pdus(data), other), answer(9, other, largest, little, trailer))


class CutAnewTests(SynchronousTestCase):
    """A stub of another length in fragments like the first one."""

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=300), st.integers(0, 200), st.booleans())
    def test_any(self, stub: bytes, largest: int, little: bool) -> None:
        """The same call, context and byte order; no fragment is too long, all but the last end at 8 bytes."""
        first = one(carrier(RESPONSE, 77, b"whatever", context=3, little=little, flags=FIRST | 0x10))
        made = pdus(cut_anew(first, stub, largest))
        self.assertEqual(join(made), stub)
        for pdu in made:
            self.assertEqual((pdu.header.call, pdu.context, pdu.header.little), (77, 3, little))
            self.assertLessEqual(pdu.header.length, max(largest, CALL_HEADER + 8))
            self.assertTrue(pdu.header.flags & 0x10)
        self.assertEqual([len(pdu.raw) % 8 for pdu in made[:-1]], [0] * (len(made) - 1))
        marks = [pdu.header.flags & (FIRST | LAST) for pdu in made]
        self.assertEqual(marks, [FIRST | LAST] if len(made) == 1 else [FIRST, *[0] * (len(made) - 2), LAST])
        # The hint is what is still to come, as servers have it.
        self.assertEqual(made[0].unpack("I", 16), (len(stub),))

    def test_without_trailers(self) -> None:
        """A trailer of the first is not taken over: it would speak of other bytes."""
        (made,) = pdus(cut_anew(one(carrier(RESPONSE, 1, b"12345678", trailer=CONNECT)), b"1234", 4280))
        self.assertEqual((made.header.auth, made.header.length), (0, CALL_HEADER + 4))

    def test_no_stub(self) -> None:
        """An empty stub is one fragment."""
        (made,) = pdus(cut_anew(one(samples.SAMR_ANSWER), b"", 4280))
        self.assertEqual((made.header.flags, made.header.length), (3, CALL_HEADER))
