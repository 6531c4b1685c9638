"""A message of the store as twisted.mail's IMAP server wants to see it."""

from __future__ import annotations

import calendar
import email.message
import email.policy
from email import message_from_bytes
from email.utils import formatdate, mktime_tz, parsedate_tz
from io import BytesIO
from typing import Any, cast

from twisted.mail.interfaces import IMessageIMAP, IMessageIMAPFile, IMessageIMAPPart
from zope.interface import implementer

from exproxy.lab.store import SEEN, Message

_POLICY = email.policy.compat32.clone(linesep="\r\n")


def seconds(date: Any) -> float | None:
    """An APPEND or COPY date-time as seconds since the epoch; None when absent or unreadable."""
    if not date:
        return None
    text = date.decode("ascii", "replace") if isinstance(date, bytes) else str(date)
    parsed = parsedate_tz(text.replace("-", " ", 2) if text[2:3] == "-" or text[1:2] == "-" else text)
    if parsed is None:
        return None
    return float(mktime_tz(parsed) if parsed[9] is not None else calendar.timegm(parsed[:9]))


@implementer(IMessageIMAPPart)
class Part:
    """A MIME part; `raw` has CRLF line ends."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._read: email.message.Message | None = None

    @property
    def _parsed(self) -> email.message.Message:
        if self._read is None:
            self._read = message_from_bytes(self._raw)
        return self._read

    def getHeaders(self, negate: bool, *names: bytes | str) -> dict[str, str]:
        """The header fields named (or all others), lower-case name to ASCII value."""
        wanted = {(n.decode("ascii", "replace") if isinstance(n, bytes) else n).lower() for n in names}
        found = ((name.lower(), str(value)) for name, value in self._parsed.items())
        chosen = ((name, value) for name, value in found if (name in wanted) is not negate)
        return {name: value.encode("ascii", "replace").decode() for name, value in chosen}

    def getBodyFile(self) -> BytesIO:
        """What follows the header."""
        return BytesIO(self._raw.partition(b"\r\n\r\n")[2])

    def getSize(self) -> int:
        """Octets, header included."""
        return len(self._raw)

    def isMultipart(self) -> bool:
        """Whether there are parts."""
        return self._parsed.is_multipart()

    def getSubPart(self, part: int) -> Part:
        """A part, counted from 0; raises IndexError."""
        found = self._parsed.get_payload()
        if not isinstance(found, list):
            raise IndexError(part)
        return Part(cast(email.message.Message, found[part]).as_bytes(policy=_POLICY))


@implementer(IMessageIMAP, IMessageIMAPFile)
class ImapMessage(Part):
    """A whole message."""

    def __init__(self, message: Message) -> None:
        super().__init__(message.raw)
        self._message = message

    def mark_seen(self) -> None:
        """It has been read."""
        self._message.flags.add(SEEN)

    def getUID(self) -> int:
        """Its UID."""
        return self._message.uid

    def getFlags(self) -> list[str]:
        """Its flags."""
        return sorted(self._message.flags)

    def getInternalDate(self) -> str:
        """When it arrived, as RFC 5322 writes it, in UTC."""
        return formatdate(self._message.received)

    def open(self) -> BytesIO:
        """All of it."""
        return BytesIO(self._raw)
