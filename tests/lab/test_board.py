from io import StringIO

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from exproxy.lab.board import Board, Tally, summary, table
from exproxy.lab.clients import Outcome
from exproxy.lab.hints import what_to_try

SERVERS = ("l12ex1", "l12ex2")


def tally() -> Tally:
    made = Tally()
    for outcome in (
        Outcome("anna", "https", "l12ex1"),
        Outcome("anna", "https", "l12ex1"),
        Outcome("reader", "imap", "l12ex2"),
        Outcome("reader", "imap", None, "* BYE busy"),
    ):
        made.add(outcome)
    return made


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class TableTests(SynchronousTestCase):
    def test_table(self) -> None:
        """Counts by server, the last server, errors, and what is not as usual."""
        lines = table(tally(), SERVERS, {("imap", "l12ex2"): "DOWN", ("https", "l12ex1"): "UP"}).split("\n")
        self.assertEqual(lines[0].split(), ["client", "service", "l12ex1", "l12ex2", "last", "errors"])
        self.assertEqual(lines[1].split(), ["anna", "https", "2", "0", "l12ex1", "0"])
        self.assertEqual(
            lines[2].split(), ["reader", "imap", "0", "[DOWN]", "1", "-", "1", "*", "BYE", "busy"]
        )
        self.assertEqual(lines[3], "not as usual: imap/l12ex2 DOWN")

    def test_width_and_colour(self) -> None:
        """No line is wider than asked; colours are added only when wanted, red for who fails."""
        plain = table(tally(), SERVERS, {}, width=60)
        self.assertTrue(all(len(text) <= 60 for text in plain.split("\n")))
        self.assertNotIn("\x1b", plain)
        self.assertIn("\x1b[31mreader", table(tally(), SERVERS, {}, colour=True))

    def test_recovered(self) -> None:
        """A success clears the error shown, not the count."""
        made = tally()
        made.add(Outcome("reader", "imap", "l12ex1"))
        self.assertNotIn("busy", table(made, SERVERS, {}))
        self.assertEqual(summary(made, SERVERS), "served by: l12ex1 3, l12ex2 1; errors: 1")
        self.assertIn("errors: 1 (reader/imap: * BYE busy)", summary(tally(), SERVERS))


class BoardTests(SynchronousTestCase):
    def test_file(self) -> None:
        """Into a file goes one line every few seconds, and the table at the end; no escape sequences."""
        clock, output = Clock(), StringIO()
        board = Board(output, clock, SERVERS, dict, "try this", every=5.0)
        board.start()
        board.tally = tally()
        clock.pump([5.0, 5.0])
        board.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
        lines = output.getvalue().split("\n")
        self.assertEqual((lines[0], lines[1]), ("try this", lines[2]))
        self.assertIn("anna", output.getvalue())
        self.assertNotIn("\x1b", output.getvalue())

    def test_terminal(self) -> None:
        """On a terminal each drawing goes over the last one, and never beyond its height."""
        clock, output = Clock(), Terminal()
        board = Board(output, clock, SERVERS, dict, "try this", size=lambda: (80, 3))
        board.start()
        board.tally = tally()
        clock.pump([0.5, 0.5])
        board.stop()
        self.assertEqual(output.getvalue().count("try this"), 1)
        last = output.getvalue().rpartition("\x1b[2A")[2]
        self.assertEqual(last.count("\n"), 2)


class HintsTests(SynchronousTestCase):
    def test_all(self) -> None:
        """Commands for curl, openssl, a mail client and the control carry the addresses."""
        addresses = {"https": ("127.0.0.1", 8443), "imap": ("127.0.0.1", 1143), "imaps": ("127.0.0.1", 1993)}
        addresses |= {"smtp": ("127.0.0.1", 2525), "pop": ("127.0.0.1", 1110)}
        text = what_to_try(addresses, "outlook.litware.test", "pw", "127.0.0.1:8405", ca="lab/ca.pem")
        for part in (
            "--cacert lab/ca.pem --resolve outlook.litware.test:8443:127.0.0.1",
            "-c lab/jar -b lab/jar",
            "openssl s_client -crlf -quiet -servername outlook.litware.test -connect 127.0.0.1:1993",
            "-starttls smtp -connect 127.0.0.1:2525",
            "pop3://127.0.0.1:1110/1",
            "a mail client: IMAP 127.0.0.1 port 1143, any user, password pw",
            "curl -s -X POST http://127.0.0.1:8405/l12ex1/imap/hang",
        ):
            self.assertIn(part, text)

    def test_only_what_there_is(self) -> None:
        """What is not served is not suggested."""
        self.assertEqual(what_to_try({}, "x", "y"), "")
