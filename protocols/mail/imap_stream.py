"""IMAP after the login: bytes pass as they come, and it is known where commands begin and end.

Nothing is kept but the begin and the end of the present line, so that a message of any size costs a
search for line ends at most, and a literal not even that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LITERAL = re.compile(rb"\{([0-9]{1,19})([+-])?\}\r?\n\Z")
# Text for people, which announces no literal; no command has such a name.
_STATUS = re.compile(rb"\S+ (OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)
# Bytes of a line's begin and end that are looked at: tag and word, and the longest literal's size.
HEAD, TAIL = 128, 32
# Commands without an answer; who has more is not followed any further.
OPEN = 1000


class Cutter:
    """One direction: where lines and literals end."""

    __slots__ = ("_head", "_skip", "_tail", "fresh")

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._skip = 0
        # A literal was announced that has to be asked for, and nothing of it has come.
        self.fresh = False

    @property
    def between(self) -> bool:
        """Whether nothing is half said."""
        return not self._head and not self._skip

    def lines(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """(begin, whole) of each line that ends in ``data``: not ``whole`` where a literal follows."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                self.fresh = False
                continue
            end = data.find(b"\n", at) + 1
            piece = data[at : end or len(data)]
            at += len(piece)
            self.fresh = False
            if len(self._head) < HEAD:
                self._head += piece[: HEAD - len(self._head)]
            self._tail = (self._tail + piece[-TAIL:])[-TAIL:]
            if end:
                yield self._ended()

    def _ended(self) -> tuple[bytes, bool]:
        begin = self._head
        found = None if _STATUS.match(begin) else _LITERAL.search(self._tail)
        self._tail = b""
        if found is not None:
            self._skip, self.fresh = int(found[1]), found[2] is None
            return begin, False
        self._head = b""
        return begin, True

    def forget(self, tag: bytes) -> None:
        """What was announced for the command with that tag will not come."""
        if not self.fresh or not self._head.startswith(tag + b" "):
            return
        self._head = self._tail = b""
        self._skip, self.fresh = 0, False


class Stream:
    """Both directions. ``open``: the commands that the server has not answered, tag → word."""

    def __init__(self) -> None:
        self.open: dict[bytes, bytes] = {}
        self.idling = False
        # From here on the bytes are compressed, or make no sense: nothing is known any more.
        self.unreadable = False
        self._client = Cutter()
        self._server = Cutter()

    @property
    def cut_off(self) -> bool:
        """Whether the client is in the midst of a command."""
        return not self._client.between

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way, or nothing but IDLE."""
        if not self._client.between or not self._server.between:
            return False
        return not self.open or (self.idling and len(self.open) == 1)

    def from_client(self, data: bytes) -> None:
        """Bytes of the client, on their way."""
        for begin, _ in self._client.lines(data):
            words = begin.split(None, 2)
            if self.idling and [word.upper() for word in words] == [b"DONE"]:
                self.idling = False
            elif len(words) > 1:
                self.open.setdefault(words[0], words[1].upper())
                self.unreadable = self.unreadable or len(self.open) > OPEN

    def from_server(self, data: bytes) -> None:
        """Bytes of the server, on their way."""
        for begin, _ in self._server.lines(data):
            first, _, rest = begin.partition(b" ")
            if first.rstrip(b"\r\n") == b"+":
                self.idling = b"IDLE" in self.open.values() and self._client.between
                continue
            word = self.open.pop(first, None)
            if word is None:
                continue
            if word == b"IDLE":
                self.idling = False
            elif word == b"COMPRESS" and rest[:2].upper() == b"OK":
                self.unreadable = True
            # Where it waited with a literal, that is not wanted.
            self._client.forget(first)
