"""Any protocol over TCP, unread: a server is picked at once, since either end may be the first to speak."""

from __future__ import annotations

from exproxy.protocol import Protocol
from protocols.plain import Plain

plugin = Protocol(
    name="tcp",
    summary="any TCP protocol: relayed unread, refused by a close",
    conversation=Plain,
    tls_modes=("none", "implicit", "passthrough"),
    defaults={"check": "connect"},
)
