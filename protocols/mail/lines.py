"""Lines of commands and answers, cut out of a stream without losing a byte of what follows them.

RFC 5321 2.3.8 and 4.1.1.4, RFC 9051 2.2 and RFC 1939 3 all end a line with CR LF and nothing else.
"""

from __future__ import annotations


class TooLong(ValueError):
    """A line longer than it may be."""


class BareNewline(ValueError):
    """A CR or a LF that stands alone."""


class Lines:
    """What has come from one side and was not taken yet.

    ``limit``: bytes of a line, its end included. ``strict``: a CR or LF alone raises BareNewline; else a
    LF alone ends a line as well.
    """

    __slots__ = ("_data", "_searched", "limit", "strict")

    def __init__(self, limit: int, strict: bool = False) -> None:
        self.limit = limit
        self.strict = strict
        self._data = bytearray()
        # Up to here there is no LF.
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """More has come."""
        self._data += data

    def line(self, limit: int | None = None) -> bytes | None:
        """The next line without its end, None while it is not whole. Raises TooLong or BareNewline."""
        limit = limit or self.limit
        end = self._data.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._data)
            # The last byte may be the CR of the end.
            if self.strict and self._data.find(b"\r", 0, -1) >= 0:
                raise BareNewline("a CR without LF")
            if len(self._data) >= limit:
                raise TooLong(f"more than {limit} bytes without an end")
            return None
        if end >= limit:
            raise TooLong(f"more than {limit} bytes")
        line = bytes(self._data[: end + 1])
        if self.strict and (not line.endswith(b"\r\n") or line.find(b"\r", 0, -2) >= 0):
            raise BareNewline("a CR or LF alone")
        del self._data[: end + 1]
        self._searched = 0
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def exactly(self, count: int) -> bytes | None:
        """So many bytes, None while there are fewer."""
        if len(self._data) < count:
            return None
        return self._cut(count)

    def some(self, most: int | None = None) -> bytes:
        """What there is, at the most so many bytes."""
        return self._cut(len(self._data) if most is None else min(most, len(self._data)))

    def back(self, data: bytes) -> None:
        """Put what was taken too much in front again."""
        self._data[:0] = data
        self._searched = 0

    def clear(self) -> int:
        """Forget everything; how many bytes that was."""
        return len(self._cut(len(self._data)))

    def _cut(self, count: int) -> bytes:
        data = bytes(self._data[:count])
        del self._data[:count]
        self._searched = 0
        return data
