"""protocols.msrpc.survey and command: ``exproxyctl epm``."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.actions import Action, Drain, Fail, Pass, ToBackend
from exproxy.events import Connected, Data, Eof
from exproxy.interfaces import ICheck, ICommandPlugin
from exproxy.model import BACKEND
from exproxy.plugins import find
from exproxy.testing import Script, link
from protocols.msrpc import binding, command
from protocols.msrpc.command import rows, table
from protocols.msrpc.ept import LOOKUP, NO_HANDLE, NOT_REGISTERED, Answer, Entry, read_lookup, write_answer
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.survey import MOST_ENTRIES, Endpoint, Survey, check
from protocols.msrpc.tower import read_tower, tcp_tower
from tests.msrpc import lookup_samples, samples
from tests.msrpc.support import answer, pdus, pipe_tower, tower_of

HANDLE = b"\0\0\0\0" + bytes(range(16))


def part(call: int, *names: str, handle: bytes = NO_HANDLE, status: int = 0) -> bytes:
    """An answer with these interfaces at port 6001."""
    entries = tuple(Entry(tower_of(name, 6001), annotation=b"of " + name.encode() + b"\0") for name in names)
    return answer(call, write_answer(LOOKUP, Answer(handle, 500, entries, status), Syntax()))


def asked(*answers: bytes) -> tuple[Script, Action | None]:
    """A survey with these answers, and how it ended."""
    script = Script(Survey())
    script.on(Connected(link()))
    actions = script.on(Data(BACKEND, samples.PLAIN_BIND_ACK))
    for each in answers:
        actions = script.on(Data(BACKEND, each))
    outcome = actions[-1] if actions else None
    return script, outcome if isinstance(outcome, (Pass, Fail)) else None


def found(*answers: bytes) -> list[str]:
    """The annotations of what a survey found."""
    outcome = asked(*answers)[1]
    assert isinstance(outcome, Pass), outcome
    assert isinstance(outcome.learnt, tuple)
    return [each.annotation for each in outcome.learnt]


class SurveyTests(SynchronousTestCase):
    """Everything that a mapper knows."""

    def test_check(self) -> None:
        """It is asked as checks are, in plain TCP."""
        verifyObject(ICheck, check)
        self.assertEqual(check.tls, "never")
        self.assertEqual(Survey().phase, "connect")

    def test_one_part(self) -> None:
        """All in one answer."""
        self.assertEqual(found(part(2, "emsmdb", "nspi")), ["of emsmdb", "of nspi"])

    def test_parts(self) -> None:
        """Each part is asked for with the handle of the one before."""
        script, outcome = asked(
            part(2, "emsmdb", handle=HANDLE),
            part(3, "nspi", handle=HANDLE[::-1]),
            part(4, "rfri", status=NOT_REGISTERED),
        )
        assert isinstance(outcome, Pass)
        assert isinstance(outcome.learnt, tuple)
        self.assertEqual([each.annotation for each in outcome.learnt], ["of emsmdb", "of nspi", "of rfri"])
        calls = pdus(script.server)[1:]
        handles = [read_lookup(each.raw[24:], Syntax()).handle for each in calls]
        self.assertEqual(handles, [NO_HANDLE, HANDLE, HANDLE[::-1]])
        self.assertEqual([each.header.call for each in calls], [2, 3, 4])

    def test_real_one(self) -> None:
        """A real mapper's answer in two fragments, and one in parts, cut into small pieces."""
        data = lookup_samples.ALL_ANSWER
        pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
        self.assertEqual(len(found(*pieces)), 38)
        self.assertEqual(len(found(lookup_samples.PART_ANSWER, lookup_samples.LAST_ANSWER)), 10)

    def test_unreadable_towers(self) -> None:
        """An entry without a tower, or with one that is none, is left out."""
        entries = (Entry(None), Entry(b"x"), Entry(tower_of("nspi", 1), annotation=b"\xff\0"))
        stub = write_answer(LOOKUP, Answer(NO_HANDLE, 100, entries, 0), Syntax())
        self.assertEqual(found(answer(2, stub)), ["\N{REPLACEMENT CHARACTER}"])

    def test_refused(self) -> None:
        """A refusal ends it, wherever it comes; the phase is known for timeouts."""
        for answers, reason in (
            ((binding.fault(2, 0, 5),), "fault 0x00000005"),
            ((part(2, "nspi", handle=HANDLE), binding.fault(3, 0, 5)), "fault 0x00000005"),
            ((part(2, status=0x16C9A0CD),), "status 0x16c9a0cd"),
        ):
            script, outcome = asked(*answers)
            self.assertEqual(outcome, Fail("L7STS", "ept_lookup", reason))
            self.assertEqual(script.conversation.phase, "ept_lookup")  # type: ignore[attr-defined]
            self.assertEqual(script.on(Data(BACKEND, part(9, "nspi"))), [])

    def test_end(self) -> None:
        """A server that ends in the middle is told so."""
        script, _ = asked(part(2, "nspi", handle=HANDLE))
        self.assertEqual(script.on(Eof(BACKEND)), [Fail("L7RSP", "ept_lookup", "the connection ended")])

    def test_most_entries(self) -> None:
        """10000 entries are taken; a server that has more, or goes on for ever, is not well."""
        script, names = asked()[0], ["nspi"] * 250
        for _ in range(MOST_ENTRIES // len(names)):
            (action,) = script.on(Data(BACKEND, part(2, *names, handle=HANDLE)))
            self.assertIsInstance(action, ToBackend)
        last = script.on(Data(BACKEND, part(2, "nspi", handle=HANDLE)))
        self.assertEqual(last, [Fail("L7RSP", "ept_lookup", "more than 10000 entries")])


def endpoint(octets: bytes, annotation: str = "") -> Endpoint:
    """An entry."""
    return Endpoint(read_tower(octets), annotation)


STRANGE = UUID(int=0x0123 << 112)
COLUMNS = ("interface", "version", "port", "transport", "title")


class CommandTests(SynchronousTestCase):
    """What is shown."""

    entries = (
        endpoint(tcp_tower(STRANGE, 1, 0, 1025, bytes(4)), "of its owner"),
        endpoint(tower_of("nspi", 59532), "MSExchange NSPI"),
        endpoint(tower_of("emsmdb", 59531)),
        endpoint(tower_of("nspi", 59532), "MSExchange NSPI"),
        endpoint(pipe_tower("samr", "\\pipe\\lsass")),
        endpoint(tower_of("nspi", 6004)),
    )

    def setUp(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def answering(self, outcome: object) -> None:
        """What the server answers."""

        def ask(*question: Any) -> object:
            self.asked.append(question)
            return outcome

        self.patch(command, "ask_once", ask)

    def run_with(self, *arguments: str) -> Result:
        """Run the command."""
        return CliRunner().invoke(command.epm, arguments)

    def test_rows(self) -> None:
        """Known interfaces by name and port, then the others; each place once, with a title."""
        shown = rows(self.entries)
        self.assertEqual(
            [tuple(row[column] for column in COLUMNS) for row in shown],
            [
                ("emsmdb", "0.81", 59531, "TCP", "Exchange RPC Client Access (mailboxes)"),
                ("nspi", "56.0", 6004, "TCP", "Exchange Address Book"),
                ("nspi", "56.0", 59532, "TCP", "Exchange Address Book"),
                ("samr", "1.0", None, "named pipe \\pipe\\lsass", "accounts (MS-SAMR)"),
                (str(STRANGE), "1.0", 1025, "TCP", "of its owner"),
            ],
        )
        self.assertEqual([row["address"] for row in shown[:4]], ["127.0.0.11"] * 3 + [None])

    def test_table(self) -> None:
        """Columns as wide as their widest cell, a heading, and no blanks at the ends."""
        lines = table(rows(self.entries)).splitlines()
        self.assertEqual(tuple(lines[0].split()), COLUMNS)
        self.assertTrue(lines[1].startswith("emsmdb "))
        columns = {line.index("TCP") for line in lines if "TCP" in line}
        self.assertEqual(columns, {lines[0].index("transport")})
        self.assertEqual([line.rstrip() for line in lines], lines)
        self.assertEqual(table([]), "interface  version  port  transport  title")

    def test_command(self) -> None:
        """A table by default, all transports; --tcp leaves the others out."""
        self.answering(Pass(self.entries))
        result = self.run_with("192.0.2.1", "--port", "1135", "--timeout", "2")
        self.assertEqual((result.exit_code, result.output), (0, table(rows(self.entries)) + "\n"))
        self.assertEqual(self.asked, [(check, "192.0.2.1", 1135, 2.0)])
        self.assertNotIn("lsass", self.run_with("192.0.2.1", "--tcp").output)
        self.assertEqual(self.asked[-1][2:], (135, 5.0))

    def test_json(self) -> None:
        """For programs."""
        self.answering(Pass(self.entries))
        self.assertEqual(json.loads(self.run_with("192.0.2.1", "-o", "json").output), rows(self.entries))

    def test_no_answer(self) -> None:
        """A bad answer is exit code 1 and a sentence that says what went wrong where."""
        for outcome, reason in (
            (Fail("L4CON", "connect", "Connection refused"), "L4CON connect: Connection refused"),
            (Drain("404"), "404"),
        ):
            self.answering(outcome)
            result = self.run_with("192.0.2.1")
            self.assertEqual(result.exit_code, 1)
            self.assertIn(f"192.0.2.1:135 gave no good answer ({reason})", result.output)

    def test_plugin(self) -> None:
        """The command is a plugin's."""
        verifyObject(ICommandPlugin, command.plugin)
        self.assertEqual((command.plugin.name, command.plugin.command), ("epm", command.epm))
        self.assertIs(find(ICommandPlugin, "epm"), command.plugin)
