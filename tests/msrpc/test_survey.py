"""protocols.msrpc.survey and command: ``exproxyctl epm``."""

from __future__ import annotations

from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.actions import Action, Fail, Pass, ToBackend
from exproxy.events import Connected, Data, Eof
from exproxy.interfaces import ICheck
from exproxy.model import BACKEND
from exproxy.testing import Script, link
from protocols.msrpc import binding
from protocols.msrpc.ept import LOOKUP, NO_HANDLE, NOT_REGISTERED, Answer, Entry, read_lookup, write_answer
from protocols.msrpc.names import Interface
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.survey import MOST_ENTRIES, Endpoint, Survey, check
from protocols.msrpc.tower import read_tower
from tests.msrpc import lookup_samples, samples
from tests.msrpc.support import answer, pdus, tower_of

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


STRANGE = Interface("", UUID(int=0x0123 << 112))
