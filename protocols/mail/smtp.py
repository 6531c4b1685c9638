"""SMTP (RFC 5321): the server greets with 220; a client that cannot be served is told 421."""

from __future__ import annotations

from collections.abc import Sequence

from exproxy.interfaces import IConversation, IService
from exproxy.model import User
from protocols.mail.greeting import ServerFirst, of_client
from protocols.mail.options import MailProtocol, SmtpOptions
from protocols.mail.smtp_alone import Smtp as InPath


class Smtp(ServerFirst):
    """One SMTP client, until it and its server are joined."""

    def greeted(self, lines: Sequence[bytes]) -> bool | None:
        """``220 …``, perhaps after lines ``220-…`` (RFC 5321 4.2, 4.3.1)."""
        if any(line[:3] != b"220" for line in lines):
            return False
        return None if lines[-1][3:4] == b"-" else True

    def refusal(self) -> bytes:
        """421 (RFC 5321 3.8) with 4.3.2, system not accepting network messages (RFC 3463 3.4)."""
        name = self.service.host_name.encode("ascii", "replace")
        return b"421 4.3.2 %b Service not available, closing transmission channel\r\n" % name


def conversation(service: IService) -> IConversation:
    """Of one client: in the path, or relayed after the greeting."""
    return of_client(service, InPath, Smtp)


def busy(service: IService) -> bytes:
    """What a client hears that comes too often."""
    name: str = service.host_name
    return b"421 4.7.0 %b Too many connections from your address\r\n" % name.encode("ascii", "replace")


plugin = MailProtocol(
    name="smtp",
    summary="SMTP: greeted, STARTTLS on either side, drained between transactions; refused with 421",
    conversation=conversation,
    default_ports={25: "none", 587: "none", 465: "implicit"},
    tls_modes=("none", "implicit", "starttls", "passthrough"),
    gives=(User,),
    # A server may take 10 minutes over the end of a message (RFC 5321 4.5.3.2.6).
    defaults={"check": "smtp", "timeouts": {"idle": "11m"}},
    options=SmtpOptions,
    busy=busy,
    alpn=(b"smtp",),
)
