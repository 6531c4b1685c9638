"""protocols.msrpc.own_mapper: an endpoint mapper without a server."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Count, Hangup, Record, SetDeadline, ToClient
from exproxy.backend import Backend
from exproxy.events import Began, Data, Deadline, Draining, Eof, Lost
from exproxy.model import BACKEND, CLIENT, Listening
from exproxy.settings import Limits
from exproxy.testing import FakeService, Script, every_split, facts, service
from protocols.msrpc import binding
from protocols.msrpc.binding import (
    ACCEPTED,
    NDR32,
    NDR64,
    NEGOTIATED,
    NO_INTERFACE,
    NO_TRANSFER,
    REJECTED,
    Context,
    Result,
    read_ack,
    read_nak,
)
from protocols.msrpc.calling import MOST_CONTEXTS
from protocols.msrpc.ept import LOOKUP, MAP, NOT_REGISTERED, Answer, lookup_call, map_call, read_answer
from protocols.msrpc.names import EPM, KNOWN
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.options import EpmOptions, RpcOptions
from protocols.msrpc.own_mapper import OwnMapper
from protocols.msrpc.pdu import (
    ALTER_CONTEXT,
    ALTER_CONTEXT_RESPONSE,
    AUTH3,
    BIND,
    BIND_ACK,
    BIND_NAK,
    CO_CANCEL,
    FAULT,
    FIRST,
    LAST,
    ORPHANED,
    REQUEST,
    RESPONSE,
    Pdu,
)
from protocols.msrpc.served import Served
from protocols.msrpc.tower import read_tower
from tests.msrpc import lookup_samples, protected_samples, samples
from tests.msrpc.support import carrier, one, packed, pdus, request, stub_of, tower_of

IDLE = SetDeadline("idle", 660.0)
KNOWN_FACTS = facts(destination="192.0.2.200", port=135)


def mapper(**options: object) -> FakeService:
    """A mapper's service beside one that has EMSMDB, and one that has NSPI and RFRI."""
    backend = Backend("rpc/exch1", "exch1", "127.0.0.11", 59531)
    others = [
        service(
            RpcOptions(interface=tuple(KNOWN[name] for name in names)),
            name=names[0],
            protocol="rpc",
            listens=(Listening("", port, (backend,)),),
        )
        for names, port in ((("emsmdb",), 6001), (("nspi", "rfri"), 6004))
    ]
    limits = options.pop("limits", None)
    return service(
        EpmOptions.model_validate(options),
        name="epm",
        protocol="epm",
        listens=(Listening("", 135, ()),),
        siblings=others,
        limits=limits,  # type: ignore[arg-type]
    )


def begun(**options: object) -> Script:
    """A client is there."""
    served = mapper(**options)
    script = Script(OwnMapper(served, Served(served)))
    assert script.on(Began(KNOWN_FACTS)) == [SetDeadline("first-pdu", 10.0)]
    return script


def bound(bind: bytes = samples.PLAIN_BIND, **options: object) -> Script:
    """A client has bound."""
    script = begun(**options)
    script.on(Data(CLIENT, bind))
    script.client = b""
    return script


def said(script: Script, data: bytes) -> list[Pdu]:
    """What the mapper answers to that."""
    script.client = b""
    script.on(Data(CLIENT, data))
    return pdus(script.client)


def answered(script: Script, operation: int, data: bytes, wide: bool = False) -> Answer:
    """What it answers to a call, read."""
    assert said(script, data)[0].header.kind == RESPONSE
    return read_answer(operation, stub_of(script.client), Syntax(wide=wide))


