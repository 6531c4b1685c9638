"""What a client has sent and nobody has taken yet: the begin of its next requests."""

from __future__ import annotations

from protocols.http.head import RequestHead, find_head, parse_again, parse_request
from protocols.http.limits import MessageLimits


class Inbox:
    """Bytes from the begin of a request on, ``data``; true while there are any."""

    __slots__ = ("_before", "_limits", "_searched", "data")

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits
        self.data: bytes | bytearray = b""
        self._searched = 0
        # The last head: a connection's heads often differ in their first line only.
        self._before: RequestHead | None = None

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def put(self, data: bytes) -> None:
        """Add bytes at the end."""
        if not self.data:
            self.data = data
        elif isinstance(self.data, bytearray):
            self.data += data
        else:
            self.data = bytearray(self.data + data)

    def take(self) -> bytes:
        """All the bytes, which are here no longer."""
        if not self.data:
            return b""
        data, self.data = self.data, b""
        self._searched = 0
        return bytes(data)

    def again(self, data: bytes) -> RequestHead | None:
        """The request that ``data`` is, where nothing is here, and it is whole and much like the one before;
        else None, and nothing has happened."""
        before = self._before
        if before is None or self.data:
            return None
        return parse_again(data, before, self._limits)

    def head(self) -> RequestHead | None:
        """The request that begins here, what follows its head staying; None: need more.

        Raises BadMessage for what is no request, or too large a one.
        """
        data = self.data
        end = find_head(data, self._limits, self._searched)
        if end is None:
            self._searched = len(data)
            return None
        head = self._before = parse_request(bytes(data[:end]), self._limits, self._before)
        self.data = bytes(data[end:])
        self._searched = 0
        return head
