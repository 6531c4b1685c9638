from typing import Any

from twisted.mail.imap4 import IllegalClientResponse, parseNestedParens
from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab.search import Candidate, search_test
from exproxy.lab.store import Message

RAW = b"From: Anna <anna@litware.test>\r\nSubject: The Plan\r\nX-Mark: blue\r\n\r\nHello Bob\r\n"
CANDIDATE = Candidate(Message(7, RAW, 86400.0 * 365, {"\\Seen"}), 2, 3, 9)


def found(query: bytes) -> Any:
    return search_test(parseNestedParens(query))(CANDIDATE)


class SearchTests(SynchronousTestCase):
    def test_true(self) -> None:
        """Every one of these keys matches the message."""
        for query in (
            b"ALL",
            b"SEEN",
            b"UNFLAGGED",
            b"OLD",
            b"2:*",
            b"1,2",
            b"UID 7",
            b"UID 5:*",
            b'FROM "ANNA"',
            b"SUBJECT plan",
            b"HEADER x-mark blue",
            b"BODY hello",
            b"TEXT litware",
            b"NOT NEW",
            b"OR UNSEEN SUBJECT plan",
            b"(SEEN (ALL) NOT BODY litware)",
            b"LARGER 10 SMALLER 1000",
            b"SINCE 1-Jan-1971 BEFORE 2-Jan-1971 ON 1-Jan-1971",
        ):
            self.assertTrue(found(query), query)

    def test_false(self) -> None:
        """None of these does."""
        for query in (
            b"UNSEEN",
            b"3",
            b"UID 8:*",
            b"SUBJECT x",
            b"OR NEW BODY x",
            b"NOT ALL",
            b"LARGER 1000",
        ):
            self.assertFalse(found(query), query)

    def test_bad(self) -> None:
        """A bad query is the client's error."""
        for query in (b"NONSENSE", b"NOT", b"SUBJECT", b"SUBJECT (a b)", b"ON yesterday", b"LARGER x"):
            self.assertRaises(IllegalClientResponse, found, query)
