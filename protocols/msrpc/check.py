"""Checks ``rpc`` and ``epm``: a service answers for what it serves, not only its port.

A server whose mapper lives but whose Client Access service is stopped is DOWN for RPC and UP for the rest.
"""

from __future__ import annotations

from exproxy.actions import Outcome, Pass
from exproxy.checks.dialogue import Dialogue, Send, Step
from exproxy.checks.record import Check, CheckPlugin
from protocols.msrpc.calls import Meaning, answered, bind_to, bound, request
from protocols.msrpc.ept import LOOKUP, MAP, lookup_call, map_call, read_answer
from protocols.msrpc.locating import port_of
from protocols.msrpc.names import EPM, KNOWN, Interface
from protocols.msrpc.ndr import Syntax
from protocols.msrpc.options import EpmCheckOptions, RpcCheckOptions


def rpc_dialogue(interfaces: tuple[Interface, ...]) -> Dialogue:
    """A bind to the interfaces, each must be accepted: a bind_ack may reject them (C706 12.6.4.4)."""
    if interfaces:
        return Dialogue(Send(bind_to(*interfaces)), bound(*interfaces))
    # Every RPC server has it; but whether it is to be had by anybody is a matter of policy.
    return Dialogue(Send(bind_to(KNOWN["mgmt"])), bound(KNOWN["mgmt"], any_word=True))


def epm_dialogue(interfaces: tuple[Interface, ...]) -> Dialogue:
    """A bind to the mapper; then each interface must be registered, or else a look-up be answered: a mapper
    that does not let everybody look may say so."""
    steps: list[Step] = [Send(bind_to(EPM)), bound(EPM)]
    for number, interface in enumerate(interfaces, 2):
        steps += [
            Send(request(number, MAP, map_call(interface))),
            answered("ept_map", _registered(interface)),
        ]
    if not interfaces:
        steps += [
            Send(request(2, LOOKUP, lookup_call(most=1))),
            answered("ept_lookup", _looked_up, any_word=True),
        ]
    return Dialogue(*steps)


def _registered(interface: Interface) -> Meaning:
    def read(stub: bytes, syntax: Syntax) -> Outcome | int:
        outcome = port_of(interface, stub, syntax)
        return 0 if isinstance(outcome, Pass) else outcome

    return read


def _looked_up(stub: bytes, syntax: Syntax) -> int:
    read_answer(LOOKUP, stub, syntax)
    return 0


rpc = CheckPlugin(
    name="rpc",
    summary="RPC: a bind to the interface is accepted",
    make=lambda options: Check(lambda: rpc_dialogue(options.interface), tls="never"),
    options=RpcCheckOptions,
)
epm = CheckPlugin(
    name="epm",
    summary="endpoint mapper: it answers, for the interface where one is named",
    make=lambda options: Check(lambda: epm_dialogue(options.interface), tls="never"),
    options=EpmCheckOptions,
)