class BindTests(SynchronousTestCase):
    """What is agreed upon."""

    def test_plain(self) -> None:
        """A bind is acknowledged with a new group; the log says who answers."""
        script = begun()
        ended, idle, record, to_client = script.on(Data(CLIENT, samples.PLAIN_BIND))
        self.assertEqual((ended, idle), (SetDeadline("first-pdu", None), IDLE))
        assert isinstance(to_client, ToClient)
        ack = read_ack(one(to_client.data))
        self.assertEqual((ack.results, ack.send, ack.receive), ((Result(ACCEPTED, 0, NDR32),), 4280, 4280))
        self.assertGreater(ack.group, 0)
        fields = {"interfaces": ["epmapper"], "association": f"{ack.group:#010x}", "answer": "proxy"}
        self.assertEqual(record, Record(fields))

    def test_secondary_address(self) -> None:
        """The secondary address is the port that the client reached."""
        (ack,) = said(begun(), samples.PLAIN_BIND)
        self.assertEqual(ack.raw[24:30], b"\x04\x00135\0")

    def test_groups(self) -> None:
        """Each new client has a group of its own; one that names a group is in it."""
        groups = {read_ack(said(begun(), samples.PLAIN_BIND)[0]).group for _ in range(5)}
        self.assertEqual(len(groups), 5)
        self.assertEqual(read_ack(said(begun(), samples.STRANGE_BIND)[0]).group, 1)

    def test_big_endian(self) -> None:
        """A big-endian bind with time features: accepted, and of the features those that we have."""
        (ack,) = said(begun(), samples.BIG_BIND)
        self.assertEqual(read_ack(ack).results, (Result(ACCEPTED, 0, NDR32), Result(NEGOTIATED, 2, None)))

    def test_ndr64(self) -> None:
        """NDR64 is accepted for itself, and NDR where both are offered in one context."""
        results = read_ack(said(begun(), samples.WIDE_BIND)[0]).results
        self.assertEqual([each.transfer for each in results], [NDR32, NDR64, None])
        both = binding.bind(1, 0, (Context(0, EPM.uuid, 3, 0, (NDR64, NDR32)),))
        self.assertEqual(read_ack(said(begun(), both)[0]).results, (Result(ACCEPTED, 0, NDR32),))

    def test_rejected(self) -> None:
        """Other interfaces, versions and transfer syntaxes are rejected with the reason."""
        contexts = (
            Context(0, KNOWN["samr"].uuid, 1, 0, (NDR32,)),
            Context(1, EPM.uuid, 4, 0, (NDR32,)),
            Context(2, EPM.uuid, 3, 0, ()),
        )
        results = read_ack(said(begun(), binding.bind(1, 0, contexts))[0]).results
        reasons = (NO_INTERFACE, NO_INTERFACE, NO_TRANSFER)
        self.assertEqual(results, tuple(Result(REJECTED, reason, None) for reason in reasons))

    def test_authentication(self) -> None:
        """A client that insists on authentication is told that there is none (bind_nak, reason 8)."""
        for bind in (protected_samples.SEALED_BIND, protected_samples.SIGNED_BIND):
            script = begun()
            (nak,) = said(script, bind)
            self.assertEqual((nak.header.kind, read_nak(nak)), (BIND_NAK, 8))
            self.assertIn(Hangup("authentication asked for"), script.steps[-1][1])

    def test_alter_context(self) -> None:
        """A context more, in the same group, without a secondary address."""
        script = begun()
        group = read_ack(said(script, samples.PLAIN_BIND)[0]).group
        alter = binding.bind(2, group, (Context(1, EPM.uuid, 3, 0, (NDR64,)),), ALTER_CONTEXT)
        (ack,) = said(script, alter)
        self.assertEqual((ack.header.kind, ack.raw[24:26]), (ALTER_CONTEXT_RESPONSE, b"\0\0"))
        self.assertEqual((read_ack(ack).group, read_ack(ack).results[0].transfer), (group, NDR64))
        self.assertEqual(answered(script, LOOKUP, request(3, LOOKUP, lookup_call())).status, 0)

    def test_out_of_place(self) -> None:
        """An alter_context before the bind, or a second bind, is refused, and the end."""
        for script, data, kind in (
            (begun(), samples.ALTER, FAULT),
            (bound(), samples.PLAIN_BIND, BIND_NAK),
        ):
            self.assertEqual([pdu.header.kind for pdu in said(script, data)], [kind])
            self.assertRegex(repr(script.steps[-1][1][-1]), "out of place")

    def test_most_contexts(self) -> None:
        """256 contexts are in force; the next is rejected."""
        script = begun()
        for at in range(0, MOST_CONTEXTS + 1, 64):
            contexts = tuple(Context(at + n, EPM.uuid, 3, 0, (NDR32,)) for n in range(64))
            (ack,) = said(script, binding.bind(1, 0, contexts, ALTER_CONTEXT if at else BIND))
            wanted = ACCEPTED if at < MOST_CONTEXTS else REJECTED
            self.assertEqual({each.verdict for each in read_ack(ack).results}, {wanted})


