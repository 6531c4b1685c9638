"""protocols.msrpc.rpc: what is malformed, lost, drained, and what is let go."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Close, Count, Hangup, Learn, Record, Relay, SetDeadline, ToBackend, ToClient
from exproxy.events import Began, Connected, Data, Deadline, Draining, Eof, Event, Lost, Unavailable
from exproxy.model import BACKEND, CLIENT, AssociationGroup
from exproxy.settings import Limits
from exproxy.testing import link, service
from protocols.msrpc import binding
from protocols.msrpc.associations import Associations
from protocols.msrpc.options import RpcOptions
from protocols.msrpc.pdu import (
    ALTER_CONTEXT,
    BIND,
    BIND_NAK,
    FAULT,
    FIRST,
    LAST,
    REQUEST,
    RESPONSE,
)
from protocols.msrpc.rpc import LOOK
from tests.msrpc import samples
from tests.msrpc.conversations import KNOWN, Talk, exchange, reason, statuses, told
from tests.msrpc.support import carrier, packed, pdus, request

IDLE = SetDeadline("idle", 660.0)
PICKED = SetDeadline("first-pdu", None)
AGREED = {"interfaces": ["epmapper"], "association": "0x0000f8bc"}


class MalformedTests(SynchronousTestCase):
    """What is no DCE/RPC any more."""

    def test_client(self) -> None:
        """A malformed call gets a fault that says that nothing was done; the server gets nothing of it."""
        talk = Talk(service(RpcOptions(), limits=Limits(pdu=140))).bound()
        actions = talk.asks(carrier(REQUEST, 9, bytes(117)))
        self.assertEqual(statuses(told(actions)), [(9, 0, binding.PROTOCOL_ERROR)])
        self.assertTrue(told(actions)[0].header.flags & 0x20)
        self.assertEqual((talk.server, reason(actions) is not None), (b"", True))
        self.assertEqual(talk.says(samples.SAMR_ANSWER), [])

    def test_client_speaks_another_protocol(self) -> None:
        """There are no words for it, only the end."""
        actions = Talk().bound().asks(b"\0")
        self.assertEqual(told(actions), [])
        self.assertRegex(reason(actions) or "", "^malformed: not DCE/RPC")

    def test_alter_context(self) -> None:
        """A malformed alter_context gets a fault, a bind a bind_nak."""
        for kind, wanted in ((ALTER_CONTEXT, FAULT), (BIND, BIND_NAK)):
            (found,) = told(Talk().bound().asks(packed(kind, 9, b"\1")))
            self.assertEqual((found.header.kind, found.header.call), (wanted, 9))

    def test_server(self) -> None:
        """A malformed answer is a fault to its call, which may have been carried out."""
        talk = Talk(service(RpcOptions(), limits=Limits(pdu=152))).bound()
        talk.asks(samples.SAMR_CALL)
        actions = talk.says(carrier(RESPONSE, 2, bytes(129)))
        (fault,) = told(actions)
        self.assertEqual(statuses([fault]), [(2, 0, binding.PROTOCOL_ERROR)])
        self.assertFalse(fault.header.flags & 0x20)
        self.assertIn(Count("rpc_malformed"), actions)

    def test_malformed_ack(self) -> None:
        """An answer to a bind that cannot be read is the end, without words."""
        actions = Talk().opened().says(packed(12, 1, b"\1"))
        self.assertEqual((told(actions), reason(actions)), ([], "malformed: a bind_ack is cut short"))

    def test_within_an_answer(self) -> None:
        """In the middle of a server's answer there is no place for a fault."""
        talk = Talk().bound()
        talk.asks(samples.SAMR_CALL)
        talk.says(samples.SAMR_ANSWER[:60])
        self.assertEqual(told(talk.asks(packed(BIND, 9, b"\1"))), [])

    def test_at_the_end_of_an_answer(self) -> None:
        """Where the end of an answer comes together with a malformed one, the client has had its begin
        only: no fault is put in the place of its end."""
        talk = Talk().bound()
        talk.asks(samples.SAMR_CALL)
        talk.says(samples.SAMR_ANSWER[:60])
        actions = talk.says(samples.SAMR_ANSWER[60:] + packed(RESPONSE, 3, b""))
        self.assertFalse(any(isinstance(each, ToClient) for each in actions))
        self.assertIsNotNone(reason(actions))

    def test_before_the_begin_of_an_answer(self) -> None:
        """Where nothing of an answer has been passed on, a fault has its place."""
        talk = Talk().bound()
        talk.says(samples.SAMR_ANSWER[:20])
        (found,) = told(talk.asks(packed(BIND, 9, b"\1")))
        self.assertEqual(found.header.kind, BIND_NAK)


