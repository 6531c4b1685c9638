"""What one connection is about: its contexts, the calls under way, and who asked for what how often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from protocols.msrpc.binding import ACCEPTED, NDR64, Ack, Bind
from protocols.msrpc.names import KNOWN, WAITING, named
from protocols.msrpc.pdu import FIRST, LAST, MAYBE, Header, Pdu

MECHANISMS = {9: "spnego", 10: "ntlm", 14: "schannel", 16: "kerberos", 68: "netlogon"}
LEVELS = {1: "none", 2: "connect", 3: "call", 4: "packet", 5: "integrity", 6: "privacy"}
# From this level on nobody may change a byte (MS-RPCE 2.2.1.1.8).
PROTECTED = 4

# Bounds on what a client can have kept of it: binds and calls without an answer, contexts, operations.
MOST_BINDS, MOST_CALLS, MOST_CONTEXTS, MOST_OPERATIONS = 16, 1024, 256, 256
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A context in force. ``wide``: its calls are in NDR64."""

    interface: UUID
    wide: bool


@dataclass(slots=True)
class Calling:
    """Follows both directions. ``operations`` counts calls as interface -> opnum -> times."""

    group: int = 0
    security: str | None = None
    operations: dict[str, Counter[str]] = field(default_factory=dict)
    _contexts: dict[int, Accepted] = field(default_factory=dict)
    _offered: dict[int, Bind] = field(default_factory=dict)
    _calls: dict[int, int] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Whether a bind is under way, or a call that is more than waiting for news."""
        return bool(self._offered) or any(not self._waiting(context) for context in self._calls.values())

    @property
    def calls(self) -> dict[int, int]:
        """The calls without a whole answer: number -> context."""
        return self._calls

    @property
    def binds(self) -> list[int]:
        """The numbers of binds and alter_contexts without an answer."""
        return list(self._offered)

    @property
    def interfaces(self) -> list[str]:
        """The names of the interfaces in force, each once, in their order."""
        return list(dict.fromkeys(named(each.interface) for each in self._contexts.values()))

    def accepted(self, context: int) -> Accepted | None:
        """A context in force, or None."""
        return self._contexts.get(context)

    def offered(self, call: int, bind: Bind, pdu: Pdu) -> None:
        """The client's bind or alter_context."""
        if len(self._offered) >= MOST_BINDS:
            self._offered.pop(next(iter(self._offered)))
        self._offered[call] = bind
        trailer = pdu.trailer
        if trailer is not None:
            mechanism = MECHANISMS.get(trailer.mechanism, str(trailer.mechanism))
            self.security = f"{mechanism} {LEVELS.get(trailer.level, trailer.level)}"

    def agreed(self, call: int, ack: Ack) -> bool:
        """The server's answer to it; True where it says something new."""
        bind = self._offered.pop(call, None)
        if bind is None:
            return False
        self.group = ack.group or self.group
        for context, result in zip(bind.contexts, ack.results, strict=False):
            if result.verdict == ACCEPTED and len(self._contexts) < MOST_CONTEXTS:
                self._contexts[context.number] = Accepted(context.interface, result.transfer == NDR64)
        return True

    def refused(self, header: Header) -> None:
        """The server's bind_nak."""
        self._offered.pop(header.call, None)

    def asked(self, pdu: Pdu) -> str | None:
        """A request, or a fragment of one: the call's name for counts where it begins, else None."""
        header = pdu.header
        if not header.flags & FIRST:
            return None
        context, opnum = pdu.context, pdu.opnum
        if not header.flags & MAYBE:
            if len(self._calls) >= MOST_CALLS:
                self._calls.pop(next(iter(self._calls)))
            self._calls[header.call] = context
        accepted = self._contexts.get(context)
        if accepted is None:
            return None
        name = named(accepted.interface)
        return self._count(name if name in KNOWN else OTHER, opnum)

    def _count(self, name: str, opnum: int) -> str:
        counts = self.operations.setdefault(name, Counter())
        word = str(opnum) if str(opnum) in counts or len(counts) < MOST_OPERATIONS else OTHER
        counts[word] += 1
        return f"rpc_{name.replace('-', '_')}_opnum_{opnum if opnum < MOST_OPERATIONS else OTHER}"

    def answered(self, header: Header) -> None:
        """A response or fault, or a fragment of one."""
        if header.flags & LAST:
            self._calls.pop(header.call, None)

    def abandoned(self, header: Header) -> None:
        """The client gave a call up (orphaned)."""
        self._calls.pop(header.call, None)

    def _waiting(self, context: int) -> bool:
        accepted = self._contexts.get(context)
        return accepted is not None and accepted.interface == WAITING.uuid
