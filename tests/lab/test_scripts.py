from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab import epm, scripts
from exproxy.lab.scripts import Script, Unserved, http_answer, line, smtp_reply, tagged
from tests.lab.test_dcerpc import conversation


def play(script: Script, answers: Sequence[bytes]) -> tuple[str, list[bytes]]:
    """Run a script against answers; what it returned, and what it said."""
    said = []
    step = next(script)
    try:
        for answer in answers:
            said.append(step.send)
            length = step.until(answer)
            step = script.send(answer[:length])
    except StopIteration as stop:
        return stop.value, said
    raise AssertionError("the script wants more")


class UntilTests(SynchronousTestCase):
    def test_waiting(self) -> None:
        """Nothing is an answer before it is complete, at whatever byte it is cut."""
        for until, answer in (
            (line, b"+OK x\r\n"),
            (smtp_reply, b"250-a\r\n250-b\r\n250 c\r\n"),
            (tagged(b"a1"), b"* 1 EXISTS\r\na1 OK done\r\n"),
            (http_answer, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
        ):
            for at in range(len(answer)):
                self.assertIsNone(until(answer[:at]), answer[:at])
            self.assertEqual(until(answer + b"more"), len(answer))

    def test_bye(self) -> None:
        """A BYE ends the wait for a tagged answer."""
        self.assertEqual(tagged(b"a1")(b"* BYE\r\n"), 7)


class ScriptTests(SynchronousTestCase):
    def test_https(self) -> None:
        """The server is read from X-Server; cookies are kept and sent back."""
        jar: dict[str, str] = {}
        head = b"HTTP/1.1 200 OK\r\nX-Server: l12ex2\r\nSet-Cookie: __Host-x=abc; Secure\r\n"
        head += b"Content-Length: 0\r\n\r\n"
        server, said = play(scripts.https("name", "/owa/", jar, "anna", "pw"), [head])
        self.assertEqual((server, jar), ("l12ex2", {"__Host-x": "abc"}))
        self.assertIn(b"\r\nAuthorization: Basic YW5uYTpwdw==\r\n", said[0])
        _, said = play(scripts.https("name", "/owa/", jar), [head])
        self.assertIn(b"\r\nCookie: __Host-x=abc\r\n", said[0])

    def test_mail(self) -> None:
        """The server is the first word of each greeting."""
        greeting = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] l12ex1 ready\r\n"
        rest = [b"a1 OK\r\n", b"* 3 EXISTS\r\na2 OK\r\n", b"* BYE\r\na3 OK\r\n"]
        self.assertEqual(play(scripts.imap("a", "b"), [greeting, *rest])[0], "l12ex1")
        self.assertEqual(
            play(scripts.pop("a", "b"), [b"+OK l12ex1 ready\r\n", *[b"+OK\r\n"] * 4])[0], "l12ex1"
        )
        replies = [
            b"220 l12ex1 x\r\n",
            b"250-a\r\n250 b\r\n",
            b"250 x\r\n",
            b"250 x\r\n",
            b"354 x\r\n",
            b"250 x\r\n",
        ]
        self.assertEqual(play(scripts.smtp("a@b", "c@d", "s"), [*replies, b"221 x\r\n"])[0], "l12ex1")

    def test_refusals(self) -> None:
        """A refusal in the protocol's words is reported with them."""
        for script, answer in (
            (scripts.imap("a", "b"), b"* BYE busy\r\n"),
            (scripts.pop("a", "b"), b"-ERR [SYS/TEMP] busy\r\n"),
            (scripts.smtp("a@b", "c@d", "s"), b"421 busy\r\n"),
            (scripts.https("n", "/", {}), b"HTTP/1.1 503 busy\r\nContent-Length: 0\r\n\r\n"),
        ):
            refused = self.assertRaises(Unserved, play, script, [answer])
            self.assertIn("busy", str(refused))

    def test_rpc(self) -> None:
        """Endpoint mapper and call scripts agree with the lab's own server, and see its refusals."""
        for script in (scripts.endpoints(), scripts.rpc(epm.EMSMDB, 81 << 16)):
            self.assertEqual(self.converse(script), "l12ex1")
        self.assertRaises(Unserved, self.converse, scripts.rpc(epm.NSPI, 56))
        self.assertRaises(Unserved, self.converse, scripts.rpc(epm.EMSMDB, 0), refusing=True)
        self.assertRaises(Unserved, scripts.pdu, b"HTTP")

    def converse(self, script: Script, refusing: bool = False) -> str:
        server = conversation(refusing=refusing)
        step = next(script)
        try:
            while True:
                answer = server.receive(step.send)
                self.assertEqual(step.until(answer), len(answer))
                step = script.send(answer)
        except StopIteration as stop:
            return str(stop.value)
