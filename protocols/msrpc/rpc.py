"""RPC services: Exchange 2010's RPC Client Access and Address Book, or any other DCE/RPC over TCP.

The client speaks first, with a bind. It may name an association group, which one server gave out: such a
client belongs there (persistence ``rpc-association``). From then on the bytes pass as they come, but their
PDUs are seen: for the log, for refusals in RPC's own words, and so that a drain does not end a call.

A service says what it serves with ``interface``; the servers' ports are then asked of their endpoint mappers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from zope.interface import implementer

from exproxy.actions import (
    Action,
    Close,
    Count,
    Hangup,
    Learn,
    Pick,
    Record,
    Relay,
    SetDeadline,
    ToBackend,
    ToClient,
)
from exproxy.events import Began, Connected, Data, Deadline, Draining, Eof, Event, Lost, Unavailable
from exproxy.interfaces import IConversation, ILocator, IService
from exproxy.model import BACKEND, CLIENT, AssociationGroup, Facts
from exproxy.protocol import Protocol
from exproxy.question import Client
from protocols.msrpc.associations import Associations, Identity
from protocols.msrpc.binding import (
    BAD_VERSION,
    COMM_FAILURE,
    CONGESTION,
    LIMIT_EXCEEDED,
    PROTOCOL_ERROR,
    TOO_BUSY,
    fault,
    nak,
    read_ack,
    read_bind,
)
from protocols.msrpc.calling import Calling
from protocols.msrpc.locating import Locator
from protocols.msrpc.options import RpcOptions, as_written
from protocols.msrpc.pdu import (
    ALTER_CONTEXT,
    ALTER_CONTEXT_RESPONSE,
    BIND,
    BIND_ACK,
    BIND_NAK,
    FAULT,
    ORPHANED,
    REQUEST,
    RESPONSE,
    Header,
    Malformed,
    Pdu,
    Stream,
)

FIRST_PDU, IDLE, DRAIN = "first-pdu", "idle", "drain"
# While draining: seconds between two looks at the association.
LOOK = 1.0


@implementer(IConversation)
class Rpc:
    """One RPC connection. What is different in :mod:`protocols.msrpc.epm` overrides the last four methods."""

    def __init__(self, service: IService, associations: Associations) -> None:
        self.service = service
        self.calling = Calling()
        self.facts = Facts()
        self.server = ""
        self._associations = associations
        self._identity: Identity | None = None
        self._from_client = Stream(service.limits.pdu, self.reads_whole_call)
        self._from_server = Stream(service.limits.pdu, self.reads_whole_answer)
        self._within = False
        self._held = b""
        self._idle = SetDeadline(IDLE, service.timeouts.idle)
        self._first: Header | None = None
        self._draining = False
        # Whether the client has said all, and the server been told so.
        self.half = False
        self._lets_go = isinstance(service.options, RpcOptions) and service.options.relay == "full"
        self._state: Callable[[Event], Iterable[Action]] = self._beginning

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.__name__.strip('_')} {self.calling!r}>"

    @property
    def busy(self) -> bool:
        """See Member."""
        return self.calling.busy

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        if isinstance(event, Lost) and event.side is CLIENT:
            return self._gone()
        return self._state(event)

    # -- the first PDU ---------------------------------------------------------------

    def _beginning(self, event: Event) -> Iterable[Action]:
        if not isinstance(event, Began):
            return ()
        self.facts = event.facts
        self._state = self._waiting
        return (SetDeadline(FIRST_PDU, self.service.timeouts.first_pdu),)

    def _waiting(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Data) and event.side is CLIENT:
            return self._read_first(event.data)
        if event == Eof(CLIENT):
            return self._over("ended before its first packet")
        if event == Deadline(FIRST_PDU):
            return self._over(f"no packet in {self.service.timeouts.first_pdu:g} s")
        if isinstance(event, Draining):
            return self._over("draining")
        return ()

    def _read_first(self, data: bytes) -> Iterable[Action]:
        self._held += data
        try:
            found = self._from_client.feed(data)
            if not found:
                return ()
            facts, actions = self._facts_of(found[0]), self._hear(found)
        except Malformed as error:
            return self._malformed(error)
        self._state = self._picking
        return (SetDeadline(FIRST_PDU, None), *actions, Pick(facts))

    def _facts_of(self, item: Pdu | bytes) -> Facts:
        assert isinstance(item, Pdu)
        self._first = item.header
        if item.header.kind != BIND:
            return self.facts
        group = read_bind(item).group
        return self.facts.plus(AssociationGroup(group)) if group else self.facts

    def _picking(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Connected):
            self.server = event.link.server
            self._state = self._talking
            held, self._held = self._held, b""
            look = (SetDeadline(DRAIN, LOOK),) if self._draining else ()
            return (ToBackend(held), self._idle, *look)
        if isinstance(event, Unavailable):
            return (*self._refusal(event.full), *self._over(""))
        if isinstance(event, Draining):
            self._draining = True
        return ()

    def _refusal(self, full: bool) -> Iterable[Action]:
        first = self._first
        if first is not None and first.kind == BIND:
            return (
                ToClient(nak(first.call, LIMIT_EXCEEDED if full else CONGESTION)),
                Count("rpc_binds_refused"),
            )
        if first is not None and first.kind == REQUEST:
            return (ToClient(fault(first.call, 0, TOO_BUSY)),)
        return ()

    # -- both are there --------------------------------------------------------------

    def _talking(self, event: Event) -> Iterable[Action]:
        if isinstance(event, Data):
            return (self._idle, *self._read(event))
        if isinstance(event, Eof):
            return self._ended(event)
        if isinstance(event, Lost):
            return self._lost(event)
        if isinstance(event, Deadline):
            return self._waited(event.name)
        if isinstance(event, Draining):
            self._draining = True
            return self._leave()
        return ()

    def _ended(self, event: Eof) -> Iterable[Action]:
        if event.side is BACKEND:
            return self._over("client closed" if self.half else "server closed")
        # The client has said all, and may still wait for an answer.
        self.half = True
        return (Close(BACKEND, half=True),)

    def _read(self, event: Data) -> Iterable[Action]:
        # Whether what the client has of the server's ends within a PDU: one of ours must not follow then.
        self._within = self._from_server.passing
        try:
            if event.side is CLIENT:
                found = self._from_client.feed(event.data)
                return (*self._hear(found), ToBackend(event.data))
            found = self._from_server.feed(event.data)
            return self._answers(found)
        except Malformed as error:
            return self._malformed(error)

    def _hear(self, found: list[Pdu | bytes]) -> list[Action]:
        """What the client says, for the record."""
        actions: list[Action] = []
        for item in found:
            if not isinstance(item, Pdu):
                continue
            kind = item.header.kind
            if kind == REQUEST:
                name = self.calling.asked(item)
                if name is not None:
                    actions.append(Count(name))
                self.asked(item)
            elif kind in (BIND, ALTER_CONTEXT):
                self.calling.offered(item.header.call, read_bind(item), item)
            elif kind == ORPHANED:
                self.calling.abandoned(item.header)
        return actions

    def _answers(self, found: list[Pdu | bytes]) -> Iterable[Action]:
        parts: list[bytes] = []
        actions: list[Action] = []
        for item in found:
            if not isinstance(item, Pdu):
                parts.append(item)
                continue
            kind = item.header.kind
            if kind in (RESPONSE, FAULT):
                said = self.answer(item)
                if isinstance(said, ToBackend):
                    actions.append(said)
                else:
                    parts.append(said)
                    self.calling.answered(item.header)
                continue
            parts.append(item.raw)
            if kind in (BIND_ACK, ALTER_CONTEXT_RESPONSE):
                actions += self._agreed(item)
            elif kind == BIND_NAK:
                self.calling.refused(item.header)
        data = b"".join(parts)
        return (*((ToClient(data),) if data else ()), *actions)

    def _agreed(self, pdu: Pdu) -> Iterable[Action]:
        before = self.calling.group
        if not self.calling.agreed(pdu.header.call, read_ack(pdu)):
            return ()
        group = self.calling.group
        fields: dict[str, object] = {
            "interfaces": self.calling.interfaces,
            "association": f"{group:#010x}",
        }
        if self.calling.security is not None:
            fields["security"] = self.calling.security
        learnt: tuple[Action, ...] = ()
        if group and group != before:
            self._join(group)
            learnt = (Learn(AssociationGroup(group)),)
        return (Record(fields), *learnt, *self._let_go(pdu))

    def _let_go(self, ack: Pdu) -> Iterable[Action]:
        if not (self._lets_go and self._from_client.between and self._from_server.between):
            return ()
        # What passes unread is busy for all that anybody knows.
        self._part()
        self._state = self._silence
        return (SetDeadline(IDLE, None), Relay())

    # -- ends ------------------------------------------------------------------------

    def _join(self, group: int) -> None:
        self._part()
        self._identity = (self.server, group)
        self._associations.join(self._identity, self)

    def _part(self) -> None:
        identity, self._identity = self._identity, None
        if identity is not None:
            self._associations.leave(identity, self)

    def _gone(self) -> Iterable[Action]:
        """The end of it all: how often what was asked for goes into the record."""
        self._part()
        self._state = self._silence
        operations = {name: dict(times) for name, times in self.calling.operations.items()}
        return (Record({"operations": operations}),) if operations else ()

    def _lost(self, event: Lost) -> Iterable[Action]:
        # A server that closes in good order has its reasons; one that is gone leaves calls behind.
        broken = event.reason != "closed" and not self._from_server.passing
        return (*(self._apologies() if broken else ()), *self._over(f"server {event.reason}"))

    def _apologies(self) -> Iterable[Action]:
        """For all that the client waits for: a first bind may come again, a call was perhaps executed."""
        if not self.calling.interfaces:
            yield from (ToClient(nak(call, CONGESTION)) for call in self.calling.binds)
        for call, context in self.calling.calls.items():
            yield ToClient(fault(call, context, COMM_FAILURE, executed=True))

    def _waited(self, name: str) -> Iterable[Action]:
        return self._leave() if name == DRAIN else self._over("idle")

    def _leave(self) -> Iterable[Action]:
        """While draining: gone as soon as the whole association has nothing to do."""
        if self.busy or (self._identity is not None and self._associations.busy(self._identity)):
            return (SetDeadline(DRAIN, LOOK),)
        return self._over("drained")

    def _malformed(self, error: Malformed) -> Iterable[Action]:
        """A fault where a call was malformed, a bind_nak for a bind; else there are no words for it."""
        header = error.header
        said: tuple[Action, ...] = ()
        if not self._within:
            if header is not None and header.kind == BIND:
                said = (ToClient(nak(header.call, BAD_VERSION)),)
            elif header is not None and header.kind in (REQUEST, ALTER_CONTEXT, RESPONSE, FAULT):
                ours = header.kind in (RESPONSE, FAULT)
                said = (ToClient(fault(header.call, 0, PROTOCOL_ERROR, executed=ours)),)
        return (*said, Count("rpc_malformed"), *self._over(f"malformed: {error}"))

    def _over(self, reason: str) -> Iterable[Action]:
        self._part()
        self._state = self._silence
        return (Hangup(reason),)

    def _silence(self, event: Event) -> Iterable[Action]:
        return ()

    # -- for those that read calls and answers ---------------------------------------

    def reads_whole_call(self, header: Header) -> bool:
        """Whether this request must be there as a whole."""
        return False

    def reads_whole_answer(self, header: Header) -> bool:
        """Whether this response must be there as a whole."""
        return False

    def asked(self, pdu: Pdu) -> None:
        """A request goes to the server."""

    def answer(self, pdu: Pdu) -> bytes | ToBackend:
        """What the client gets for this response or fault (or its begin); or what is asked of the server
        once more, before there is an answer."""
        return pdu.raw


def _locate(options: RpcOptions) -> ILocator | None:
    return Locator(options.interface[0], options.mapper_port) if options.interface else None


def _defaults(options: RpcOptions) -> Mapping[str, object]:
    if not options.interface:
        return {}
    return {"check": {"rpc": {"interface": as_written(options.interface)}}}


class RpcProtocol(Protocol):
    """The plugin: the conversations of one service know each other's associations."""

    def factory(self, service: IService) -> Any:
        """See IProtocolPlugin."""
        from exproxy.session import SessionFactory

        associations = Associations()
        make: Callable[..., IConversation] = self.conversation
        return SessionFactory(service, partial(make, associations=associations))


def _facts(service: IService, facts: Facts, client: Client) -> Facts:
    return facts.plus(AssociationGroup(client.association)) if client.association else facts


plugin = RpcProtocol(
    name="rpc",
    summary="DCE/RPC: one association, one server; refused with a bind_nak",
    conversation=Rpc,  # type: ignore[arg-type]  # its second argument comes from the factory
    gives=(AssociationGroup,),
    defaults={"check": "rpc", "timeouts": {"idle": "2h10m"}, "on-down": "cut"},
    options=RpcOptions,
    locate=_locate,
    defaults_for=_defaults,
    facts_for=_facts,
)
