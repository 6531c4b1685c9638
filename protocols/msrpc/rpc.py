"""RPC on static ports: Exchange 2010's RPC Client Access (59531) and Address Book (59532).

Idle connections stay for longer than the client's own two-hour TCP keep-alive. When a server goes
down its connections are cut, so that Outlook looks for another one at once.
"""

from __future__ import annotations

from exproxy.protocol import Protocol
from protocols.msrpc.first_pdu import FirstPdu

plugin = Protocol(
    name="rpc",
    summary="DCE/RPC on a static port: relayed, refused by a close",
    conversation=FirstPdu,
    defaults={"check": "connect", "timeouts": {"idle": "2h10m"}, "on-down": "cut"},
)
