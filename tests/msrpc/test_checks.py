"""protocols.msrpc.calls, check and locating: questions to servers, as dialogues."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.actions import Action, Fail, Pass, ToBackend
from exproxy.checks.dialogue import Dialogue
from exproxy.events import Connected, Data, Eof, Lost
from exproxy.interfaces import ICheckPlugin, IConversation, ILocator
from exproxy.model import BACKEND
from exproxy.plugins import find
from exproxy.testing import Script, check_check_plugin, every_split, link
from protocols.msrpc import binding, check
from protocols.msrpc.binding import (
    ACCEPTED,
    NDR32,
    NEGOTIATED,
    NO_INTERFACE,
    REJECTED,
    Bind,
    Result,
    read_bind,
)
from protocols.msrpc.calls import LARGEST_ANSWER, answered, bind_to, bound, request, response
from protocols.msrpc.ept import (
    LOOKUP,
    MAP,
    NO_HANDLE,
    NOT_REGISTERED,
    Answer,
    Entry,
    map_call,
    read_map,
    write_answer,
)
from protocols.msrpc.locating import Locator, port_of
from protocols.msrpc.names import EPM, KNOWN, interface
from protocols.msrpc.ndr import BadStub, Syntax
from protocols.msrpc.options import EpmCheckOptions, RpcCheckOptions
from protocols.msrpc.pdu import ALTER_CONTEXT_RESPONSE, BIND_ACK, FAULT, FIRST, LAST, REQUEST, RESPONSE
from tests.msrpc import lookup_samples, samples
from tests.msrpc.support import answer, carrier, one, packed, pdus, pipe_tower, stub_of, tower_of

EMSMDB, NSPI = KNOWN["emsmdb"], KNOWN["nspi"]
YES, NO = Result(ACCEPTED, 0, NDR32), Result(REJECTED, NO_INTERFACE, None)


def ack(*results: Result) -> bytes:
    """A bind_ack with these results."""
    return binding.ack(1, Bind(5840, 5840, 0, ()), 7, 135, results)


def towers(call: int, *octets: bytes | None, status: int = 0) -> bytes:
    """An answer to ept_map."""
    stub = write_answer(MAP, Answer(NO_HANDLE, 500, tuple(Entry(each) for each in octets), status), Syntax())
    return answer(call, stub)


def end(conversation: IConversation, *answers: bytes) -> Action:
    """How a dialogue ends for these answers."""
    script = Script(conversation)
    script.on(Connected(link()))
    for each in answers:
        script.on(Data(BACKEND, each))
    return script.steps[-1][1][-1] if script.steps[-1][1] else Fail("", "", "no end")


class DialogueCase(SynchronousTestCase):
    def fails(self, conversation: IConversation, code: str, phase: str, reason: str, *answers: bytes) -> None:
        """These answers end it badly."""
        outcome = end(conversation, *answers)
        assert isinstance(outcome, Fail), outcome
        self.assertEqual((outcome.code, outcome.phase), (code, phase))
        self.assertRegex(outcome.reason, reason)


class CallsTests(DialogueCase):
    """Calls of our own and what is made of their answers."""

    def test_request(self) -> None:
        """A call reads as it was made; rpcclient's own looks the same."""
        pdu = one(request(2, MAP, map_call(KNOWN["samr"], 1)))
        self.assertEqual((pdu.header.kind, pdu.header.call, pdu.opnum), (REQUEST, 2, MAP))
        self.assertEqual(pdu.raw, samples.SAMR_CALL)

    def test_bind_to(self) -> None:
        """A context in NDR for each interface."""
        bind = read_bind(one(bind_to(EMSMDB, NSPI, group=9)))
        self.assertEqual(bind.group, 9)
        found = [(each.number, each.interface, each.minor) for each in bind.contexts]
        self.assertEqual(found, [(0, EMSMDB.uuid, 81), (1, NSPI.uuid, 0)])

    def test_response(self) -> None:
        """An answer in fragments that join to what was said, each saying how much is to come."""
        stub = bytes(range(256)) * 5
        for largest, count in ((5840, 1), (1432, 1), (1000, 2), (30, 160)):
            made = pdus(response(3, 1, stub, largest))
            self.assertEqual((stub_of(response(3, 1, stub, largest)), len(made)), (stub, count))
            self.assertEqual((made[0].header.flags & FIRST, made[-1].header.flags & LAST), (FIRST, LAST))
            self.assertEqual(sum(pdu.header.flags for pdu in made), FIRST + LAST)
            self.assertEqual((made[0].context, made[0].header.call), (1, 3))
            left = [pdu.unpack("I", 16)[0] for pdu in made]
            self.assertEqual(left[0], len(stub))
            self.assertEqual(left, sorted(left, reverse=True))
        self.assertEqual(len(pdus(response(3, 1, b"", 1432))), 1)

    def test_fault_without_a_status(self) -> None:
        """A fault that ends before its status is a bad answer, no exception."""
        expect = answered("ept_map", lambda stub, syntax: 0)
        outcome = expect.read(carrier(FAULT, 2))
        self.assertEqual(outcome, Fail("L7RSP", "ept_map", "a fault is cut short"))

    def test_meaning_is_bad(self) -> None:
        """A stub that means nothing is a bad answer."""

        def nothing(stub: bytes, syntax: Syntax) -> int:
            raise BadStub("cut short at byte 0")

        outcome = answered("ept_map", nothing).read(samples.SAMR_ANSWER)
        self.assertEqual(outcome, Fail("L7RSP", "ept_map", "cut short at byte 0"))

    def test_where_the_next_answer_begins(self) -> None:
        """The bytes of an answer are counted, all its fragments and nothing behind them."""
        expect = answered("ept_lookup", lambda stub, syntax: 0)
        data = lookup_samples.ALL_ANSWER
        self.assertEqual(expect.read(data + samples.SAMR_ANSWER[:50]), len(data))
        self.assertEqual(expect.read(data[:-1]), None)
        self.assertEqual(bound(EPM).read(samples.PLAIN_BIND_ACK + b"\5"), len(samples.PLAIN_BIND_ACK))

    def test_byte_order(self) -> None:
        """A big-endian server is read in its own order."""
        seen: list[Syntax] = []

        def note(stub: bytes, syntax: Syntax) -> int:
            seen.append(syntax)
            return 0

        answered("x", note).read(answer(2, b"stub", little=False))
        self.assertEqual(seen, [Syntax(little=False)])

    def test_largest_answer(self) -> None:
        """An answer of LARGEST_ANSWER bytes is read, of more it is not."""
        expect = answered("ept_lookup", lambda stub, syntax: 0)
        piece = 8 * 1024 - 24
        exact = answer(2, bytes(piece * (LARGEST_ANSWER // 8192)), piece)
        self.assertEqual(len(exact), LARGEST_ANSWER)
        self.assertEqual(expect.read(exact), LARGEST_ANSWER)
        outcome = expect.read(answer(2, bytes(piece * (LARGEST_ANSWER // 8192) + 1), piece))
        assert isinstance(outcome, Fail)
        self.assertRegex(outcome.reason, f"more than .* \\({LARGEST_ANSWER}\\) bytes")

    def test_endless_answer(self) -> None:
        """A server that never comes to an end is not listened to for ever."""
        script = Script(Dialogue(answered("ept_lookup", lambda stub, syntax: 0)))
        script.on(Connected(link()))
        for number in range(200):
            flags = 0 if number else FIRST
            actions = script.on(Data(BACKEND, carrier(RESPONSE, 2, bytes(4000), flags=flags)))
            if actions:
                break
        assert isinstance(actions[0], Fail)
        self.assertLessEqual(number * 4024, LARGEST_ANSWER + 4024)


class RpcCheckTests(DialogueCase):
    """The check ``rpc``."""

    def ask(self, *names: str) -> IConversation:
        """One question."""
        return check.rpc_dialogue(tuple(KNOWN[name] for name in names))

    def test_contract(self) -> None:
        """Both checks keep what the framework counts on, and are found by their names; RPC knows no TLS."""
        rpc, epm = RpcCheckOptions(interface=(EMSMDB,)), EpmCheckOptions(interface=(EMSMDB,))
        for plugin, options in ((check.rpc, rpc), (check.epm, epm)):
            check_check_plugin(plugin)
            check_check_plugin(plugin, options)
            self.assertIs(find(ICheckPlugin, plugin.name), plugin)
            made = plugin.check(options)
            self.assertEqual((made.tls, made.layer), ("never", "L7"))

    def test_accepted(self) -> None:
        """A bind to the interfaces; all of them are accepted."""
        for pieces in every_split(ack(YES, YES)):
            script = Script(self.ask("emsmdb", "nspi"))
            self.assertEqual(script.on(Connected(link())), [ToBackend(bind_to(EMSMDB, NSPI))])
            for piece in pieces:
                script.on(Data(BACKEND, piece))
            self.assertEqual(script.steps[-1][1], [Pass()])

    def test_rejected(self) -> None:
        """An answer that rejects one of them is a bad one: it says which, and why."""
        for results, reason in (
            ((YES, NO), r"^nspi is not served there \(result 2, reason 1\)$"),
            ((Result(REJECTED, 2, None), YES), r"^emsmdb is rejected \(result 2, reason 2\)$"),
        ):
            self.fails(self.ask("emsmdb", "nspi"), "L7STS", "bind", reason, ack(*results))

    def test_refused(self) -> None:
        """A bind_nak or a fault in answer to a bind is one too."""
        self.fails(self.ask("nspi"), "L7STS", "bind", "^bind_nak with reason 2$", binding.nak(1, 2))
        fault = binding.fault(1, 0, binding.TOO_BUSY)
        self.fails(self.ask("nspi"), "L7STS", "bind", "^fault 0x1c010014$", fault)

    def test_no_answer(self) -> None:
        """Other PDUs, other counts of results and other protocols are no answers."""
        altered = binding.ack(1, Bind(0, 0, 0, ()), 7, 1, (YES,), ALTER_CONTEXT_RESPONSE)
        for data, reason in (
            (samples.SAMR_ANSWER, "^a response in answer to a bind$"),
            (altered, "^a alter_context_resp in answer to a bind$"),
            (ack(YES, YES), "^2 results for 1 contexts$"),
            (ack(), "^0 results for 1 contexts$"),
            (b"220 exch1 Microsoft ESMTP", "^not DCE/RPC"),
            (packed(BIND_ACK, 1, b"\0\0"), "^a bind_ack is cut short$"),
        ):
            self.fails(self.ask("nspi"), "L7RSP", "bind", reason, data)

    def test_end(self) -> None:
        """A server that ends before its answer is told so."""
        for event in (Eof(BACKEND), Lost(BACKEND, "closed")):
            script = Script(self.ask("nspi"))
            script.on(Connected(link()))
            script.on(Data(BACKEND, ack(YES)[:20]))
            self.assertEqual(script.on(event), [Fail("L7RSP", "bind", "the connection ended")])

    def test_any_answer(self) -> None:
        """Without an interface, an answer to a bind is enough, whether it accepts it or not."""
        for results in ((YES,), (NO,), (Result(NEGOTIATED, 3, None),)):
            self.assertEqual(end(self.ask(), ack(*results)), Pass())
        self.fails(self.ask(), "L7STS", "bind", "^bind_nak", binding.nak(1, 1))
        self.fails(self.ask(), "L7RSP", "bind", "results", ack())

    def test_options(self) -> None:
        """The interface of the options is the one that is asked for."""
        made = check.rpc.check(RpcCheckOptions(interface=(interface("nspi"),)))
        script = Script(made.dialogue())
        script.on(Connected(link()))
        self.assertEqual(script.server, bind_to(NSPI))


class EpmCheckTests(DialogueCase):
    """The check ``epm``."""

    def ask(self, *names: str) -> IConversation:
        """One question."""
        return check.epm_dialogue(tuple(KNOWN[name] for name in names))

    def test_lookup(self) -> None:
        """Without an interface, that a look-up is answered is enough, be it with nothing."""
        empty = write_answer(LOOKUP, Answer(NO_HANDLE, 1, (), NOT_REGISTERED), Syntax())
        self.assertEqual(end(self.ask(), ack(YES), answer(2, empty)), Pass())
        self.assertEqual(end(self.ask(), ack(YES), lookup_samples.PART_ANSWER), Pass())

    def test_registered(self) -> None:
        """Each interface is asked for, and is registered."""
        script = Script(self.ask("emsmdb", "nspi"))
        script.on(Connected(link()))
        script.on(Data(BACKEND, ack(YES)))
        script.on(Data(BACKEND, towers(2, tower_of("emsmdb", 59531))))
        self.assertEqual(script.on(Data(BACKEND, towers(3, tower_of("nspi", 59532)))), [Pass()])
        bind, *calls = pdus(script.server)
        self.assertEqual(read_bind(bind).contexts[0].interface, EPM.uuid)
        asked = [read_map(pdu.raw[24:], Syntax()).tower for pdu in calls]
        self.assertEqual(asked, [tower_of("emsmdb", 0, "0.0.0.0"), tower_of("nspi", 0, "0.0.0.0")])

    def test_every_split(self) -> None:
        """However a server's bytes are cut, real ones included."""
        data = samples.IMPACKET_BIND_ACK + samples.EMSMDB_ANSWER + samples.NSPI_ANSWER
        for pieces in every_split(data):
            script = Script(self.ask("emsmdb", "nspi"))
            script.on(Connected(link()))
            for piece in pieces:
                script.on(Data(BACKEND, piece))
            self.assertEqual(script.steps[-1][1][-1], Pass())

    def test_not_registered(self) -> None:
        """A mapper that lives but does not know the interface is a bad answer; which one is told."""
        reason = "^nspi is not registered with the endpoint mapper$"
        for data in (
            towers(3, status=NOT_REGISTERED),
            towers(3),
            towers(3, None, pipe_tower("nspi", "\\pipe\\x"), tower_of("emsmdb", 1)),
        ):
            good = (ack(YES), towers(2, tower_of("emsmdb", 59531)))
            self.fails(self.ask("emsmdb", "nspi"), "L7STS", "ept_map", reason, *good, data)

    def test_refused(self) -> None:
        """A mapper that refuses the bind, the call, or answers with another status."""
        self.fails(self.ask("nspi"), "L7STS", "bind", "^epmapper is not served there", ack(NO))
        fault = binding.fault(2, 0, 0x1C010002)
        self.fails(self.ask("nspi"), "L7STS", "ept_map", "^fault 0x1c010002$", ack(YES), fault)
        other = towers(2, status=0x16C9A0CD)
        self.fails(self.ask("nspi"), "L7STS", "ept_map", "^status 0x16c9a0cd for nspi$", ack(YES), other)

    def test_no_answer(self) -> None:
        """What is no answer to a call."""
        for data, reason in (
            (answer(2, b"\0"), "are too many$"),
            (samples.PLAIN_BIND_ACK, "^a bind_ack in answer to a request$"),
            (carrier(RESPONSE, 2, flags=LAST), "no fragment of its call$"),
            (b"\0", "^not DCE/RPC"),
        ):
            self.fails(self.ask(), "L7RSP", "ept_lookup", reason, ack(YES), data)


class LocatorTests(DialogueCase):
    """Where a server has an interface."""

    def test_locator(self) -> None:
        """It is asked at the mapper's port, in plain TCP, each time anew."""
        locator = Locator(EMSMDB)
        verifyObject(ILocator, locator)
        self.assertEqual((locator.port, locator.tls, locator.layer), (135, "never", "L7"))
        self.assertEqual(Locator(EMSMDB, 1135).port, 1135)
        self.assertIsNot(locator.dialogue(), locator.dialogue())

    def test_found(self) -> None:
        """The port that the mapper gives out, however its bytes are cut."""
        for name, data, port in (
            ("emsmdb", samples.EMSMDB_ANSWER, 59531),
            ("nspi", samples.NSPI_ANSWER, 59532),
        ):
            for pieces in every_split(samples.IMPACKET_BIND_ACK + data):
                script = Script(Locator(KNOWN[name]).dialogue())
                self.assertEqual(script.on(Connected(link())), [ToBackend(bind_to(EPM))])
                for piece in pieces:
                    script.on(Data(BACKEND, piece))
                self.assertEqual(script.steps[-1][1][-1], Pass(port))
            self.assertEqual(script.server, bind_to(EPM) + request(2, MAP, map_call(KNOWN[name])))

    def test_of_several(self) -> None:
        """The first tower of that interface over TCP."""
        stub = stub_of(
            towers(
                2,
                None,
                b"rubbish",
                pipe_tower("emsmdb", "\\pipe\\x"),
                tower_of("nspi", 1),
                tower_of("emsmdb", 0),
                tower_of("emsmdb", 6001),
                tower_of("emsmdb", 6002),
            )
        )
        self.assertEqual(port_of(EMSMDB, stub, Syntax()), Pass(6001))

    def test_nowhere(self) -> None:
        """Not registered, in the mapper's own words or by an empty answer."""
        for said, reason in (
            (towers(2, status=NOT_REGISTERED), "^emsmdb is not registered"),
            (binding.fault(2, 0, 5), "^fault 0x00000005$"),
        ):
            self.fails(Locator(EMSMDB).dialogue(), "L7STS", "ept_map", reason, ack(YES), said)

    def test_real_refusal(self) -> None:
        """A real mapper that does not know the interface."""
        asking, said = Locator(KNOWN["lsarpc"]).dialogue(), (samples.IMPACKET_BIND_ACK, samples.LSARPC_ANSWER)
        self.fails(asking, "L7STS", "ept_map", "^lsarpc is not registered", *said)

    def test_too_short(self) -> None:
        """A PDU whose length is shorter than its header is a bad answer."""
        data = struct.pack("<BBBBIHHI", 5, 0, 12, 3, 0x10, 15, 0, 1)
        self.fails(Locator(EMSMDB).dialogue(), "L7RSP", "bind", "shorter than its own parts", data)
