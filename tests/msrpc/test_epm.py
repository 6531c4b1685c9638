"""protocols.msrpc.epm: a server's endpoint mapper, its answers edited."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Hangup, ToBackend, ToClient
from exproxy.backend import Backend
from exproxy.events import Lost
from exproxy.interfaces import IProtocolPlugin
from exproxy.model import BACKEND, Destination, Facts, Listening, Source
from exproxy.plugins import find
from exproxy.settings import Limits
from exproxy.testing import FakeService, check_protocol_plugin, every_split, facts, service
from protocols.msrpc import binding
from protocols.msrpc.associations import Associations
from protocols.msrpc.binding import NDR64, Context, Result
from protocols.msrpc.epm import MOST_CALLS, Epm, plugin
from protocols.msrpc.ept import (
    LOOKUP,
    MAP,
    NO_HANDLE,
    NOT_REGISTERED,
    Answer,
    Entry,
    map_call,
    read_answer,
    read_lookup,
    write_answer,
)
from protocols.msrpc.names import EPM, KNOWN
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.options import EpmOptions, RpcOptions
from protocols.msrpc.own_mapper import OwnMapper
from protocols.msrpc.pdu import FAULT, FIRST, LAST, ORPHANED, REQUEST, RESPONSE
from protocols.msrpc.tower import read_tower
from tests.msrpc import lookup_samples, protected_samples, samples
from tests.msrpc.conversations import Talk, reason, told
from tests.msrpc.support import (
    CONNECT,
    SIGNED,
    answer,
    carrier,
    one,
    packed,
    pdus,
    request,
    stub_of,
    tower_of,
)

HOST = "192.0.2.200"


def mapper(limits: Limits | None = None, **options: object) -> FakeService:
    """A mapper's service beside RPC services for EMSMDB and NSPI, and one for whatever is at 59531."""
    behind = tuple(Backend(f"ports/{name}", name, "127.0.0.11", 59531) for name in ("exch1", "exch2"))
    others = [
        service(
            RpcOptions(interface=tuple(KNOWN[name] for name in names)),
            name="-".join(names) or "ports",
            protocol="rpc",
            listens=(Listening("", port, backends),),
        )
        for names, port, backends in (
            (("emsmdb",), 6001, ()),
            (("nspi", "rfri"), 6004, ()),
            ((), 6100, behind),
        )
    ]
    here = (Listening("", 135, (Backend("epm/exch1", "exch1", "127.0.0.11", 135),)),)
    chosen = EpmOptions.model_validate(options)
    return service(chosen, name="epm", protocol="epm", listens=here, siblings=others, limits=limits)


def talk(
    limits: Limits | None = None,
    bind: tuple[bytes, bytes] = (samples.PLAIN_BIND, samples.PLAIN_BIND_ACK),
    **options: object,
) -> Talk:
    """A client that has bound to the mapper of exch1."""
    return Talk(mapper(limits, **options), kind=Epm).bound(*bind)


def places(data: bytes, operation: int = MAP, wide: bool = False) -> list[tuple[int, str]]:
    """Ports and addresses in an answer."""
    syntax = Syntax(pdus(data)[0].header.little, wide)
    entries = read_answer(operation, stub_of(data), syntax).entries
    towers = [read_tower(entry.tower or b"") for entry in entries]
    return [(tower.port, tower.host) for tower in towers]


class PluginTests(SynchronousTestCase):
    """What the framework asks of it."""

    def test_contract(self) -> None:
        """It keeps what the framework counts on, is found by its name, and is at port 135."""
        check_protocol_plugin(
            plugin, opening=samples.PLAIN_BIND, conversation=lambda served: Epm(served, Associations())
        )
        self.assertIs(find(IProtocolPlugin, "epm"), plugin)
        self.assertEqual((dict(plugin.default_ports), plugin.defaults["check"]), ({135: "none"}, "epm"))
        self.assertEqual(plugin.defaults["timeouts"], {"idle": "2h10m"})

    def test_who_answers(self) -> None:
        """A server's mapper, or our own, as the options say."""
        for answer_by, kind in (("backend", Epm), ("proxy", OwnMapper)):
            served = mapper(answer=answer_by)
            self.assertIsInstance(plugin.factory(served)._conversation(served), kind)