class LostTests(SynchronousTestCase):
    """A server is gone, or a client."""

    def busy(self) -> Talk:
        """Two calls under way, one of them answered in part, and one that is over."""
        talk = Talk().bound(*exchange("emsmdb", "nspi"))
        for call, context in ((2, 0), (3, 1), (4, 0)):
            talk.asks(request(call, 5, context=context))
        talk.says(carrier(RESPONSE, 3, b"12345678", context=1, flags=FIRST))
        talk.says(carrier(RESPONSE, 4, b"12345678"))
        return talk

    def test_broken(self) -> None:
        """A server that is lost leaves a fault for each call under way, which may have been carried out."""
        talk = self.busy()
        actions = talk.on(Lost(BACKEND, "reset"))
        found = told(actions)
        self.assertEqual(statuses(found), [(2, 0, binding.COMM_FAILURE), (3, 1, binding.COMM_FAILURE)])
        self.assertFalse(any(pdu.header.flags & 0x20 for pdu in found))
        self.assertEqual(actions[-1], Hangup("server reset"))
        self.assertEqual(talk.on(Data(CLIENT, samples.SAMR_CALL)), [])

    def test_broken_before_the_ack(self) -> None:
        """A first bind that the server leaves behind is refused for now; a refused one waits for nothing."""
        talk = Talk().opened()
        (found,) = told(talk.on(Lost(BACKEND, "reset")))
        self.assertEqual((found.header.kind, binding.read_nak(found)), (BIND_NAK, binding.CONGESTION))
        talk = Talk().opened()
        talk.says(binding.nak(1, binding.LIMIT_EXCEEDED))
        self.assertFalse(talk.rpc.busy)
        self.assertEqual(talk.on(Lost(BACKEND, "reset")), [Hangup("server reset")])

    def test_in_order(self) -> None:
        """A server that closes has its reasons: the client is closed, without faults."""
        self.assertEqual(self.busy().on(Lost(BACKEND, "closed")), [Hangup("server closed")])
        self.assertEqual(self.busy().on(Eof(BACKEND)), [Hangup("server closed")])

    def test_within_an_answer(self) -> None:
        """In the middle of a PDU there is no place for a fault."""
        talk = self.busy()
        talk.says(carrier(RESPONSE, 2, bytes(100))[:50])
        self.assertEqual(talk.on(Lost(BACKEND, "reset")), [Hangup("server reset")])

    def test_nothing_under_way(self) -> None:
        """Without a call there is nothing to say."""
        self.assertEqual(Talk().bound().on(Lost(BACKEND, "reset")), [Hangup("server reset")])

    def test_client_ends(self) -> None:
        """A client's half-close is passed on; its answers may still come."""
        talk = Talk().bound()
        talk.asks(samples.SAMR_CALL)
        self.assertEqual(talk.on(Eof(CLIENT)), [Close(BACKEND, half=True)])
        self.assertEqual(talk.got(samples.SAMR_ANSWER), samples.SAMR_ANSWER)
        self.assertEqual(talk.on(Eof(BACKEND)), [Hangup("client closed")])

    def test_idle(self) -> None:
        """Silence is the end; every byte begins it anew."""
        talk = Talk().bound()
        self.assertEqual(talk.deadlines, {"idle": 660.0})
        for data in (samples.SAMR_CALL[:1], samples.SAMR_CALL[1:]):
            self.assertEqual(talk.asks(data)[0], IDLE)
        self.assertEqual(talk.expire("idle"), [Hangup("idle")])
        self.assertEqual(talk.says(samples.SAMR_ANSWER), [])

    def test_strange_events(self) -> None:
        """Deadlines and connections that nobody asked for change nothing."""
        events: tuple[Event, ...] = (Connected(link()), Unavailable("late"), Began(KNOWN))
        for event in events:
            self.assertEqual(Talk().bound().on(event), [])
        self.assertEqual(Talk().on(Connected(link())), [])


