"""protocols.msrpc.epm: a server's endpoint mapper, its answers edited."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import ToBackend, ToClient
from exproxy.interfaces import IProtocolPlugin
from exproxy.model import Destination, Facts, Source
from exproxy.plugins import find
from exproxy.testing import check_protocol_plugin, every_split, facts
from protocols.msrpc.associations import Associations
from protocols.msrpc.epm import Epm, plugin
from protocols.msrpc.ept import (
    LOOKUP,
    MAP,
    NOT_REGISTERED,
    read_answer,
    read_lookup,
)
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.own_mapper import OwnMapper
from protocols.msrpc.pdu import FIRST, LAST, RESPONSE
from tests.msrpc import lookup_samples, protected_samples, samples
from tests.msrpc.conversations import HOST, IMPACKET, Talk, mapped, mapper, places, told
from tests.msrpc.support import (
    CONNECT,
    SIGNED,
    answer,
    carrier,
    pdus,
    request,
    stub_of,
)


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
            here = mapped(bind=IMPACKET)
            here.asks(data)
            self.assertEqual(here.server, data)
            self.assertEqual(places(here.got(said)), [(port, HOST)])

    def test_by_port(self) -> None:
        """Without an interface of ours: the service behind which the server has that port."""
        here = mapped()
        here.asks(samples.SAMR_CALL)
        self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, HOST)])

    def test_every_split(self) -> None:
        """However the answer is cut, the client gets the same, and nothing of it before it is whole."""
        wanted = mapped()
        wanted.asks(samples.SAMR_CALL)
        whole = wanted.got(samples.SAMR_ANSWER)
        for pieces in every_split(samples.SAMR_ANSWER):
            here = mapped()
            here.asks(samples.SAMR_CALL)
            said = [here.got(piece) for piece in pieces]
            self.assertEqual(said, [b""] * (len(pieces) - 1) + [whole])

    def test_every_split_of_a_call(self) -> None:
        """However the call is cut, its answer is edited."""
        for pieces in every_split(samples.SAMR_CALL):
            here = mapped()
            for piece in pieces:
                here.asks(piece)
            self.assertEqual(places(here.got(samples.SAMR_ANSWER)), [(6100, HOST)])

    def test_ndr64(self) -> None:
        """scapy's client and server, in NDR64."""
        here = mapped(bind=(samples.WIDE_BIND, samples.WIDE_BIND_ACK))
        here.asks(samples.WIDE_CALL)
        self.assertEqual(places(here.got(samples.WIDE_ANSWER), wide=True), [(6001, HOST)])

    def test_big_endian(self) -> None:
        """Big-endian clients, whose answers are little-endian; and a big-endian server."""
        here = mapped(bind=(samples.SCAPY_BIND, samples.SCAPY_BIND_ACK))
        here.asks(samples.SCAPY_CALL)
        self.assertEqual([host for _, host in places(here.got(samples.SCAPY_ANSWER))], [HOST])
        here = mapped(bind=(samples.BIG_BIND, samples.BIG_BIND_ACK))
        here.asks(request(4, MAP, samples.BIG_MAP_STUB, little=False))
        said = here.got(answer(4, samples.BIG_MAP_STUB_ANSWER, little=False))
        self.assertEqual(places(said), [(6100, HOST)])

    def test_advertise(self) -> None:
        """Behind NAT another address is given out; where a client reached IPv6, none: any."""
        here = mapped(advertise="203.0.113.9")
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
        here = mapped()
        here.asks(samples.SAMR_CALL)
        self.assertEqual(here.got(moved), moved)
        here = mapped(others="hide")
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
        here = mapped(bind=IMPACKET, others="hide")
        here.asks(samples.LSARPC_CALL)
        self.assertEqual(here.got(samples.LSARPC_ANSWER), samples.LSARPC_ANSWER)

    def test_unreadable(self) -> None:
        """An answer that nobody understands passes as it was."""
        here = mapped()
        here.asks(samples.SAMR_CALL)
        strange = answer(2, b"strange")
        self.assertEqual(here.got(strange), strange)


class LookupTests(SynchronousTestCase):
    """ept_lookup through exproxy."""

    def test_fragments(self) -> None:
        """An answer in two fragments: the same fragments, of which our ports and addresses are different."""
        here = mapped(bind=(lookup_samples.ALL_BIND, lookup_samples.ALL_BIND_ACK))
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
        whole = mapped()
        whole.asks(lookup_samples.ALL_CALL)
        here = mapped()
        here.asks(lookup_samples.ALL_CALL)
        pieces = [here.got(data[at : at + 7]) for at in range(0, len(data), 7)]
        self.assertEqual(b"".join(pieces), whole.got(data))
        self.assertFalse(here.rpc.busy)

    def test_handles(self) -> None:
        """Part after part, and the handle's end: handles pass as they are, a freed one unedited."""
        here = mapped()
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
        here = mapped(others="hide")
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
            here = mapped(bind=(protected_samples.SIGNED_BIND, protected_samples.SIGNED_BIND_ACK))
            here.asks(protected_samples.SIGNED_CALL)
            self.assertEqual(b"".join(here.got(piece) for piece in pieces), protected_samples.SIGNED_ANSWER)

    def test_levels(self) -> None:
        """From level 4 (packet) on; below, a trailer protects nothing, and towers are edited."""
        stub = stub_of(samples.SAMR_ANSWER)
        for level in range(1, 7):
            here = mapped()
            here.asks(samples.SAMR_CALL)
            trailer = SIGNED[:1] + bytes([level]) + SIGNED[2:]
            data = answer(2, stub, trailer=trailer)
            self.assertEqual(here.got(data) == data, level >= 4, level)

    def test_in_fragments(self) -> None:
        """A signed fragment after others: all pass as they were."""
        here = mapped()
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