class MapTests(SynchronousTestCase):
    """ept_map through exproxy."""

    def test_by_interface(self) -> None:
        """impacket's clients are led to our ports for Exchange's interfaces, at the address they reached."""
        for data, said, port in (
            (samples.EMSMDB_CALL, samples.EMSMDB_ANSWER, 6001),
            (samples.NSPI_CALL, samples.NSPI_ANSWER, 6004),
            (samples.RFRI_CALL, samples.RFRI_ANSWER, 6004),
        ):
            here = talk(bind=(samples.IMPACKET_BIND, samples.IMPACKET_BIND_ACK))
            here.asks(data)
            self.assertEqual(here.server, data)
            self.assertEqual(places(here.got(said)), [(port, HOST)])

    def test_by_port(self) -> None:
        """Without an interface of ours: the service behind which the server has that port."""
        here = talk()
        here.asks(samples.SAMR_CALL)
        self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, HOST)])

    def test_every_split(self) -> None:
        """However the answer is cut, the client gets the same, and nothing of it before it is whole."""
        wanted = talk()
        wanted.asks(samples.SAMR_CALL)
        whole = wanted.got(samples.SAMR_ANSWER)
        for pieces in every_split(samples.SAMR_ANSWER):
            here = talk()
            here.asks(samples.SAMR_CALL)
            said = [here.got(piece) for piece in pieces]
            self.assertEqual(said, [b""] * (len(pieces) - 1) + [whole])

    def test_every_split_of_a_call(self) -> None:
        """However the call is cut, its answer is edited."""
        for pieces in every_split(samples.SAMR_CALL):
            here = talk()
            for piece in pieces:
                here.asks(piece)
            self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, HOST)])

    def test_ndr64(self) -> None:
        """scapy's client and server, in NDR64."""
        here = talk(bind=(samples.WIDE_BIND, samples.WIDE_BIND_ACK))
        here.asks(samples.WIDE_CALL)
        self.assertEqual(places(here.got(samples.WIDE_ANSWER), wide=True), [(6001, HOST)])

    def test_big_endian(self) -> None:
        """Big-endian clients, whose answers are little-endian; and a big-endian server."""
        here = talk(bind=(samples.SCAPY_BIND, samples.SCAPY_BIND_ACK))
        here.asks(samples.SCAPY_CALL)
        self.assertEqual([host for _, host in places(here.got(samples.SCAPY_ANSWER))], [HOST])
        here = talk(bind=(samples.BIG_BIND, samples.BIG_BIND_ACK))
        here.asks(request(4, MAP, samples.BIG_MAP_STUB, little=False))
        said = here.got(answer(4, samples.BIG_MAP_STUB_ANSWER, little=False))
        self.assertEqual(places(said), [(6100, HOST)])

    def test_advertise(self) -> None:
        """Behind NAT another address is given out; where a client reached IPv6, none: any."""
        here = talk(advertise="203.0.113.9")
        here.asks(samples.SAMR_CALL)
        self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, "203.0.113.9")])
        known = facts(source="2001:db8::7", destination="2001:db8::1", port=135)
        here = Talk(mapper(), kind=Epm, known=known).bound()
        here.asks(samples.SAMR_CALL)
        self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, "0.0.0.0")])

    def test_behind_a_proxy(self) -> None:
        """Where a PROXY header says which address the client reached, that is the one given out."""
        reached = Destination("198.51.100.1", 135, 1135)
        here = Talk(mapper(), kind=Epm, known=Facts(Source("192.0.2.1", 40000), reached)).bound()
        here.asks(samples.SAMR_CALL)
        self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, "198.51.100.1")])

    def test_others(self) -> None:
        """What is not here passes as it was, or is hidden."""
        moved = answer(2, stub_of(samples.SAMR_ANSWER).replace(b"\xe8\x8b", b"\xe8\x8c"))
        here = talk()
        here.asks(samples.SAMR_CALL)
        self.assertEqual(here.got(moved), moved)
        here = talk(others="hide")
        here.asks(samples.SAMR_CALL)
        found = read_answer(MAP, stub_of(here.got(moved)), Syntax())
        self.assertEqual((found.entries, found.status), ((), NOT_REGISTERED))

    def test_by_the_server_that_answers(self) -> None:
        """A port is looked for behind the server that gave it out."""
        for server, port in (("exch1", 6100), ("exch2", 6100), ("exch3", 59531)):
            here = Talk(mapper(), kind=Epm).bound(server=server)
            here.asks(samples.SAMR_CALL)
            self.assertEqual(places(here.got(samples.SAMR_ANSWER))[0][0], port)

    def test_empty(self) -> None:
        """Nothing registered is nothing registered."""
        here = talk(bind=(samples.IMPACKET_BIND, samples.IMPACKET_BIND_ACK), others="hide")
        here.asks(samples.LSARPC_CALL)
        self.assertEqual(here.got(samples.LSARPC_ANSWER), samples.LSARPC_ANSWER)

    def test_unreadable(self) -> None:
        """An answer that nobody understands passes as it was."""
        here = talk(others="hide")
        here.asks(samples.SAMR_CALL)
        strange = answer(2, b"strange")
        self.assertEqual(here.got(strange), strange)


