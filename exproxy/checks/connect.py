"""Check ``connect``: the server accepts a TCP connection."""

from __future__ import annotations

from exproxy.checks.dialogue import Dialogue
from exproxy.checks.record import Check, CheckPlugin

plugin = CheckPlugin(
    name="connect",
    summary="a TCP connection is accepted",
    make=lambda options: Check(lambda: Dialogue(layer="L4"), tls="never", layer="L4"),
)
