"""One request and its answer, on their way through."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from exproxy.actions import Action, Learn, SetDeadline, ToClient
from exproxy.model import BACKEND, CLIENT, Facts, Link, Side
from exproxy.settings import Timeouts
from protocols.http.answer import Answer
from protocols.http.channel import Channel, channel_of
from protocols.http.edits import ends_by_close
from protocols.http.faults import BadMessage
from protocols.http.framing import NO_BODY, NO_MORE, Body, Kind, LengthBody
from protocols.http.head import HTTP_1_1, IDEMPOTENT, RequestHead, ResponseHead
from protocols.http.limits import MessageLimits
from protocols.http.peer import Peer
from protocols.http.routing import NO_WAY, Way
from protocols.http.rts import METHODS

# The one deadline of the client's side; what it means follows from what is awaited when it comes.
AWAITED = "http"
# The pace of a request's body is looked at in spans.
PACE = "body"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Offers to go on in what is HTTP or TLS again would hide requests from us.
_NOT_TUNNELLED = (b"h2c", b"http/", b"tls/")
# Characters of a path, and of a proxy's request id, in the access log.
_PATH = 1024
_ID = 128


@lru_cache(maxsize=256)
def awaiting(seconds: float) -> SetDeadline:
    """The next thing on the client's side is awaited for so long."""
    return SetDeadline(AWAITED, seconds)


