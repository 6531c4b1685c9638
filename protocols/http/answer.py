"""What a backend sends in answer to one request, taken apart as it arrives."""

from __future__ import annotations

from exproxy.model import BACKEND
from protocols.http.faults import BadMessage
from protocols.http.framing import Body, LengthBody, UntilCloseBody
from protocols.http.head import RequestHead, ResponseHead, find_head, parse_response
from protocols.http.limits import MessageLimits

SWITCHING_PROTOCOLS = 101
# A backend that says "wait" for ever is of no use.
_INTERIM_HEADS = 100


class Answer:
    """Fed with a backend's bytes: heads first, interim ones included, then the body as it comes.

    ``head`` is the final head once it is there; ``done``: the answer is complete; ``rest``: bytes
    that came after it; ``untouched``: nothing of it has come.
    """

    # In the class, so that making one sets nothing but what differs.
    head: ResponseHead | None = None
    done = False
    rest = b""
    untouched = True
    _body: Body | None = None
    _buffer: bytes | bytearray = b""
    _searched = 0
    _interim = 0

    def __init__(self, request: RequestHead, limits: MessageLimits, upgrade: bool = False) -> None:
        """``upgrade``: the request offers another protocol, so that 101 may be said."""
        self._request = request
        self._limits = limits
        self._offered = upgrade

    @property
    def persists(self) -> bool:
        """Whether the backend keeps its connection for another request, as far as can be told now."""
        return (
            self.head is not None
            and self.head.keep_alive
            and not self.rest
            and not isinstance(self._body, UntilCloseBody)
        )

    @property
    def until_close(self) -> bool:
        """Whether the body has no other end than that of the connection."""
        return isinstance(self._body, UntilCloseBody)

    def feed(self, data: bytes) -> tuple[list[ResponseHead], bytes]:
        """The heads that have become whole, and the bytes of the body that go on.

        Raises BadMessage (502) for what is no answer.
        """
        self.untouched = False
        if self._body is None:
            heads, data = self._heads(data)
            if self._body is None:
                return heads, b""
        else:
            heads = []
        onward, self.rest, self.done = self._body.feed(data)
        return heads, onward

    @property
    def left(self) -> int:
        """Bytes of the body that are still to come, where their number is known; else 0."""
        return self._body.left if isinstance(self._body, LengthBody) else 0

    def passed(self, count: int) -> bool:
        """So many of them went by unseen; whether the answer is complete."""
        if isinstance(self._body, LengthBody):
            self._body.passed(count)
            self.done = self._body.done
        return self.done

    def ended(self) -> bool:
        """The backend has ended its side in an orderly way: whether that completes the answer."""
        if isinstance(self._body, UntilCloseBody):
            self.done = True
        return self.done

    def _heads(self, data: bytes) -> tuple[list[ResponseHead], bytes]:
        heads: list[ResponseHead] = []
        buffer: bytes | bytearray = data
        if self._buffer:
            buffer = self._buffer
            buffer += data
        while (end := find_head(buffer, self._limits, self._searched, BACKEND)) is not None:
            head = parse_response(bytes(buffer[:end]), self._limits)
            buffer = bytes(buffer[end:])
            self._searched = 0
            heads.append(head)
            if head.status >= 200:
                self._final(head)
                return heads, buffer
            if self._interim_ends(head):
                self.rest = buffer
                return heads, b""
        self._buffer = buffer if isinstance(buffer, bytearray) else bytearray(buffer)
        self._searched = len(buffer)
        return heads, b""

    def _final(self, head: ResponseHead) -> None:
        self.head = head
        self._buffer = b""
        old = self._request.version < (1, 1)
        self._body = head.framing(self._request.method).body(self._limits, BACKEND, dechunk=old)

    def _interim_ends(self, head: ResponseHead) -> bool:
        """An interim head: whether HTTP ends with it."""
        self._interim += 1
        if self._interim > _INTERIM_HEADS:
            raise BadMessage(502, "too many interim answers", BACKEND)
        if head.status != SWITCHING_PROTOCOLS:
            return False
        if not self._offered:
            raise BadMessage(502, "switched to a protocol that nobody offered", BACKEND)
        self.head = head
        self.done = True
        return True
