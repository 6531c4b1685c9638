"""The endpoint mapper (C706 appendix O), which tells an Outlook the ports of RPC Client Access and
Address Book."""

from __future__ import annotations

from exproxy.protocol import Protocol
from protocols.msrpc.first_pdu import FirstPdu

plugin = Protocol(
    name="epm",
    summary="DCE/RPC endpoint mapper: relayed, refused by a close",
    conversation=FirstPdu,
    default_ports={135: "none"},
    # A server that hangs leaves a question unanswered: its client would wait for the idle time.
    defaults={"check": "connect", "timeouts": {"idle": "2h10m"}, "on-down": "cut"},
)