class Exchange:
    """A request that a backend is to answer.

    ``facts``: those of its Pick. ``link``: where it went, None before. ``bare``: it has no body, and nothing
    about it needs a second look. ``heard``: something of its answer has come. ``begun``: the client has been
    sent the answer's head. ``final``: the head of an answer that was not looked at again. ``lent``: the side
    whose body passes unseen now; ``silent``: so many looks at it in a row found that nothing had moved.
    ``added``: the fields that its answer has from us. ``keep``: the client may ask more on its connection
    afterwards.
    """

    # In the class, so that making one sets nothing but what differs.
    way = NO_WAY
    link: Link | None = None
    reused = False
    begun = False
    bytes_out = 0
    upgrade = False
    channel: Channel | None = None
    waiting = False
    answered_100 = False
    expecting = False
    heard = False
    lent: Side | None = None
    silent = 0
    final: ResponseHead | None = None
    _answer: Answer | None = None
    added: Sequence[tuple[bytes, bytes]] = ()
    _paced = False
    _spans = 0
    _repeated = False

    def __init__(
        self,
        head: RequestHead,
        peer: Peer,
        facts: Facts,
        request_id: bytes,
        limits: MessageLimits,
        pinned: bool = False,
    ) -> None:
        """``pinned``: there is nothing to choose, it goes where those before it went."""
        fields = head.fields
        self.head = head
        self.facts = facts
        self.request_id = request_id
        self.keep = not fields.closes if head.version is HTTP_1_1 else head.keep_alive
        self.bytes_in = len(head.line) + len(fields.text)
        self.bare = head.framing is NO_BODY and fields.plain and head.method not in METHODS
        if not self.bare:
            self._look(head, pinned)
        self._limits = limits
        self.body: Body = NO_MORE if self.bare else head.framing.body(limits)
        self._kept: bytes | None = peer.forwarded(head, request_id, self.upgrade, not self.answered_100)
        self._room = len(self._kept)

    @property
    def answer(self) -> Answer:
        """What has come in answer."""
        if self._answer is None:
            self._answer = Answer(self.head, self._limits, self.upgrade)
        return self._answer

    def _look(self, head: RequestHead, pinned: bool) -> None:
        """What few requests ask for."""
        self.upgrade = tunnels(head)
        self.channel = channel_of(head)
        # The choice waits for the first bytes of the body, so they are asked for here.
        self.waiting = self.channel is not None and self.channel.carries and not pinned
        self.answered_100 = self.waiting and head.expects_continue
        # The client may be waiting for a server's 100 before it sends its body.
        self.expecting = head.expects_continue and not self.waiting

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Bytes from the client -> (what goes to the backend, what belongs to the next request).

        Before there is a link nothing goes: ``opening`` has it then. Raises BadMessage.
        """
        onward, rest, _ = self.body.feed(data)
        self.bytes_in += len(data) - len(rest)
        if self.bytes_in - self.head.size > self.way.limits.body and self.channel is None:
            raise BadMessage(413, "request body too large")
        if onward:
            self.expecting = False
            if self.channel is not None:
                self.channel.feed(onward)
        if self._kept is not None:
            self._kept += onward
            if self.link is not None and len(self._kept) > self._room:
                self._kept = None
        return onward, rest

    @property
    def ready(self) -> bool:
        """Whether all is there that its choice waits for."""
        return not self.waiting or self.channel is None or self.channel.opened

    def asking(self, timeouts: Timeouts) -> list[Action]:
        """Get what the choice waits for, from a client that may wait to be asked for it."""
        asked: list[Action] = [ToClient(_CONTINUE)] if self.answered_100 else []
        return asked if self.ready else [*asked, SetDeadline(AWAITED, timeouts.rts)]

    def choosing(self) -> Facts:
        """The facts of its Pick, complete now."""
        self.waiting = False
        if self.channel is not None:
            self.facts = self.channel.choose(self.facts)
        return self.facts

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
        if self._repeated or self.head.method not in IDEMPOTENT or len(opening) > self._room:
            self._kept = None
        return opening

    @property
    def unseen(self) -> tuple[Side, int]:
        """Whose body is on its way, and so many bytes of it that need not be seen here; 0 where they must.

        They must while they may have to be sent once more, while they tell of a virtual connection, and
        while the client waits to be asked for them.
        """
        body = self.body
        if not body.done:
            seen = self.channel is not None or self.expecting or self._kept is not None
            return CLIENT, body.left if isinstance(body, LengthBody) and not seen else 0
        return BACKEND, 0 if self._answer is None else self._answer.left

    def passed(self, side: Side, count: int) -> bool:
        """So many bytes of that side's body went by unseen, and it is seen again: whether it is complete."""
        self.lent = None
        if side is CLIENT:
            assert isinstance(self.body, LengthBody)
            self.body.passed(count)
            self.bytes_in += count
            return self.body.done
        self.bytes_out += count
        return self.answer.passed(count)

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
        return self._kept is not None and not self.heard

    def repeat(self) -> None:
        """Forget the link: another one will come."""
        self.link = None
        self._repeated = True

    def patience(self, timeouts: Timeouts) -> float:
        """Seconds of silence to bear now: for the answer to a whole request, else while bytes move."""
        if self.body.done and (self._answer is None or self._answer.head is None):
            return timeouts.answer
        return timeouts.idle if self.channel is None else timeouts.tunnel

    def take_way(self, way: Way) -> None:
        """It goes that way, under its limits. Raises BadMessage where the body is said to be larger."""
        self.way = way
        self._room += way.limits.retry_buffer
        if self.head.framing.length > way.limits.body and self.channel is None:
            raise BadMessage(413, "request body too large")

    def arrives_slowly(self, timeouts: Timeouts) -> bool:
        """Another span of its body's time is over: whether it brought too little until now."""
        self._spans += 1
        wanted = self._spans * timeouts.request_body * self.way.limits.body_rate
        return self.bytes_in - self.head.size < wanted

    def beside(self, timeouts: Timeouts) -> list[Action]:
        """What its body asks for beside going on: a look at its pace, and whom a channel belongs to."""
        actions: list[Action] = []
        to_be_paced = self.channel is None and not self.body.done and not self.expecting
        if self._paced != to_be_paced:
            self._paced = to_be_paced
            actions.append(SetDeadline(PACE, timeouts.request_body if to_be_paced else None))
        shown = self.channel.unheard() if self.channel is not None else None
        return [*actions, Learn(shown)] if shown is not None else actions

    def record(self) -> dict[str, object]:
        """What the access log says of it: the path without its query, which may hold secrets."""
        answer = self.final or self.answer.head
        routed = {} if self.way.route is None else {"route": self.way.route}
        return {
            **routed,
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
