"""The lab's SMTP service: takes mail for anybody and puts it into the store."""

# mypy: allow-untyped-calls
# (twisted.web and twisted.mail are not typed)
from __future__ import annotations

from email.utils import formatdate
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.mail import smtp
from twisted.mail.imap4 import LOGINCredentials, PLAINCredentials
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from zope.interface import implementer

from exproxy.lab.login import portal
from exproxy.lab.store import Folder, Full, MailStore
from exproxy.lab.tls import LabTls

MESSAGE_LIMIT = 10 * 1024 * 1024


@implementer(IMessageSMTP)
class Incoming:
    """A message on its way into a folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._lines: list[bytes] = []
        self._size = 0

    def lineReceived(self, line: bytes) -> None:
        """Keep a line; raises SMTPServerError beyond the limit."""
        self._size += len(line) + 2
        if self._size > MESSAGE_LIMIT:
            self._lines = []
            raise smtp.SMTPServerError(552, b"message exceeds the maximum size")
        self._lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        """It is complete: deliver it."""
        self._folder.add(b"\r\n".join(self._lines) + b"\r\n")
        return succeed(None)

    def connectionLost(self) -> None:
        """It will not be complete."""
        self._lines = []


@implementer(IMessageDelivery)
class Delivery:
    """Accepts any sender and any recipient that the store has room for."""

    def __init__(self, server: str, store: MailStore) -> None:
        self._server = server
        self._store = store

    def receivedHeader(
        self, helo: tuple[bytes | None, bytes | str], origin: object, recipients: object
    ) -> bytes:
        """The trace line (RFC 5321, 4.4) that names this server."""
        said = (helo[0] or b"unknown").decode("ascii", "replace")
        peer = helo[1].decode("ascii", "replace") if isinstance(helo[1], bytes) else helo[1]
        return f"Received: from {said} ([{peer}]) by {self._server}; {formatdate()}".encode(
            "ascii", "replace"
        )

    def validateFrom(self, helo: object, origin: smtp.Address) -> smtp.Address:
        """Anybody."""
        return origin

    def validateTo(self, user: smtp.User) -> Any:
        """Anybody; raises SMTPBadRcpt when the store is full."""
        try:
            folder = self._store.mailbox(str(user.dest)).inbox
        except Full as full:
            raise smtp.SMTPBadRcpt(user, 452, "insufficient system storage") from full
        return lambda: Incoming(folder)


class LabSmtp(smtp.ESMTP):
    """An ESMTP session whose greeting starts with the server's name."""

    noisy = False

    def greeting(self) -> bytes:
        """What follows the 220."""
        return cast(bytes, self.host) + b" ESMTP service of a simulated Exchange ready"

    def extensions(self) -> dict[bytes, list[bytes] | None]:
        """STARTTLS, AUTH, SIZE and 8BITMIME."""
        found: dict[bytes, list[bytes] | None] = super().extensions()
        return found | {b"SIZE": [b"%d" % MESSAGE_LIMIT], b"8BITMIME": None}

    def do_NOOP(self, rest: bytes) -> None:
        """RFC 5321, 4.1.1.9."""
        self.sendCode(250, b"OK")

    def lookupMethod(self, command: bytes | str) -> Any:
        """None as well for what is no text at all, such as a TLS hello on a plain port."""
        if isinstance(command, bytes) and not command.isascii():
            return None
        return super().lookupMethod(command)


class SmtpFactory(ServerFactory):
    """SMTP for one server; login is possible and not needed."""

    noisy = False

    def __init__(self, server: str, store: MailStore, tls: LabTls) -> None:
        self._server = server.encode()
        self._tls = tls
        delivery = Delivery(server, store)
        self._portal = portal(store.password, IMessageDelivery, lambda user: delivery, anonymous=True)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A session."""
        session: Any = LabSmtp({b"PLAIN": PLAINCredentials, b"LOGIN": LOGINCredentials}, self._tls)
        session.portal = self._portal
        session.host = self._server
        return session