class LookupTests(SynchronousTestCase):
    """ept_lookup through exproxy."""

    def test_fragments(self) -> None:
        """An answer in two fragments: the same fragments, of which our ports and addresses are different."""
        here = talk(bind=(lookup_samples.ALL_BIND, lookup_samples.ALL_BIND_ACK))
        here.asks(lookup_samples.ALL_CALL)
        first, last = (pdu.raw for pdu in pdus(lookup_samples.ALL_ANSWER))
        self.assertEqual(here.got(first), b"")
        said = here.got(last)
        self.assertEqual([len(pdu.raw) for pdu in pdus(said)], [4280, 596])
        self.assertIn((135, HOST), places(said, LOOKUP))
        self.assertEqual(stub_of(said)[-4:], stub_of(lookup_samples.ALL_ANSWER)[-4:])

    def test_small_pieces(self) -> None:
        """The same in pieces of 7 bytes."""
        data = lookup_samples.ALL_ANSWER
        whole = talk()
        whole.asks(lookup_samples.ALL_CALL)
        here = talk()
        here.asks(lookup_samples.ALL_CALL)
        pieces = [here.got(data[at : at + 7]) for at in range(0, len(data), 7)]
        self.assertEqual(b"".join(pieces), whole.got(data))
        self.assertFalse(here.rpc.busy)

    def test_handles(self) -> None:
        """Part after part, and the handle's end: handles pass as they are, a freed one unedited."""
        here = talk()
        here.asks(lookup_samples.PART_CALL)
        said = here.got(lookup_samples.PART_ANSWER)
        self.assertEqual(said[24:44], lookup_samples.PART_ANSWER[24:44])
        here.asks(lookup_samples.FREE_CALL)
        self.assertEqual(here.got(lookup_samples.FREE_ANSWER), lookup_samples.FREE_ANSWER)
        here.asks(lookup_samples.LAST_CALL)
        found = read_answer(LOOKUP, stub_of(here.got(lookup_samples.LAST_ANSWER)), Syntax())
        self.assertEqual((len(found.entries), found.status), (8, NOT_REGISTERED))

    def test_hide(self) -> None:
        """Only what is here is left; where nothing of a part is, the server is asked on from its handle."""
        here = talk(others="hide")
        here.asks(lookup_samples.PART_CALL)
        part = read_answer(LOOKUP, stub_of(lookup_samples.PART_ANSWER), Syntax())
        actions = here.says(lookup_samples.PART_ANSWER)
        [again] = [action.data for action in actions if isinstance(action, ToBackend)]
        self.assertEqual(told(actions), [])
        call, asked = (read_lookup(stub_of(each), Syntax()) for each in (lookup_samples.PART_CALL, again))
        self.assertEqual(asked, replace(call, handle=part.handle))
        self.assertEqual(again[:24], lookup_samples.PART_CALL[:24])
        here.asks(lookup_samples.ALL_CALL)
        self.assertEqual(set(places(here.got(lookup_samples.ALL_ANSWER), LOOKUP)), {(135, HOST)})