class CallTests(SynchronousTestCase):
    """What is asked."""

    def test_map(self) -> None:
        """impacket's clients find all three interfaces of Exchange at the address that they reached."""
        script = bound()
        for data, name, port in (
            (samples.EMSMDB_CALL, "emsmdb", 6001),
            (samples.NSPI_CALL, "nspi", 6004),
            (samples.RFRI_CALL, "rfri", 6004),
        ):
            found = answered(script, MAP, data)
            self.assertEqual([e.tower for e in found.entries], [tower_of(name, port, "192.0.2.200")])
            self.assertIn(Count("rpc_epmapper_opnum_3"), script.steps[-1][1])
            self.assertIn(IDLE, script.steps[-1][1])
        self.assertEqual(answered(script, MAP, samples.LSARPC_CALL).status, NOT_REGISTERED)

    def test_ndr64(self) -> None:
        """scapy, whose calls are in NDR64."""
        found = answered(bound(samples.WIDE_BIND), MAP, samples.WIDE_CALL, wide=True)
        self.assertEqual(found.status, NOT_REGISTERED)
        call = request(1, LOOKUP, struct.pack("<IIQQI20xI", 0, 0, 0, 0, 1, 9), context=1)
        found = answered(bound(samples.WIDE_BIND), LOOKUP, call, wide=True)
        self.assertEqual(len(found.entries), 4)

    def test_big_endian(self) -> None:
        """Big-endian clients get little-endian answers, as Samba gives them."""
        found = answered(bound(samples.BIG_BIND), LOOKUP, lookup_samples.BIG_LOOKUP_CALL)
        self.assertEqual([read_tower(e.tower or b"").port for e in found.entries], [135, 6001, 6004, 6004])

    def test_advertise(self) -> None:
        """Behind NAT another address is given out."""
        found = answered(bound(advertise="203.0.113.9"), MAP, request(1, MAP, map_call(KNOWN["emsmdb"])))
        self.assertEqual(found.entries[0].tower, tower_of("emsmdb", 6001, "203.0.113.9"))

    def test_fragments(self) -> None:
        """A call in fragments, mixed with another one's, is answered once it is whole."""
        script, stub = bound(), map_call(KNOWN["nspi"])
        for call in (7, 8):
            self.assertEqual(said(script, carrier(REQUEST, call, stub[:40], opnum=MAP, flags=FIRST)), [])
        for call in (8, 7):
            (answer,) = said(script, carrier(REQUEST, call, stub[40:], opnum=MAP, flags=LAST))
            self.assertEqual(answer.header.call, call)

    def test_abandoned(self) -> None:
        """A call that is given up is forgotten; its number may be used again."""
        script, stub = bound(), map_call(KNOWN["nspi"])
        said(script, carrier(REQUEST, 7, stub[:40], opnum=MAP, flags=FIRST))
        self.assertEqual(said(script, packed(ORPHANED, 7, b"")), [])
        self.assertEqual(len(said(script, request(7, MAP, stub))), 1)

    def test_free(self) -> None:
        """A handle that is freed is none from then on (C706 appendix O)."""
        (answer,) = said(bound(), lookup_samples.FREE_CALL)
        self.assertEqual(answer.raw[24:], bytes(24))

    def test_long_answers(self) -> None:
        """An answer is cut at what the client takes, and at 1432 bytes at the least."""
        bind = bytearray(samples.PLAIN_BIND)
        bind[18:20] = (100).to_bytes(2, "little")
        served = mapper()
        for number in range(60):
            served.siblings[f"other{number}"] = service(
                RpcOptions.model_validate({"interface": f"{number:032x}"}),
                name=f"other{number}",
                protocol="rpc",
                listens=(Listening("", 7000 + number, (Backend("x/a", "a", "127.0.0.1", 1),)),),
            )
        script = Script(OwnMapper(served, Served(served)))
        script.on(Began(KNOWN_FACTS))
        script.on(Data(CLIENT, bytes(bind)))
        found = said(script, request(3, LOOKUP, lookup_call()))
        self.assertGreater(len(found), 1)
        self.assertLessEqual(max(pdu.header.length for pdu in found), 1432)
        self.assertEqual([pdu.header.flags & 3 for pdu in found], [FIRST, *[0] * (len(found) - 2), LAST])
        self.assertEqual(len(read_answer(LOOKUP, stub_of(script.client), Syntax()).entries), 64)

    def test_refused_calls(self) -> None:
        """Faults for an unknown context, operation or stub; the connection goes on."""
        script = bound()
        for data, status in (
            (request(5, MAP, map_call(EPM), context=7), 0x1C010003),
            (request(5, 1), 0x1C010002),
            (request(5, 99), 0x1C010002),
            (request(5, MAP, b"\1\0\0\0"), 0x6F7),
            (request(5, LOOKUP), 0x6F7),
        ):
            (fault,) = said(script, data)
            self.assertEqual((fault.header.kind, fault.header.call), (FAULT, 5))
            self.assertEqual(fault.unpack("I", 24), (status,))
        self.assertEqual(len(said(script, samples.NSPI_CALL)), 1)

    def test_ignored(self) -> None:
        """An auth3 and a cancel need no answer."""
        script = bound()
        for kind in (AUTH3, CO_CANCEL):
            self.assertEqual(script.on(Data(CLIENT, packed(kind, 1, bytes(4)))), [])

    def test_every_split(self) -> None:
        """However a client's bytes are cut, the answers are the same."""
        group = samples.PLAIN_BIND[:20] + b"\7\0\0\0" + samples.PLAIN_BIND[24:]
        data = group + samples.EMSMDB_CALL + lookup_samples.PART_CALL
        whole = begun()
        whole.on(Data(CLIENT, data))
        self.assertEqual([pdu.header.kind for pdu in pdus(whole.client)], [BIND_ACK, RESPONSE, RESPONSE])
        for pieces in every_split(data):
            script = begun()
            for piece in pieces:
                script.on(Data(CLIENT, piece))
            self.assertEqual(script.client, whole.client)


