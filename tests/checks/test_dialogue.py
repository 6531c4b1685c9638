"""exproxy.checks: questions made of steps, and the two that only reach the server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.actions import Drain, Fail, Outcome, Pass, ToBackend
from exproxy.checks.connect import plugin as connect
from exproxy.checks.dialogue import Dialogue, Expect, Send, seen
from exproxy.checks.tls import plugin as tls
from exproxy.events import Connected, Data, Draining, Eof, Lost
from exproxy.interfaces import IConversation
from exproxy.model import BACKEND
from exproxy.testing import Script, check_check_plugin, every_split, link


def word(data: bytes) -> int | Outcome | None:
    """A line: ``ok`` goes on, ``later`` drains, ``stop`` passes at once, anything else fails."""
    line, end, _ = data.partition(b"\n")
    if not end:
        return None
    outcomes: dict[bytes, int | Outcome] = {b"ok": 3, b"later": Drain("later"), b"stop": Pass("stopped")}
    return outcomes.get(line, Fail("L7STS", "word", seen(line)))


def all_of_it(data: bytes) -> Outcome:
    """Whatever there is at the end."""
    return Pass(data)


class DialogueTests(SynchronousTestCase):
    def asking(self) -> Script:
        """A question of two answers that has just connected."""
        dialogue = Dialogue(Expect("banner", word), Send(b"hello\n"), Expect("hello", word), Send(b"bye\n"))
        verifyObject(IConversation, dialogue)
        script = Script(dialogue)
        self.assertEqual(script.on(Connected(link())), [])
        return script

    def test_every_split(self) -> None:
        """However the answers are cut, each step is taken when its own is there."""
        for pieces in every_split(b"ok\nok\n"):
            script = self.asking()
            for piece in pieces:
                script.on(Data(BACKEND, piece))
            self.assertEqual(script.server, b"hello\nbye\n")
            self.assertEqual(script.steps[-1][1][-1], Pass())

    def test_phase(self) -> None:
        """The phase is the answer that is waited for: what a timeout is told with."""
        dialogue = Dialogue(Expect("banner", word), Send(b"hello\n"), Expect("hello", word))
        self.assertEqual(dialogue.phase, "connect")
        script = Script(dialogue)
        script.on(Connected(link()))
        self.assertEqual(dialogue.phase, "banner")
        self.assertEqual(script.on(Data(BACKEND, b"ok\n")), [ToBackend(b"hello\n")])
        self.assertEqual(dialogue.phase, "hello")

    def test_outcomes(self) -> None:
        """A reading may end the dialogue, well or not; the steps behind it are not taken."""
        for line, outcome in (
            (b"stop\n", Pass("stopped")),
            (b"later\n", Drain("later")),
            (b"no\x07\n", Fail("L7STS", "word", "no\N{REPLACEMENT CHARACTER}")),
        ):
            script = self.asking()
            self.assertEqual(script.on(Data(BACKEND, line)), [outcome])
            self.assertEqual(script.on(Data(BACKEND, b"ok\n")), [])
            self.assertEqual(script.on(Eof(BACKEND)), [])

    def test_end(self) -> None:
        """An end where an answer was expected is a failure that names the phase."""
        for end in (Eof(BACKEND), Lost(BACKEND, "reset")):
            self.assertEqual(self.asking().on(end), [Fail("L7RSP", "banner", "the connection ended")])

    def test_read_to_the_end(self) -> None:
        """A step may count on the end, and not only on the bytes."""
        script = Script(Dialogue(Expect("body", lambda data: None, at_end=all_of_it)))
        script.on(Connected(link()))
        script.on(Data(BACKEND, b"all of "))
        script.on(Data(BACKEND, b"it"))
        self.assertEqual(script.on(Eof(BACKEND)), [Pass(b"all of it")])

    def test_not_even_at_the_end(self) -> None:
        """A step whose end is no answer either is a failure."""
        script = Script(Dialogue(Expect("body", lambda data: None, at_end=lambda data: None)))
        script.on(Connected(link()))
        self.assertEqual(script.on(Eof(BACKEND)), [Fail("L7RSP", "body", "the connection ended")])

    def test_too_much(self) -> None:
        """A server that talks without an end is not well, and is not listened to for ever."""
        script = Script(Dialogue(Expect("banner", word), largest=100))
        script.on(Connected(link()))
        self.assertEqual(script.on(Data(BACKEND, b"x" * 100)), [])
        self.assertEqual(
            script.on(Data(BACKEND, b"x")), [Fail("L7RSP", "banner", "no end of it within 100 bytes")]
        )

    def test_other_events(self) -> None:
        """What does not concern a question changes nothing."""
        script = self.asking()
        self.assertEqual(script.on(Draining(1.0)), [])
        self.assertEqual(script.on(Data(BACKEND, b"stop\n")), [Pass("stopped")])

    def test_client_first(self) -> None:
        """A dialogue may begin with a word of its own."""
        script = Script(Dialogue(Send(b"hello\n"), Expect("hello", word)))
        self.assertEqual(script.on(Connected(link())), [ToBackend(b"hello\n")])
        self.assertEqual(script.on(Data(BACKEND, b"ok\n")), [Pass()])

    def test_seen(self) -> None:
        """An answer in a log is one printable line of 100 characters at most."""
        self.assertEqual(seen(b"500 no\r\nmore"), "500 no")
        self.assertEqual(len(seen(b"x" * 1000)), 100)
        self.assertTrue(seen(bytes(range(11, 256))).isprintable())


class ReachedTests(SynchronousTestCase):
    def test_contract(self) -> None:
        """Both checks keep what the framework counts on."""
        check_check_plugin(connect)
        check_check_plugin(tls)

    def test_connect(self) -> None:
        """A connection is all that connect asks for."""
        check = connect.check(connect.options())
        self.assertEqual((check.tls, check.layer), ("never", "L4"))
        self.assertEqual(Script(check.dialogue()).on(Connected(link())), [Pass()])

    def test_tls(self) -> None:
        """A TLS handshake on it is all that tls asks for; it is done when the link is there."""
        check = tls.check(tls.options())
        self.assertEqual((check.tls, check.layer), ("always", "L6"))
        self.assertEqual(Script(check.dialogue()).on(Connected(link())), [Pass()])