class ElsewhereTests(SynchronousTestCase):
    """An interface that this server's mapper has lost, while others have it."""

    def found(self, name: str, usable: bool) -> tuple[int, list[tuple[int, str]]]:
        """Status and places of the answer to a map of that interface, of which the server knows nothing."""
        here = talk()
        [at] = here.rpc.service.siblings["emsmdb"].listenings()
        backend = Backend("emsmdb/exch2", "exch2", "127.0.0.12", 6142)
        backend.operator = "ready" if usable else "maint"
        here.rpc.service.siblings["emsmdb"].listens = (replace(at, backends=(backend,)),)
        here.asks(request(9, MAP, map_call(KNOWN[name])))
        empty = write_answer(MAP, Answer(NO_HANDLE, 4, (), NOT_REGISTERED), Syntax())
        data = here.got(answer(9, empty, 4096))
        return read_answer(MAP, stub_of(data), Syntax()).status, places(data)

    def test_elsewhere(self) -> None:
        """The client is led to our port, behind which another server is."""
        self.assertEqual(self.found("emsmdb", True), (0, [(6001, HOST)]))

    def test_nowhere(self) -> None:
        """What no usable server has, or no service here, is not registered."""
        self.assertEqual(self.found("emsmdb", False), (NOT_REGISTERED, []))
        self.assertEqual(self.found("samr", True), (NOT_REGISTERED, []))