class DrainTests(SynchronousTestCase):
    """The service, or the server, is being emptied."""

    def setUp(self) -> None:
        self.all = Associations()

    def talk(self, *names: str, group: int = 0x77, server: str = "exch1") -> Talk:
        """One more connection of an association."""
        bind, ack = exchange(*(names or ("emsmdb",)), group=group)
        return Talk(associations=self.all).bound(bind, ack, server)

    def test_quiet(self) -> None:
        """A connection without a call is ended at once, and leaves its association."""
        talk = self.talk()
        self.assertEqual(len(self.all), 1)
        self.assertEqual(talk.on(Draining(30.0)), [Hangup("drained")])
        self.assertEqual(len(self.all), 0)

    def test_busy(self) -> None:
        """One with a call is looked at again until the call has its answer."""
        talk = self.talk()
        talk.asks(request(2, 11))
        self.assertEqual(talk.on(Draining(30.0)), [SetDeadline("drain", LOOK)])
        self.assertEqual(talk.expire("drain"), [SetDeadline("drain", LOOK)])
        talk.says(carrier(RESPONSE, 2))
        self.assertEqual(talk.expire("drain"), [Hangup("drained")])

    def test_another_connection_is_busy(self) -> None:
        """A quiet connection waits as long as another one of its association is busy."""
        talk, other = self.talk(), self.talk("nspi")
        other.asks(request(2, 1))
        self.assertEqual(talk.on(Draining(30.0)), [SetDeadline("drain", LOOK)])
        other.says(carrier(RESPONSE, 2))
        self.assertEqual(talk.expire("drain"), [Hangup("drained")])

    def test_the_busy_one_is_gone(self) -> None:
        """It does not wait for one that is gone."""
        for event in (Lost(CLIENT, "closed"), Lost(BACKEND, "reset"), Deadline("idle")):
            talk, other = self.talk(), self.talk()
            other.asks(request(2, 1))
            talk.on(Draining(30.0))
            other.on(event)
            self.assertEqual(talk.expire("drain"), [Hangup("drained")])

    def test_another_association(self) -> None:
        """Others do not matter: another group, or the same one of another server."""
        talk = self.talk()
        for other in (self.talk(group=0x78), self.talk(server="exch2")):
            other.asks(request(2, 1))
        self.assertEqual(talk.on(Draining(30.0)), [Hangup("drained")])

    def test_waiting_for_news(self) -> None:
        """A call that waits for news for minutes keeps nobody."""
        talk, other = self.talk("emsmdb", "async-emsmdb"), self.talk("async-emsmdb")
        talk.asks(request(2, 0, context=1))
        other.asks(request(2, 0))
        self.assertEqual(talk.on(Draining(30.0)), [Hangup("drained")])

    def test_before_the_server(self) -> None:
        """A drain while a server is being chosen is not forgotten: the bind is answered first."""
        bind, ack = exchange("emsmdb")
        talk = Talk(associations=self.all)
        talk.asks(bind)
        self.assertEqual(talk.on(Draining(30.0)), [])
        self.assertEqual(talk.on(Connected(link())), [ToBackend(bind), IDLE, SetDeadline("drain", LOOK)])
        self.assertEqual(talk.expire("drain"), [SetDeadline("drain", LOOK)])
        talk.says(ack)
        self.assertEqual(talk.expire("drain"), [Hangup("drained")])

    def test_without_an_association(self) -> None:
        """A connection whose server gives no group out is ended by itself."""
        talk = self.talk(group=0)
        self.assertEqual(len(self.all), 0)
        self.assertEqual(talk.on(Draining(30.0)), [Hangup("drained")])


class RelayTests(SynchronousTestCase):
    """``relay: full``: nothing is looked at after the bind."""

    def talk(self, associations: Associations | None = None) -> Talk:
        """A connection of such a service."""
        return Talk(service(RpcOptions(relay="full")), associations)

    def test_relay(self) -> None:
        """Once the bind is answered the bytes pass unread; the group has been learnt."""
        talk = self.talk().opened()
        self.assertEqual(
            talk.says(samples.PLAIN_BIND_ACK)[2:],
            [Record(AGREED), Learn(AssociationGroup(0xF8BC)), SetDeadline("idle", None), Relay()],
        )
        self.assertEqual(talk.deadlines, {})
        for event in (Draining(30.0), Eof(CLIENT), Lost(CLIENT, "closed")):
            self.assertEqual(talk.on(event), [])

    def test_no_member(self) -> None:
        """It is no member of its association: nobody knows whether it is busy."""
        every = Associations()
        self.talk(every).opened().says(samples.PLAIN_BIND_ACK)
        self.assertEqual(len(every), 0)

    def test_between_pdus_only(self) -> None:
        """While a PDU is under way in either direction it is not let go."""
        talk = self.talk().opened(samples.PLAIN_BIND + samples.SAMR_CALL[:50])
        self.assertNotIn(Relay(), talk.says(samples.PLAIN_BIND_ACK))
        talk = self.talk().opened()
        self.assertNotIn(Relay(), talk.says(samples.PLAIN_BIND_ACK + samples.SAMR_ANSWER[:50]))

    def test_refused(self) -> None:
        """A bind_nak is not what it waits for."""
        talk = self.talk().opened()
        self.assertEqual(talk.says(samples.STRANGE_BIND_NAK), [IDLE, ToClient(samples.STRANGE_BIND_NAK)])

    def test_first_call(self) -> None:
        """A call that came together with the bind is in the record."""
        talk = self.talk().opened(samples.PLAIN_BIND + carrier(REQUEST, 2, flags=FIRST | LAST))
        self.assertIn(Relay(), talk.says(samples.PLAIN_BIND_ACK))
        self.assertEqual(len(pdus(talk.client)), 1)
