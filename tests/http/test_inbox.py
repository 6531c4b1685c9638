"""What a client has sent ahead."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import every_split
from protocols.http.faults import BadMessage, HeadTooLarge
from protocols.http.inbox import Inbox
from protocols.http.limits import DEFAULT_LIMITS, MessageLimits
from tests.http.support import GET, post


class InboxTests(SynchronousTestCase):
    """Bytes in, heads out."""

    def test_every_split(self) -> None:
        """However the bytes come, the head is the same and what follows it stays."""
        for pieces in every_split(post(b"body")):
            inbox = Inbox(DEFAULT_LIMITS)
            heads = []
            for piece in pieces:
                inbox.put(piece)
                if not heads and (head := inbox.head()) is not None:
                    heads.append(head)
            self.assertEqual([head.raw for head in heads], [post(b"", length=4)])
            self.assertEqual(inbox.take(), b"body")
            self.assertFalse(inbox)

    def test_several(self) -> None:
        """One head after the other."""
        inbox = Inbox(DEFAULT_LIMITS)
        inbox.put(GET * 3 + b"GE")
        self.assertEqual([inbox.head() is None for _ in range(4)], [False, False, False, True])
        self.assertEqual(len(inbox), 2)
        self.assertEqual(inbox.take(), b"GE")

    def test_limits(self) -> None:
        """Its limit is the head's."""
        inbox = Inbox(MessageLimits(head=64))
        inbox.put(GET[:-2] + b"X: " + b"a" * 64)
        self.assertRaises(HeadTooLarge, inbox.head)

    def test_rubbish(self) -> None:
        """What can be no head is refused at its first strange byte."""
        inbox = Inbox(DEFAULT_LIMITS)
        for byte in b"GE":
            inbox.put(bytes((byte,)))
            self.assertIsNone(inbox.head())
        inbox.put(b"\0")
        self.assertRaises(BadMessage, inbox.head)