class CallsTests(SynchronousTestCase):
    """Several calls, and what is none of them."""

    def answers(self, *names: str, first: int = 1) -> list[bytes]:
        """An answer to a map in three fragments for each of these, as calls ``first``, ``first`` + 1 …"""
        found = []
        for call, name in enumerate(names, first):
            entries = (Entry(tower_of(name, 59531)),)
            stub = write_answer(MAP, Answer(NO_HANDLE, 4, entries, 0), Syntax())
            found.append(answer(call, stub, 48))
        return found

    def test_interleaved(self) -> None:
        """Calls that run at once, their answers' fragments mixed with each other and with others'."""
        here = talk()
        for call in (1, 2):
            here.asks(request(call, MAP, b"x"))
        here.asks(request(3, 99))
        one_answer, other = (pdus(each) for each in self.answers("emsmdb", "nspi"))
        foreign = carrier(RESPONSE, 3, b"12345678")
        self.assertEqual(here.got(one_answer[0].raw + other[0].raw), b"")
        self.assertEqual(here.got(foreign), foreign)
        self.assertEqual(here.got(other[1].raw + one_answer[1].raw), b"")
        self.assertEqual(places(here.got(other[2].raw)), [(6004, HOST)])
        self.assertEqual(places(here.got(one_answer[2].raw)), [(6001, HOST)])

    def test_together(self) -> None:
        """Several answers in one piece, each edited, in their order."""
        here = talk()
        for call in (1, 2, 3):
            here.asks(request(call, MAP, b"x"))
        said = here.got(b"".join(self.answers("emsmdb", "samr", "nspi")))
        self.assertEqual([pdu.header.call for pdu in pdus(said)], [1] * 3 + [2] * 3 + [3] * 3)
        self.assertEqual(places(b"".join(pdu.raw for pdu in pdus(said)[:3])), [(6001, HOST)])

    def test_other_operations(self) -> None:
        """Answers to other calls pass as they come, piece by piece."""
        here = talk()
        here.asks(request(1, 5, b"x"))
        (data,) = self.answers("emsmdb")
        self.assertEqual([here.got(data[:60]), here.got(data[60:])], [data[:60], data[60:]])

    def test_other_interfaces(self) -> None:
        """Operations 2 and 3 of another interface are no business of the mapper's."""
        here = talk()
        here.asks(request(1, MAP, b"x", context=7))
        (data,) = self.answers("emsmdb")
        self.assertEqual(here.got(data), data)

    def test_alter_context(self) -> None:
        """A context that is added later counts, in its own syntax."""
        here = talk()
        alter = binding.bind(2, 0, (Context(1, EPM.uuid, 3, 0, (NDR64,)),), 14)
        here.asks(alter)
        here.says(binding.ack(2, binding.read_bind(one(alter)), 0, 0, (Result(0, 0, NDR64),), 15))
        here.asks(samples.WIDE_CALL)
        self.assertEqual(places(here.got(samples.WIDE_ANSWER), wide=True), [(6001, HOST)])

    def test_number_used_again(self) -> None:
        """A call's number may be used again, for another operation too."""
        here = talk()
        for _ in range(3):
            here.asks(request(1, MAP, b"x"))
            self.assertEqual(places(here.got(self.answers("emsmdb")[0])), [(6001, HOST)])
            here.asks(request(1, 5, b"x"))
            (data,) = self.answers("emsmdb")
            self.assertEqual(here.got(data), data)

    def test_number_used_again_too_early(self) -> None:
        """Where a number is used for another call while its answer comes, what was kept is not lost."""
        here = talk()
        here.asks(request(1, MAP, b"x"))
        first, *rest = pdus(self.answers("emsmdb")[0])
        self.assertEqual(here.got(first.raw), b"")
        here.asks(request(1, 5, b"x"))
        self.assertEqual(here.got(rest[0].raw), first.raw + rest[0].raw)

    def test_orphaned(self) -> None:
        """The answer to a call that was given up is edited all the same, if it comes."""
        here = talk()
        here.asks(samples.SAMR_CALL)
        here.asks(packed(ORPHANED, 2, b""))
        self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, HOST)])

    def test_calls_in_fragments(self) -> None:
        """A call in fragments is known by its first."""
        here = talk()
        here.asks(carrier(REQUEST, 1, b"x" * 8, opnum=MAP, flags=FIRST))
        here.asks(carrier(REQUEST, 1, b"x" * 8, opnum=MAP, flags=LAST))
        self.assertEqual(places(here.got(self.answers("emsmdb")[0])), [(6001, HOST)])

    def test_most_calls(self) -> None:
        """256 calls are waited for; of more, the oldest answers pass as they are."""
        here = talk()
        for call in range(1, MOST_CALLS + 2):
            here.asks(request(call, MAP, b"x"))
        (data,) = self.answers("emsmdb")
        self.assertEqual(here.got(data), data)
        for call in (2, MOST_CALLS + 1):
            self.assertEqual(places(here.got(self.answers("emsmdb", first=call)[0])), [(6001, HOST)])