class EndTests(SynchronousTestCase):
    """How it ends."""

    def over(self, script: Script, event: object, *actions: object) -> None:
        """That event leads to these actions, and nothing after it to any."""
        self.assertEqual(script.on(event), list(actions))  # type: ignore[arg-type]
        self.assertEqual(script.on(Data(CLIENT, samples.NSPI_CALL)), [])
        self.assertEqual(script.on(Lost(CLIENT, "closed")), [])

    def test_silence(self) -> None:
        """A client that says nothing is not kept, before its bind or after it."""
        script = begun()
        self.assertEqual(script.deadlines, {"first-pdu": 10.0})
        self.over(script, Deadline("first-pdu"), Hangup("no packet in time"))
        script = bound()
        self.assertEqual(script.deadlines, {"idle": 660.0})
        self.over(script, Deadline("idle"), Hangup("idle"))

    def test_client_ends(self) -> None:
        """A client that has said all has got all its answers."""
        self.over(bound(), Eof(CLIENT), Hangup("client closed"))

    def test_draining(self) -> None:
        """A drain ends it at once: nothing is under way here."""
        self.over(bound(), Draining(30.0), Hangup("draining"))

    def test_malformed(self) -> None:
        """What is no DCE/RPC is counted, and the end; there are words for a bind and for a call only."""
        counted = Count("rpc_malformed")
        for script, data, kinds, reason in (
            (begun(), b"GET / HTTP/1.1\r\n\r\n", [], "not DCE/RPC: a PDU begins with 71, not with 5"),
            (begun(), packed(BIND, 9, b"\1"), [BIND_NAK], "a bind is cut short"),
            (bound(), packed(BIND_ACK, 9, b"\1"), [], "a bind_ack from a client"),
            (bound(), carrier(RESPONSE, 9), [], "a response from a client"),
            (bound(), carrier(REQUEST, 9, flags=LAST), [FAULT], "a request that is no fragment of its call"),
        ):
            found = said(script, data)
            self.assertEqual([pdu.header.kind for pdu in found], kinds)
            self.assertTrue(all(pdu.header.call == 9 for pdu in found))
            self.assertEqual(script.steps[-1][1][-2:], [counted, Hangup(f"malformed: {reason}")])
            self.assertEqual(said(script, samples.NSPI_CALL), [])

    def test_answers_before_rubbish(self) -> None:
        """A call is answered though the next PDU is malformed."""
        script = bound()
        found = said(script, samples.NSPI_CALL + packed(BIND_ACK, 9, b""))
        self.assertEqual([pdu.header.kind for pdu in found], [RESPONSE])

    def test_limits(self) -> None:
        """A PDU of more than limits.pdu bytes, and fragments of more than limits.reassembly, are refused."""
        script = bound(limits=Limits(pdu=156))
        self.assertEqual(len(said(script, samples.NSPI_CALL)), 1)
        (fault,) = said(script, carrier(REQUEST, 9, bytes(133)))
        self.assertEqual(fault.unpack("I", 24), (binding.PROTOCOL_ERROR,))
        script = bound(limits=Limits(reassembly=200))
        self.assertEqual(said(script, carrier(REQUEST, 9, bytes(100), flags=FIRST)), [])
        (fault,) = said(script, carrier(REQUEST, 9, bytes(60), flags=0))
        self.assertRegex(repr(script.steps[-1][1][-1]), "more than limits.reassembly")

    def test_strange_events(self) -> None:
        """There is no server, so nothing of one means anything."""
        script = bound()
        self.assertEqual(script.on(Data(BACKEND, b"x"))[-1:], script.steps[-1][1][-1:])
        self.assertEqual(bound().on(Lost(BACKEND, "closed")), [])
