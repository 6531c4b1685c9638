"""An endpoint mapper of our own: which interface is behind which of our services is known without a server.

NDR and NDR64, no authentication: a client that insists on it is told so (bind_nak), and usually asks without.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from zope.interface import implementer

from exproxy.actions import Action, Count, Hangup, Record, SetDeadline, ToClient
from exproxy.events import Began, Data, Deadline, Draining, Eof, Event
from exproxy.interfaces import IConversation, IService
from exproxy.model import Destination, Facts
from protocols.msrpc.binding import (
    ACCEPTED,
    BAD_STUB,
    BAD_VERSION,
    FEATURES,
    LEAST_FRAGMENT,
    NDR32,
    NDR64,
    NEGOTIATED,
    NO_AUTHENTICATION,
    NO_INTERFACE,
    NO_TRANSFER,
    OP_RANGE,
    PROTOCOL_ERROR,
    REJECTED,
    UNKNOWN_INTERFACE,
    USUAL_FRAGMENT,
    Context,
    Result,
    ack,
    fault,
    nak,
    read_bind,
)
from protocols.msrpc.calling import MOST_CONTEXTS
from protocols.msrpc.calls import response
from protocols.msrpc.ept import FREE, LOOKUP, MAP
from protocols.msrpc.fragments import Fragments, join
from protocols.msrpc.mapping import Mapping
from protocols.msrpc.names import EPM
from protocols.msrpc.ndr import BadStub, Syntax
from protocols.msrpc.pdu import (
    ALTER_CONTEXT,
    ALTER_CONTEXT_RESPONSE,
    AUTH3,
    BIND,
    BIND_ACK,
    CO_CANCEL,
    ORPHANED,
    REQUEST,
    Malformed,
    Pdu,
    Stream,
)
from protocols.msrpc.served import Served
from protocols.msrpc.tower import address_of

FIRST_PDU, IDLE = "first-pdu", "idle"

# Association groups of ours; a client may join any that it names, for there are no handles to be lost.
_groups = count(1)


@implementer(IConversation)
class OwnMapper:
    """One client of the mapper."""

    def __init__(self, service: IService, served: Served) -> None:
        self._service = service
        self._served = served
        self._facts = Facts()
        self._stream = Stream(service.limits.pdu, lambda header: True)
        self._fragments = Fragments(service.limits.reassembly)
        # Context numbers, and whether their calls are in NDR64.
        self._contexts: dict[int, bool] = {}
        self._group = 0
        self._largest = USUAL_FRAGMENT
        self._over = False

    def handle(self, event: Event) -> Iterable[Action]:
        """See IConversation."""
        if self._over:
            return ()
        if isinstance(event, Data):
            return self._read(event.data)
        if isinstance(event, Began):
            self._facts = event.facts
            return (SetDeadline(FIRST_PDU, self._service.timeouts.first_pdu),)
        if isinstance(event, Deadline):
            return self._end("idle" if event.name == IDLE else "no packet in time")
        if isinstance(event, Draining):
            return self._end("draining")
        return self._end("client closed") if isinstance(event, Eof) else ()

    def _end(self, reason: str) -> tuple[Action, ...]:
        self._over = True
        return (Hangup(reason),)

    def _read(self, data: bytes) -> Iterable[Action]:
        actions: list[Action] = []
        try:
            for item in self._stream.feed(data):
                assert isinstance(item, Pdu)
                if self._over:
                    break
                if item.whole:
                    actions += self._pdu(item)
        except Malformed as error:
            header = error.header
            if header is not None and header.kind in (REQUEST, ALTER_CONTEXT):
                actions.append(ToClient(fault(header.call, 0, PROTOCOL_ERROR)))
            elif header is not None and header.kind == BIND:
                actions.append(ToClient(nak(header.call, BAD_VERSION)))
            return (*actions, Count("rpc_malformed"), *self._end(f"malformed: {error}"))
        return actions

    def _pdu(self, pdu: Pdu) -> Iterable[Action]:
        kind = pdu.header.kind
        if kind in (BIND, ALTER_CONTEXT):
            return self._bind(pdu)
        if kind == REQUEST:
            fragments = self._fragments.add(pdu)
            return () if fragments is None else self._call(fragments)
        if kind == ORPHANED:
            self._fragments.drop(pdu.header.call)
        elif kind not in (AUTH3, CO_CANCEL):
            raise Malformed(f"a {pdu.header.name} from a client", pdu.header)
        return ()

    # -- binds -----------------------------------------------------------------------

    def _bind(self, pdu: Pdu) -> Iterable[Action]:
        call, bind = pdu.header.call, read_bind(pdu)
        if (pdu.header.kind == BIND) == bool(self._group):
            raise Malformed(f"a {pdu.header.name} out of place", pdu.header)
        if pdu.header.auth:
            return (ToClient(nak(call, NO_AUTHENTICATION)), *self._end("authentication asked for"))
        self._group = self._group or bind.group or next(_groups) & 0xFFFFFFFF or 1
        self._largest = max(LEAST_FRAGMENT, min(bind.receive, USUAL_FRAGMENT))
        results = tuple(self._word(context) for context in bind.contexts)
        kind = BIND_ACK if pdu.header.kind == BIND else ALTER_CONTEXT_RESPONSE
        port = self._facts[Destination].port
        return (
            SetDeadline(FIRST_PDU, None),
            SetDeadline(IDLE, self._service.timeouts.idle),
            Record({"interfaces": ["epmapper"], "association": f"{self._group:#010x}", "answer": "proxy"}),
            ToClient(ack(call, bind, self._group, port, results, kind)),
        )

    def _word(self, context: Context) -> Result:
        for transfer in context.transfers:
            if transfer.bytes_le.startswith(FEATURES):
                # Of the features on offer we have: a connection is kept when a call is orphaned.
                return Result(NEGOTIATED, transfer.bytes_le[8] & 0x02, None)
        if (context.interface, context.major) != (EPM.uuid, EPM.major):
            return Result(REJECTED, NO_INTERFACE, None)
        for transfer in (NDR32, NDR64):
            if transfer in context.transfers and len(self._contexts) < MOST_CONTEXTS:
                self._contexts[context.number] = transfer == NDR64
                return Result(ACCEPTED, 0, transfer)
        return Result(REJECTED, NO_TRANSFER, None)

    # -- calls -----------------------------------------------------------------------

    def _call(self, fragments: list[Pdu]) -> Iterable[Action]:
        first = fragments[0]
        call, context, operation = first.header.call, first.context, first.opnum
        wide = self._contexts.get(context)
        idle = SetDeadline(IDLE, self._service.timeouts.idle)
        if wide is None:
            return (idle, ToClient(fault(call, context, UNKNOWN_INTERFACE)))
        if operation not in (MAP, LOOKUP, FREE):
            return (idle, ToClient(fault(call, context, OP_RANGE)))
        mapping = Mapping(self._served.places(self._reached), self._host)
        try:
            stub = mapping.answer(operation, join(fragments), Syntax(first.header.little, wide))
        except BadStub:
            return (idle, ToClient(fault(call, context, BAD_STUB)))
        name = f"rpc_epmapper_opnum_{operation}"
        return (idle, Count(name), ToClient(response(call, context, stub, self._largest)))

    @property
    def _reached(self) -> str:
        return self._facts[Destination].host

    @property
    def _host(self) -> bytes:
        return address_of(self._service.options.advertise or self._reached)
