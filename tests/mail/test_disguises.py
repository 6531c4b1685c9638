"""Mail in the path: commands in disguise, floods, ends in the midst, and what is forgotten."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy import events
from exproxy.actions import Hold
from exproxy.model import BACKEND, CLIENT
from exproxy.settings import Limits
from protocols.mail.imap_alone import Imap
from protocols.mail.options import ImapOptions
from tests.mail.dialogues import Played, served
from tests.mail.test_imap_path import GREETING, alone, greeted, logged_in
from tests.mail.test_pop_path import greeted as pop_greeted
from tests.mail.test_smtp_path import in_data, ready


class SmtpTests(SynchronousTestCase):
    def test_blanks(self) -> None:
        """A command behind a blank, or with a tab for one, is none; Postfix would carry it out."""
        for line in (
            b" XCLIENT ADDR=192.0.2.9",
            b"XCLIENT\tADDR=192.0.2.9",
            b"\tDATA",
            b"AUTH\x0bPLAIN",
            b"",
        ):
            said, sent = ready().client(line + b"\r\n")
            self.assertEqual((said, sent), (b"500 5.5.2 Error: bad syntax\r\n", b""), line)

    def test_flood(self) -> None:
        """A server that talks into a message is not read beyond what may be held back."""
        played = in_data()
        for _ in range(20):
            played.server(b"250 I see\r\n" * 1000)
        self.assertEqual(played.look(Hold), [Hold(BACKEND)])

    def test_long_line(self) -> None:
        """A line may be longer than what is held back while a server is chosen."""
        played = ready(limits=Limits(max_held=100, line=100_000))
        line = b"NOOP " + b"x" * 90_000 + b"\r\n"
        played.client(line[:-1])
        self.assertEqual(played.look(Hold), [])
        self.assertEqual(played.client(line[-1:])[1], line)


class ImapTests(SynchronousTestCase):
    def test_claims_in_disguise(self) -> None:
        """Neither can it by spelling a field with a backslash, which servers take away."""
        for field in (rb'"\x-originating-ip"', rb'"x\-originating-ip"'):
            said, sent = greeted().client(b"a ID (" + field + b' "192.0.2.9")\r\n')
            self.assertEqual((said, sent), (b"* ID NIL\r\na OK ID completed\r\n", b""))

    def test_drained_before_it_began(self) -> None:
        """A service that stops during a client's first handshake lets it go behind that."""
        played = Played(Imap, served(ImapOptions(routing="user"), "implicit", port=143), port=143)
        played.on(events.Draining(30.0))
        self.assertIn(b"* BYE [UNAVAILABLE]", played.begin())

    def test_text_that_looks_like_a_literal(self) -> None:
        """What a server says to people at the end of a command announces no literal."""
        played = logged_in()
        played.client(b"b SELECT {5\r\n")
        played.server(b"b NO no such mailbox: {5}\r\n")
        played.client(b"c NOOP\r\n")
        played.server(b"c OK\r\n")
        self.assertIn(b"* BYE", played.on(events.Draining(30.0))[0])

    def test_client_ends_within(self) -> None:
        """A client that ends in the midst of a command is not waited for."""
        played = logged_in()
        played.client(b"b APPEND INBOX {100}\r\n")
        played.server(b"+ go\r\n")
        played.client(b"half")
        played.on(events.Eof(CLIENT))
        self.assertEqual(played.over, "client closed")

    def test_secrets_are_forgotten(self) -> None:
        """Behind a failed login nothing of the waiting dialogue knows the password any more."""
        played = alone()
        played.client(b"a LOGIN anna secret\r\n")
        played.connect()
        for line in (GREETING, b"exproxy OK\r\n", b"a NO wrong\r\n"):
            played.server(line)
        self.assertIn(b"a NO wrong", played.script.client)
        story = played.script.conversation._story
        while story is not None:
            self.assertNotIn("secret", repr(story.gi_frame.f_locals))
            story = story.gi_yieldfrom


class PopTests(SynchronousTestCase):
    def test_blanks(self) -> None:
        """A command behind a blank is none here either."""
        for line in (b" XCLIENT ADDR=192.0.2.9", b"XCLIENT\tADDR=192.0.2.9", b" AUTH PLAIN AGEAYg=="):
            said, sent = pop_greeted().client(line + b"\r\n")
            self.assertEqual((said, sent), (b"-ERR Unknown command\r\n", b""), line)


class BeyondTests(SynchronousTestCase):
    def test_behind_a_request_on_its_way(self) -> None:
        """A client's STARTTLS goes to its server; commands that come before that has agreed end it all."""
        for played, request, agreed in (
            (ready(), b"STARTTLS", b"220 go"),
            (greeted(), b"a STARTTLS", b"a OK go"),
            (pop_greeted(), b"STLS", b"+OK go"),
        ):
            self.assertEqual(played.client(request + b"\r\n")[1], request + b"\r\n")
            played.client(b"MAIL FROM:<evil@x.test>\r\n")
            self.assertEqual(played.server(agreed + b"\r\n")[1], b"")
            self.assertEqual(played.over, "refused: plain text behind STARTTLS")
            self.assertIn("starttls_injections", played.counted())
