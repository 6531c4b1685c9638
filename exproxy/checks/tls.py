"""Check ``tls``: the server accepts a TCP connection and finishes a TLS handshake on it."""

from __future__ import annotations

from exproxy.checks.dialogue import Dialogue
from exproxy.checks.record import Check, CheckPlugin

plugin = CheckPlugin(
    name="tls",
    summary="a TLS handshake is finished",
    make=lambda options: Check(lambda: Dialogue(layer="L6"), tls="always", layer="L6"),
)