class FaultTests(SynchronousTestCase):
    """Calls that end otherwise."""

    def test_fault(self) -> None:
        """A fault passes, and is the end of its call."""
        here = talk()
        here.asks(samples.SAMR_CALL)
        fault = binding.fault(2, 0, 5)
        self.assertEqual(here.got(fault), fault)
        self.assertEqual(here.got(samples.SAMR_ANSWER), samples.SAMR_ANSWER)

    def test_in_the_middle(self) -> None:
        """A fault after the first fragment: the client gets that too, however the fault is cut."""
        first = pdus(lookup_samples.ALL_ANSWER)[0].raw
        fault = binding.fault(1, 0, 5, executed=True)
        for pieces in every_split(fault):
            here = talk()
            here.asks(lookup_samples.ALL_CALL)
            self.assertEqual(here.got(first), b"")
            self.assertEqual(b"".join(here.got(piece) for piece in pieces), first + fault)
            # Its number is free again.
            here.asks(lookup_samples.ALL_CALL)
            self.assertEqual(here.got(first), b"")

    def test_lost_in_the_middle(self) -> None:
        """A server that is lost with half an answer kept here leaves a fault for the call."""
        here = talk()
        here.asks(lookup_samples.ALL_CALL)
        here.says(pdus(lookup_samples.ALL_ANSWER)[0].raw)
        actions = here.on(Lost(BACKEND, "reset"))
        self.assertEqual([(pdu.header.kind, pdu.header.call) for pdu in told(actions)], [(FAULT, 1)])
        self.assertEqual(actions[-1], Hangup("server reset"))

    def test_limit(self) -> None:
        """An answer of more than limits.reassembly bytes ends the connection, with a fault for the call."""
        here = talk(Limits(reassembly=5000))
        here.asks(lookup_samples.ALL_CALL)
        self.assertNotEqual(here.got(lookup_samples.ALL_ANSWER), b"")
        here = talk(Limits(reassembly=4875))
        here.asks(lookup_samples.ALL_CALL)
        actions = here.says(lookup_samples.ALL_ANSWER)
        self.assertEqual([pdu.header.kind for pdu in told(actions)], [FAULT])
        self.assertRegex(reason(actions) or "", r"more than limits\.reassembly \(4875\)")

    def test_out_of_order(self) -> None:
        """An answer without a begin ends the connection."""
        here = talk()
        here.asks(lookup_samples.ALL_CALL)
        actions = here.says(pdus(lookup_samples.ALL_ANSWER)[1].raw)
        self.assertRegex(reason(actions) or "", "no fragment of its call")


class ProtectedTests(SynchronousTestCase):
    """What nobody may change."""

    def test_real_one(self) -> None:
        """A signed conversation passes byte for byte."""
        here = Talk(mapper(others="hide"), kind=Epm)
        here.opened(protected_samples.SIGNED_BIND)
        for said, heard in (
            (None, protected_samples.SIGNED_BIND_ACK),
            (protected_samples.SIGNED_ALTER, protected_samples.SIGNED_ALTER_ACK),
            (protected_samples.SIGNED_CALL, protected_samples.SIGNED_ANSWER),
        ):
            if said is not None:
                here.server = b""
                here.asks(said)
                self.assertEqual(here.server, said)
            self.assertEqual(here.got(heard), heard)

    def test_every_split(self) -> None:
        """However its answer is cut."""
        for pieces in every_split(protected_samples.SIGNED_ANSWER):
            here = talk(bind=(protected_samples.SIGNED_BIND, protected_samples.SIGNED_BIND_ACK))
            here.asks(protected_samples.SIGNED_CALL)
            self.assertEqual(b"".join(here.got(piece) for piece in pieces), protected_samples.SIGNED_ANSWER)

    def test_levels(self) -> None:
        """From level 4 (packet) on; below, a trailer protects nothing, and towers are edited."""
        stub = stub_of(samples.SAMR_ANSWER)
        for level in range(1, 7):
            here = talk()
            here.asks(samples.SAMR_CALL)
            trailer = SIGNED[:1] + bytes([level]) + SIGNED[2:]
            data = answer(2, stub, trailer=trailer)
            self.assertEqual(here.got(data) == data, level >= 4, level)

    def test_in_fragments(self) -> None:
        """A signed fragment after others: all pass as they were."""
        here = talk()
        here.asks(samples.SAMR_CALL)
        stub = stub_of(samples.SAMR_ANSWER)
        first = carrier(RESPONSE, 2, stub[:64], flags=FIRST, trailer=CONNECT)
        last = carrier(RESPONSE, 2, stub[64:], flags=LAST, trailer=SIGNED)
        self.assertEqual([here.got(first), here.got(last)], [b"", first + last])


class BehindTests(SynchronousTestCase):
    """What an Epm has of Rpc."""

    def test_agreed(self) -> None:
        """The group is learnt, and calls are counted."""
        here = Talk(mapper(), kind=Epm).opened()
        self.assertIn(ToClient(samples.PLAIN_BIND_ACK), here.says(samples.PLAIN_BIND_ACK))
        self.assertEqual(here.rpc.calling.group, 0xF8BC)
        self.assertIn("rpc_epmapper_opnum_3", repr(here.asks(samples.SAMR_CALL)))
