"""What a client has sent and nobody has taken yet: the begin of its next requests."""

from __future__ import annotations

from protocols.http.head import RequestHead, find_head, parse_again, parse_request
from protocols.http.limits import MessageLimits


class Inbox:
    """Bytes from the begin of a request on; true while there are any."""

    __slots__ = ("_before", "_bytes", "_limits", "_searched")

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits
        self._bytes: bytes | bytearray = b""
        self._searched = 0
        # The last head: a connection's heads often differ in their first line only.
        self._before: RequestHead | None = None

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def __len__(self) -> int:
        return len(self._bytes)

    def put(self, data: bytes) -> None:
        """Add bytes at the end."""
        if not self._bytes:
            self._bytes = data
        elif isinstance(self._bytes, bytearray):
            self._bytes += data
        else:
            self._bytes = bytearray(self._bytes + data)

    def take(self) -> bytes:
        """All the bytes, which are here no longer."""
        if not self._bytes:
            return b""
        data, self._bytes = self._bytes, b""
        self._searched = 0
        return bytes(data)

    def head(self) -> RequestHead | None:
        """The request that begins here, what follows its head staying; None: need more.

        Raises BadMessage for what is no request, or too large a one.
        """
        data, before = self._bytes, self._before
        if before is not None and not self._searched and isinstance(data, bytes):
            again = parse_again(data, before, self._limits)
            if again is not None:
                self._bytes = b""
                return again
        end = find_head(data, self._limits, self._searched)
        if end is None:
            self._searched = len(data)
            return None
        head = self._before = parse_request(bytes(data[:end]), self._limits, before)
        self._bytes = bytes(data[end:])
        self._searched = 0
        return head
