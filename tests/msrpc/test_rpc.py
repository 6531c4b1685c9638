"""protocols.msrpc.rpc: RPC connections up to their end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Count, Hangup, Learn, Pick, Record, SetDeadline, ToBackend, ToClient
from exproxy.events import Connected, Data, Deadline, Draining, Eof, Lost, Unavailable
from exproxy.interfaces import ILocator, IProtocolPlugin
from exproxy.model import CLIENT, AssociationGroup
from exproxy.plugins import find
from exproxy.settings import Limits
from exproxy.testing import check_protocol_plugin, every_split, link, service
from protocols.msrpc import binding
from protocols.msrpc.associations import Associations
from protocols.msrpc.binding import BAD_VERSION, NDR64, Context, Result, read_nak
from protocols.msrpc.names import KNOWN as INTERFACES
from protocols.msrpc.options import RpcOptions
from protocols.msrpc.pdu import (
    ALTER_CONTEXT,
    ALTER_CONTEXT_RESPONSE,
    BIND,
    BIND_NAK,
    ORPHANED,
    SHUTDOWN,
    Pdu,
)
from protocols.msrpc.rpc import Rpc, RpcProtocol, plugin
from tests.msrpc import protected_samples, samples
from tests.msrpc.conversations import KNOWN, Talk, exchange, reason, statuses, told
from tests.msrpc.support import one, packed, request

IDLE = SetDeadline("idle", 660.0)
PICKED = SetDeadline("first-pdu", None)
AGREED = {"interfaces": ["epmapper"], "association": "0x0000f8bc"}


class PluginTests(SynchronousTestCase):
    """What the framework asks of it."""

    def test_contract(self) -> None:
        """It keeps what the framework counts on, and is found by its name."""
        for options in (RpcOptions(), RpcOptions(relay="full")):
            check_protocol_plugin(
                plugin,
                opening=samples.PLAIN_BIND,
                options=options,
                conversation=lambda served: Rpc(served, Associations()),
            )
        self.assertIs(find(IProtocolPlugin, "rpc"), plugin)
        self.assertIsInstance(plugin, RpcProtocol)

    def test_settings(self) -> None:
        """Connections outlive a client's keep-alive of two hours; those of a server that is down are cut."""
        self.assertEqual(plugin.defaults["timeouts"], {"idle": "2h10m"})
        self.assertEqual((plugin.defaults["on-down"], plugin.defaults["check"]), ("cut", "rpc"))
        self.assertEqual(plugin.gives, (AssociationGroup,))

    def test_interface(self) -> None:
        """What a service names is where its servers' ports are asked for, and what its check asks."""
        self.assertEqual((plugin.locator(RpcOptions()), plugin.defaults_of(RpcOptions())), (None, {}))
        options = RpcOptions.model_validate({"interface": ["nspi", "rfri"], "mapper-port": 1135})
        locator = plugin.locator(options)
        self.assertTrue(ILocator.providedBy(locator))
        assert locator is not None
        self.assertEqual(locator.port, 1135)
        self.assertEqual(plugin.defaults_of(options), {"check": {"rpc": {"interface": ["nspi", "rfri"]}}})

    def test_factory(self) -> None:
        """The conversations of one service know each other's associations."""
        factory = plugin.factory(service(RpcOptions()))
        one_talk, other = (factory._conversation(service(RpcOptions())) for _ in range(2))
        self.assertIs(one_talk._associations, other._associations)


