"""The lab's POP3 service over the shared store."""

# mypy: allow-untyped-calls
# (twisted.web and twisted.mail are not typed)
from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.mail import pop3
from zope.interface import implementer

from exproxy.lab.login import portal
from exproxy.lab.store import Mailbox, MailStore, Message


def at_once(steps: Iterator[Any]) -> Deferred[Any]:
    """Run an iterator to its end, waiting only for Deferreds: no timer outlives its connection."""

    async def run() -> None:
        for step in steps:
            if isinstance(step, Deferred):
                await step

    return Deferred.fromCoroutine(run())


@implementer(pop3.IMailbox)
class Drop:
    """An inbox as one POP3 session sees it: fixed at login, changed at QUIT (RFC 1939, 8)."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._folder = mailbox.inbox
        self._messages: list[Message] = list(mailbox.inbox.messages)
        self._deleted: set[int] = set()

    def _size(self, message: Message) -> int:
        return 0 if message.uid in self._deleted else len(message.raw)

    def _at(self, index: int) -> Message:
        if not 0 <= index < len(self._messages):
            raise ValueError("no such message")
        return self._messages[index]

    def listMessages(self, i: int | None = None) -> Any:
        """The size in octets of one message, or of each; 0 for a deleted one."""
        if i is not None:
            return self._size(self._at(i))
        return [self._size(message) for message in self._messages]

    def getMessage(self, index: int) -> BytesIO:
        """The message with LF line ends, as twisted.mail wants it."""
        return BytesIO(self._at(index).raw.replace(b"\r\n", b"\n"))

    def getUidl(self, index: int) -> bytes:
        """A name that stays the same on every server."""
        return b"%d.%d" % (self._folder.validity, self._at(index).uid)

    def deleteMessage(self, index: int) -> None:
        """Mark for deletion."""
        self._deleted.add(self._at(index).uid)

    def undeleteMessages(self) -> None:
        """Forget the marks."""
        self._deleted.clear()

    def sync(self) -> None:
        """Delete what is marked."""
        self._folder.remove(self._deleted)


class LabPop(pop3.POP3):
    """A POP3 session whose greeting starts with the server's name."""

    schedule: Any = staticmethod(at_once)

    def state_COMMAND(self, line: bytes) -> None:
        """Answer a bad command with -ERR and nothing in the log: it is the client's mistake."""
        try:
            self.processCommand(*line.split(b" "))
        except (ValueError, AttributeError, TypeError, pop3.POP3Error):
            self.failResponse(b"bad command or argument")


class PopFactory(ServerFactory):
    """POP3 for one server."""

    noisy = False

    def __init__(self, server: str, store: MailStore) -> None:
        # Without angle brackets it is no APOP challenge (RFC 1939, 7), so clients send the password.
        self._greeting = server.encode() + b" POP3 service of a simulated Exchange ready"
        self._portal = portal(store.password, pop3.IMailbox, lambda user: Drop(store.mailbox(user)))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A session."""
        session: Any = LabPop()
        session.factory = self
        session.portal = self._portal
        session.magic = self._greeting
        return session
