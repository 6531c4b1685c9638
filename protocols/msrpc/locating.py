"""Where a server has an interface: asked of its endpoint mapper (C706 appendix O)."""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from exproxy.actions import Fail, Outcome, Pass
from exproxy.checks.dialogue import Dialogue, Send
from exproxy.interfaces import IConversation, ILocator
from protocols.msrpc.calls import answered, bind_to, bound, request
from protocols.msrpc.ept import MAP, NOT_REGISTERED, map_call, read_answer
from protocols.msrpc.names import EPM, Interface
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.tower import NoTower, read_tower

MAPPER_PORT = 135


def port_of(wanted: Interface, stub: bytes, syntax: Syntax) -> Outcome:
    """What an ept_map answer says of that interface: Pass(port), or Fail."""
    answer = read_answer(MAP, stub, syntax)
    for entry in answer.entries:
        try:
            tower = read_tower(entry.tower or b"")
        except NoTower:
            continue
        if tower.interface == wanted.uuid and tower.port:
            return Pass(tower.port)
    if answer.status in (0, NOT_REGISTERED):
        return Fail("L7STS", "ept_map", f"{wanted.name} is not registered with the endpoint mapper")
    return Fail("L7STS", "ept_map", f"status {answer.status:#010x} for {wanted.name}")


@implementer(ILocator)
@dataclass(frozen=True)
class Locator:
    """Asks the mapper at ``port`` of a server for the TCP port of one interface."""

    interface: Interface
    port: int = MAPPER_PORT
    tls: str = "never"
    layer: str = "L7"

    def dialogue(self) -> IConversation:
        """See ICheck."""
        return Dialogue(
            Send(bind_to(EPM)),
            bound(EPM),
            Send(request(2, MAP, map_call(self.interface))),
            answered("ept_map", lambda stub, syntax: port_of(self.interface, stub, syntax)),
        )
