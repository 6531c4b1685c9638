"""POP (RFC 1939): the server greets with ``+OK``; a client that cannot be served is told ``-ERR``."""

from __future__ import annotations

from collections.abc import Sequence

from exproxy.interfaces import IConversation, IService
from exproxy.model import User
from protocols.mail.greeting import ServerFirst, of_client
from protocols.mail.options import MailProtocol, PopOptions
from protocols.mail.pop_alone import Pop as InPath


class Pop(ServerFirst):
    """One POP client, until it and its server are joined."""

    def greeted(self, lines: Sequence[bytes]) -> bool | None:
        """``+OK …`` (RFC 1939 4)."""
        return lines[0].split(b" ")[0] == b"+OK"

    def refusal(self) -> bytes:
        """``-ERR`` with SYS/TEMP: a passing trouble, and nothing wrong with the password (RFC 3206 4)."""
        name = self.service.host_name.encode("ascii", "replace")
        return b"-ERR [SYS/TEMP] %b Service not available, try again later\r\n" % name


def conversation(service: IService) -> IConversation:
    """Of one client: in the path, or relayed after the greeting."""
    return of_client(service, InPath, Pop)


def busy(service: IService) -> bytes:
    """What a client hears that comes too often."""
    name: str = service.host_name
    return b"-ERR [SYS/TEMP] %b Too many connections from your address\r\n" % name.encode("ascii", "replace")


plugin = MailProtocol(
    name="pop",
    summary="POP3: greeted, STLS on either side, drained between commands; refused with -ERR",
    conversation=conversation,
    default_ports={110: "none", 995: "implicit"},
    tls_modes=("none", "implicit", "starttls", "passthrough"),
    gives=(User,),
    # Longer than any server's own autologout timer (RFC 1939 3 asks for 10 minutes at least).
    defaults={"check": "pop", "timeouts": {"idle": "1h"}},
    options=PopOptions,
    busy=busy,
    alpn=(b"pop3",),
)