class FirstPduTests(SynchronousTestCase):
    """Before there is a server."""

    def test_bind(self) -> None:
        """The first packet leads to a server, which gets all that was held."""
        talk = Talk()
        self.assertEqual(talk.deadlines, {"first-pdu": 10.0})
        self.assertEqual(talk.asks(samples.PLAIN_BIND), [PICKED, Pick(KNOWN)])
        self.assertEqual(talk.on(Connected(link())), [ToBackend(samples.PLAIN_BIND), IDLE])

    def test_every_split(self) -> None:
        """However the bytes are cut, a server is picked once the whole bind is there, and gets it whole."""
        for bind in (samples.PLAIN_BIND, samples.BIG_BIND):
            for pieces in every_split(bind):
                talk = Talk()
                picks = [[a for a in talk.asks(piece) if isinstance(a, Pick)] for piece in pieces]
                self.assertEqual(picks, [[]] * (len(pieces) - 1) + [[Pick(KNOWN)]])
                talk.on(Connected(link()))
                self.assertEqual(talk.server, bind)

    def test_more_than_a_bind(self) -> None:
        """What came with the bind goes with it."""
        talk = Talk()
        data = samples.PLAIN_BIND + samples.SAMR_CALL[:50]
        talk.asks(data)
        talk.on(Connected(link()))
        talk.asks(samples.SAMR_CALL[50:])
        self.assertEqual(talk.server, samples.PLAIN_BIND + samples.SAMR_CALL)

    def test_group(self) -> None:
        """A bind that names an association group is picked for by it, in both byte orders."""
        self.assertIn(Pick(KNOWN.plus(AssociationGroup(0x374D))), Talk().asks(samples.JOIN_BIND))
        big = samples.BIG_BIND[:20] + b"\0\0\x37\x4d" + samples.BIG_BIND[24:]
        self.assertIn(Pick(KNOWN.plus(AssociationGroup(0x374D))), Talk().asks(big))

    def test_request_first(self) -> None:
        """A call without a bind is a server's to refuse; it is led there as soon as its begin is there."""
        talk = Talk()
        self.assertEqual(talk.asks(samples.SAMR_CALL[:23]), [])
        self.assertIn(Pick(KNOWN), talk.asks(samples.SAMR_CALL[23:40]))
        talk.on(Connected(link()))
        talk.asks(samples.SAMR_CALL[40:])
        self.assertEqual(talk.server, samples.SAMR_CALL)

    def test_silence(self) -> None:
        """A client that says nothing is not kept."""
        talk = Talk()
        self.assertEqual(talk.expire("first-pdu"), [Hangup("no packet in 10 s")])
        self.assertEqual(talk.asks(samples.PLAIN_BIND), [])

    def test_early_end(self) -> None:
        """A client that ends before its first packet is not kept, and neither is one at a drain."""
        self.assertEqual(Talk().on(Eof(CLIENT)), [Hangup("ended before its first packet")])
        self.assertEqual(Talk().on(Draining(30.0)), [Hangup("draining")])
        self.assertEqual(Talk().on(Lost(CLIENT, "closed")), [])

    def test_rubbish(self) -> None:
        """What does not begin like DCE/RPC costs no server anything, and the log says why."""
        self.assertEqual(
            Talk().asks(b"GET / HTTP/1.1\r\n\r\n"),
            [
                Count("rpc_malformed"),
                Hangup("malformed: not DCE/RPC: a PDU begins with 71, not with 5"),
            ],
        )

    def test_malformed_bind(self) -> None:
        """A bind that is cut short, or longer than limits.pdu, gets a bind_nak."""
        for talk, data in (
            (Talk(), packed(BIND, 9, b"\1")),
            (Talk(service(RpcOptions(), limits=Limits(pdu=71))), samples.PLAIN_BIND),
        ):
            actions = talk.asks(data)
            (nak,) = told(actions)
            self.assertEqual((nak.header.kind, read_nak(nak)), (BIND_NAK, BAD_VERSION))
            self.assertIn(Count("rpc_malformed"), actions)
            self.assertRegex(reason(actions) or "", "^malformed: a bind ")

    def test_limit(self) -> None:
        """A bind of limits.pdu bytes is taken."""
        talk = Talk(service(RpcOptions(), limits=Limits(pdu=72)))
        self.assertIn(Pick(KNOWN), talk.asks(samples.PLAIN_BIND))


