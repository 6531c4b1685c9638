"""IMAP (RFC 9051): the server greets with ``* OK``; a client that cannot be served is told ``* BYE``."""

from __future__ import annotations

from collections.abc import Sequence

from exproxy.interfaces import IConversation, IService
from exproxy.model import User
from protocols.mail.greeting import ServerFirst, of_client
from protocols.mail.imap_alone import Imap as InPath
from protocols.mail.options import ImapOptions, MailProtocol


class Imap(ServerFirst):
    """One IMAP client, until it and its server are joined."""

    def greeted(self, lines: Sequence[bytes]) -> bool | None:
        """``* OK …`` or ``* PREAUTH …`` (RFC 9051 7.1); ``* BYE`` is a refusal."""
        return lines[0].upper().split(b" ")[:2] in ([b"*", b"OK"], [b"*", b"PREAUTH"])

    def refusal(self) -> bytes:
        """``* BYE`` in place of a greeting (RFC 9051 7.1.5) with UNAVAILABLE (RFC 5530 3)."""
        name = self.service.host_name.encode("ascii", "replace")
        return b"* BYE [UNAVAILABLE] %b Service not available, try again later\r\n" % name


def conversation(service: IService) -> IConversation:
    """Of one client: in the path, or relayed after the greeting."""
    return of_client(service, InPath, Imap)


def busy(service: IService) -> bytes:
    """What a client hears that comes too often."""
    name: str = service.host_name
    return b"* BYE [LIMIT] %b Too many connections from your address\r\n" % name.encode("ascii", "replace")


plugin = MailProtocol(
    name="imap",
    summary="IMAP: greeted, STARTTLS on either side, drained between commands; refused with * BYE",
    conversation=conversation,
    default_ports={143: "none", 993: "implicit"},
    tls_modes=("none", "implicit", "starttls", "passthrough"),
    gives=(User,),
    # A server ends an inactive connection after 30 minutes at the earliest (RFC 9051 5.4), and should be
    # the one to do it; a client in IDLE speaks every 29.
    defaults={"check": "imap", "timeouts": {"idle": "31m"}},
    options=ImapOptions,
    busy=busy,
    alpn=(b"imap",),
)
