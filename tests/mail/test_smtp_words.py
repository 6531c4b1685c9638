"""protocols.mail.smtp_words: the end of a message in all its spellings, and EHLO's list."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.testing import every_split
from protocols.mail.smtp_words import Edits, Message, Reply, edited, keywords, mechanisms

# Nine ways of writing the end of a message; only the last one is one (RFC 5321 4.1.1.4).
ENDS = (
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n", b"\r\n.\r\n",
)  # fmt: skip
SMUGGLED = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<user2@ex.test>\r\nDATA\r\nsmuggled\r\n.\r\n"


class MessageTests(SynchronousTestCase):
    def read(self, pieces: tuple[bytes, ...], strict: bool) -> tuple[bytes, bytes | None, bool]:
        message, taken, rest = Message(strict), b"", None
        for at, piece in enumerate(pieces):
            part, rest = message.feed(piece)
            if message.bare:
                return taken, None, True
            taken += part
            if rest is not None:
                return taken, rest + b"".join(pieces[at + 1 :]), False
        return taken, rest, False

    def test_the_end(self) -> None:
        """CR LF . CR LF ends it, wherever it is cut; what follows is left alone; no other dot is it."""
        for text in (b"Subject: a\r\n\r\nhello\r\n..dot\r\n. x\r\nend.\r\n.\r\n", b".\r\n", b"\r\n.\r\n"):
            for pieces in every_split(text + b"QUIT\r\n"):
                for strict in (True, False):
                    self.assertEqual(self.read(pieces, strict), (text, b"QUIT\r\n", False), pieces)

    def test_smuggling(self) -> None:
        """Eight spellings are no end: strictly they are refused, else they are a part of the message."""
        for end in ENDS[:-1]:
            text = b"Subject: a\r\n\r\nhello" + end + SMUGGLED
            for pieces in every_split(text):
                self.assertTrue(self.read(pieces, True)[2], (end, pieces))
                taken, rest, _ = self.read(pieces, False)
                self.assertEqual((taken, rest), (text, b""), (end, pieces))

    def test_nothing_behind_a_bare_one_passes(self) -> None:
        """What a chunk with a bare LF brings is not passed on, so no server can find an end in it."""
        taken, _, bare = self.read((b"one\r\n", b"two\n.\nMAIL"), True)
        self.assertEqual((taken, bare), (b"one\r\n", True))


EHLO = Reply(
    250,
    (
        b"250-exch1.ex.test Hello",
        b"250-SIZE 37748736",
        b"250-starttls",
        b"250-X-ANONYMOUSTLS",
        b"250-AUTH NTLM LOGIN SCRAM-SHA-256-PLUS",
        b"250-AUTH=LOGIN",
        b"250-X-EXPS GSSAPI NTLM",
        b"250-XCLIENT NAME ADDR",
        b"250-CHUNKING",
        b"250 XSHADOW",
    ),
)


class EhloTests(SynchronousTestCase):
    def words(self, edits: Edits) -> set[bytes]:
        return {line[4:] for line in edited(EHLO, edits).lines[1:]}

    def test_read(self) -> None:
        """Keywords in any case; the mechanisms are those of AUTH."""
        found = keywords(EHLO)
        self.assertEqual(found[b"STARTTLS"], b"")
        self.assertEqual(mechanisms(found), {b"NTLM", b"LOGIN", b"SCRAM-SHA-256-PLUS"})

    def test_left_alone(self) -> None:
        """What would let a client be somebody else, or begin TLS past exproxy, goes; all else stays."""
        self.assertEqual(
            self.words(Edits(None, True)),
            {b"SIZE 37748736", b"starttls", b"AUTH NTLM LOGIN", b"AUTH=LOGIN", b"CHUNKING"},
        )

    def test_before_tls(self) -> None:
        """STARTTLS is offered once, and no login."""
        self.assertEqual(self.words(Edits(True, False)), {b"SIZE 37748736", b"starttls", b"CHUNKING"})
        bare = Reply(250, (b"250 exch1",))
        self.assertEqual(edited(bare, Edits(True, False)).lines, (b"250-exch1", b"250 STARTTLS"))

    def test_after_tls(self) -> None:
        """STARTTLS is gone; a reply of one line stays one."""
        self.assertNotIn(b"starttls", self.words(Edits(False, True)))
        self.assertEqual(edited(Reply(250, (b"250 exch1",)), Edits(False, True)).lines, (b"250 exch1",))

    def test_offered_and_hidden(self) -> None:
        """The administrator's own: added where it is not there, taken out, a mechanism too."""
        words = self.words(Edits(False, True, (b"SIZE 10", b"DSN"), {b"CHUNKING", b"NTLM"}))
        self.assertEqual(words, {b"SIZE 37748736", b"AUTH LOGIN", b"AUTH=LOGIN", b"DSN"})