class RefusalTests(SynchronousTestCase):
    """Where there is no server."""

    def refused(self, data: bytes, event: Unavailable) -> list[Pdu]:
        """What a client is told that said ``data`` first."""
        talk = Talk()
        talk.asks(data)
        actions = talk.on(event)
        self.assertEqual(actions[-1], Hangup())
        self.assertEqual(talk.on(Data(CLIENT, samples.SAMR_CALL)), [])
        return told(actions)

    def test_bind(self) -> None:
        """A bind is refused with a reason that passes: congestion, or a limit that was reached."""
        for full, number in ((False, 1), (True, 2)):
            (nak,) = self.refused(samples.PLAIN_BIND, Unavailable("all are DOWN", full))
            self.assertEqual((nak.header.kind, nak.header.call, read_nak(nak)), (BIND_NAK, 1, number))

    def test_counted(self) -> None:
        """Refused binds are counted."""
        talk = Talk()
        talk.asks(samples.BIG_BIND)
        self.assertIn(Count("rpc_binds_refused"), talk.on(Unavailable("all are DOWN")))

    def test_request(self) -> None:
        """A call is refused with a fault: the server is too busy."""
        found = self.refused(samples.SAMR_CALL, Unavailable("all are DOWN"))
        self.assertEqual(statuses(found), [(2, 0, binding.TOO_BUSY)])

    def test_others(self) -> None:
        """For other packets there are no words."""
        self.assertEqual(self.refused(samples.ALTER, Unavailable("all are DOWN")), [])


class AgreementTests(SynchronousTestCase):
    """The server's answer to the bind."""

    def test_learnt(self) -> None:
        """The group that the server gave out is learnt, and is in the log with the interfaces."""
        talk = Talk().opened()
        self.assertEqual(
            talk.says(samples.PLAIN_BIND_ACK),
            [IDLE, ToClient(samples.PLAIN_BIND_ACK), Record(AGREED), Learn(AssociationGroup(0xF8BC))],
        )

    def test_not_twice(self) -> None:
        """An alter_context tells no new group: it is recorded, and not learnt again."""
        talk = Talk().bound(*exchange("emsmdb"))
        alter = binding.bind(2, 0x77, (Context(1, INTERFACES["nspi"].uuid, 56, 0, (NDR64,)),), ALTER_CONTEXT)
        self.assertEqual(talk.asks(alter), [IDLE, ToBackend(alter)])
        answer = binding.ack(
            2, binding.read_bind(one(alter)), 0x77, 0, (Result(0, 0, NDR64),), ALTER_CONTEXT_RESPONSE
        )
        _, _, *rest = talk.says(answer)
        fields = {"interfaces": ["emsmdb", "nspi"], "association": "0x00000077"}
        self.assertEqual(rest, [Record(fields)])

    def test_security(self) -> None:
        """Mechanism and level are in the log."""
        for bind, ack, text in (
            (protected_samples.SEALED_BIND, protected_samples.SEALED_BIND_ACK, "ntlm privacy"),
            (protected_samples.SIGNED_BIND, protected_samples.SIGNED_BIND_ACK, "spnego integrity"),
        ):
            actions = Talk().opened(bind).says(ack)
            (record,) = [each for each in actions if isinstance(each, Record)]
            self.assertEqual(record.fields["security"], text)

    def test_every_split(self) -> None:
        """However the server's bytes are cut, the client gets them all, and the group is learnt once."""
        for pieces in every_split(samples.PLAIN_BIND_ACK + samples.SAMR_ANSWER):
            talk = Talk().opened()
            actions = [action for piece in pieces for action in talk.says(piece)]
            self.assertEqual(talk.client, samples.PLAIN_BIND_ACK + samples.SAMR_ANSWER)
            self.assertEqual(actions.count(Learn(AssociationGroup(0xF8BC))), 1)

    def test_refused_by_the_server(self) -> None:
        """A bind_nak passes; nothing is learnt."""
        talk = Talk().opened()
        self.assertEqual(talk.says(samples.STRANGE_BIND_NAK), [IDLE, ToClient(samples.STRANGE_BIND_NAK)])

    def test_no_group(self) -> None:
        """A server that gives no group out is not learnt of."""
        bind, ack = exchange("nspi", group=0)
        actions = Talk().opened(bind).says(ack)
        self.assertFalse(any(isinstance(each, Learn) for each in actions))

    def test_protected_exchange(self) -> None:
        """A sealed conversation passes byte for byte."""
        talk = Talk().bound(protected_samples.SEALED_BIND, protected_samples.SEALED_BIND_ACK)
        talk.asks(protected_samples.SEALED_AUTH3 + protected_samples.SEALED_CALL)
        self.assertEqual(talk.server, protected_samples.SEALED_AUTH3 + protected_samples.SEALED_CALL)
        self.assertEqual(talk.got(protected_samples.SEALED_ANSWER), protected_samples.SEALED_ANSWER)


