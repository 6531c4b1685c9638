"""POP (RFC 1939): the server greets with ``+OK``; a client that cannot be served is told ``-ERR``."""

from __future__ import annotations

from collections.abc import Sequence

from exproxy.protocol import Protocol
from protocols.mail.greeting import ServerFirst


class Pop(ServerFirst):
    """One POP client, until it and its server are joined."""

    def greeted(self, lines: Sequence[bytes]) -> bool | None:
        """``+OK …`` (RFC 1939 4)."""
        return lines[0].split(b" ")[0] == b"+OK"

    def refusal(self) -> bytes:
        """``-ERR`` with SYS/TEMP: a passing trouble, and nothing wrong with the password (RFC 3206 4)."""
        name = self.service.host_name.encode("ascii", "replace")
        return b"-ERR [SYS/TEMP] %b Service not available, try again later\r\n" % name


plugin = Protocol(
    name="pop",
    summary="POP3: relayed after a good greeting, refused with -ERR",
    conversation=Pop,
    default_ports={110: "none", 995: "implicit"},
    tls_modes=("none", "implicit", "passthrough"),
    # Longer than any server's own autologout timer (RFC 1939 3 asks for 10 minutes at least).
    defaults={"check": "pop", "timeouts": {"idle": "1h"}},
)
