"""One request and its answer, on their way through."""

from __future__ import annotations

from exproxy.model import Facts, Link
from exproxy.settings import Timeouts
from protocols.http.answer import Answer
from protocols.http.edits import ends_by_close, forward_request
from protocols.http.framing import Kind
from protocols.http.head import RequestHead, ResponseHead
from protocols.http.limits import MessageLimits
from protocols.http.peer import Peer

# Offers to go on in what is HTTP or TLS again would hide requests from us.
_NOT_TUNNELLED = (b"h2c", b"http/", b"tls/")
# Two requests that together are one channel, silent for long (MS-RPCH 2.1.2).
_CHANNELS = frozenset((b"RPC_IN_DATA", b"RPC_OUT_DATA"))
# Characters of a path, and of a proxy's request id, in the access log.
_PATH = 1024
_ID = 128


class Exchange:
    """A request that a backend is to answer.

    ``facts``: those of its Pick. ``link``: where it went, None before. ``begun``: the client has
    been sent the answer's head. ``keep``: the client may ask more on its connection afterwards.
    """

    __slots__ = (
        "_kept",
        "_repeated",
        "_room",
        "answer",
        "begun",
        "body",
        "bytes_in",
        "bytes_out",
        "facts",
        "head",
        "keep",
        "link",
        "request_id",
        "reused",
        "upgrade",
    )

    def __init__(
        self,
        head: RequestHead,
        peer: Peer,
        request_id: bytes,
        limits: MessageLimits,
        retry_buffer: int,
        without_cookies: frozenset[bytes],
    ) -> None:
        """``retry_buffer``: bytes of the body that are kept in case it must be sent again."""
        self.head = head
        self.facts: Facts = peer.facts(head)
        self.request_id = request_id
        self.upgrade = tunnels(head)
        self.body = head.framing.body(limits)
        self.answer = Answer(head, limits, self.upgrade)
        self.link: Link | None = None
        self.reused = False
        self.begun = False
        self.keep = head.keep_alive
        self.bytes_in = len(head.raw)
        self.bytes_out = 0
        edited = forward_request(
            head, peer.origin, request_id, upgrade=self.upgrade, without_cookies=without_cookies
        )
        self._kept: bytes | None = edited
        self._room = len(edited) + retry_buffer
        self._repeated = False

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Bytes from the client -> (what goes to the backend, what belongs to the next request).

        Before there is a link nothing goes: ``opening`` has it then. Raises BadMessage.
        """
        onward, rest, _ = self.body.feed(data)
        self.bytes_in += len(data) - len(rest)
        if self._kept is not None:
            self._kept += onward
            if self.link is not None and len(self._kept) > self._room:
                self._kept = None
        return onward, rest

    def opening(self, link: Link, reused: bool) -> bytes:
        """All that is there for the link that was found: the head as it goes on, and what came after it.

        It is kept where it could be sent once more: an idempotent request whose connection ends before
        any answer does no harm twice, whether the connection was kept alive or the server died
        (RFC 9112 9.3.1).
        """
        opening = self._kept
        assert opening is not None
        self.link = link
        self.reused = reused
        if self._repeated or not self.head.idempotent or len(opening) > self._room:
            self._kept = None
        return opening

    def over(self, link: Link | None) -> bool:
        """Whether it goes over that link."""
        return link is not None and (link is self.link or link == self.link)

    def settle(self, head: ResponseHead, last: bool, pinned: bool) -> None:
        """The final head is there: whether the client's connection can be kept beyond it.

        ``last``: no more requests are wanted; ``pinned``: they could go nowhere but over this link.
        """
        self.begun = True
        lost = not self.answer.persists and (pinned or not self.body.done)
        if last or lost or ends_by_close(head.framing(self.head.method), self.head.version):
            self.keep = False

    @property
    def repeatable(self) -> bool:
        """Whether ``opening`` may be asked for once more, the link being lost."""
        return self._kept is not None and self.answer.untouched

    def repeat(self) -> None:
        """Forget the link: another one will come."""
        self.link = None
        self._repeated = True

    def patience(self, timeouts: Timeouts) -> float:
        """Seconds of silence to bear now: for the answer to a whole request, else while bytes move."""
        if self.body.done and self.answer.head is None:
            return timeouts.answer
        return timeouts.tunnel if self.head.method in _CHANNELS else timeouts.idle

    def record(self) -> dict[str, object]:
        """What the access log says of it: the path without its query, which may hold secrets."""
        answer = self.answer.head
        return {
            "method": self.head.method.decode("ascii"),
            "host": self.head.host.decode("ascii"),
            "path": self.head.path[:_PATH].decode("ascii"),
            "status": None if answer is None else answer.status,
            "request_id": self.request_id[:_ID].decode("latin-1"),
        }


def tunnels(head: RequestHead) -> bool:
    """Whether the request offers a protocol that may follow HTTP on its connection (RFC 9110 7.8)."""
    offered = head.upgrade
    if offered is None or head.framing.kind is not Kind.NONE:
        return False
    return not any(name.strip().startswith(_NOT_TUNNELLED) for name in offered.split(b","))