class CallTests(SynchronousTestCase):
    """Calls and answers."""

    def test_pass(self) -> None:
        """A call is counted by interface and operation, and passes; so does its answer."""
        talk = Talk().bound()
        self.assertEqual(
            talk.asks(samples.SAMR_CALL), [IDLE, Count("rpc_epmapper_opnum_3"), ToBackend(samples.SAMR_CALL)]
        )
        self.assertEqual(talk.says(samples.SAMR_ANSWER), [IDLE, ToClient(samples.SAMR_ANSWER)])

    def test_every_split(self) -> None:
        """However both sides' bytes are cut they pass as they come; a call is counted once."""
        for pieces in every_split(samples.SAMR_CALL):
            talk = Talk().bound()
            actions = [action for piece in pieces for action in talk.asks(piece)]
            self.assertEqual(talk.server, samples.SAMR_CALL)
            self.assertEqual(actions.count(Count("rpc_epmapper_opnum_3")), 1)
            self.assertTrue(talk.rpc.busy)
        for pieces in every_split(samples.SAMR_ANSWER):
            talk = Talk().bound()
            talk.asks(samples.SAMR_CALL)
            for piece in pieces:
                talk.says(piece)
            self.assertEqual(talk.client, samples.SAMR_ANSWER)
            self.assertFalse(talk.rpc.busy)

    def test_operations(self) -> None:
        """At the end the record has how often which operation was called; nothing where none was."""
        talk = Talk().bound(*exchange("emsmdb", "async-emsmdb"))
        for call, opnum, context in ((2, 10, 0), (3, 11, 0), (4, 11, 0), (5, 0, 1)):
            talk.asks(request(call, opnum, context=context))
        operations = {"emsmdb": {"10": 1, "11": 2}, "async-emsmdb": {"0": 1}}
        self.assertEqual(talk.on(Lost(CLIENT, "closed")), [Record({"operations": operations})])
        self.assertEqual(Talk().bound().on(Lost(CLIENT, "closed")), [])

    def test_operations_after_a_hangup(self) -> None:
        """The record has them however the connection ended."""
        talk = Talk().bound()
        talk.asks(samples.SAMR_CALL)
        talk.on(Deadline("idle"))
        self.assertEqual(talk.on(Lost(CLIENT, "closed")), [Record({"operations": {"epmapper": {"3": 1}}})])

    def test_abandoned(self) -> None:
        """A call that the client gave up is not under way any more."""
        talk = Talk().bound()
        talk.asks(samples.SAMR_CALL)
        talk.asks(packed(ORPHANED, 2, b""))
        self.assertFalse(talk.rpc.busy)

    def test_other_pdus(self) -> None:
        """A shutdown and whatever else there is passes."""
        data = packed(SHUTDOWN, 0, b"")
        self.assertEqual(Talk().bound().got(data), data)

    def test_repr(self) -> None:
        """For the log of somebody who looks for an error."""
        self.assertRegex(repr(Talk().bound().rpc), r"^<Rpc talking Calling\(group=63676")
