"""The log-in of one client connection: how far it has come, as whom, and whether it may go on.

Only names are kept, and shown in the access log; tokens are not.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from exproxy.actions import Action, Count, Learn, Record
from exproxy.model import User
from protocols.http.authentication import Token, goes_on, tokens
from protocols.http.head import RequestHead, ResponseHead
from protocols.http.ntlm import Authenticate

_NOTHING: tuple[Action, ...] = ()


class _Stage(enum.Enum):
    """Where a handshake stands."""

    NONE = "none"
    ASKED = "a first token was sent"
    CHALLENGED = "the server wants another leg"
    PROVED = "the last token was sent"
    OBJECTED = "the last token was not sent on"


class Login:
    """``user``: whom the server has accepted on this connection, as the client spelled it; or None.
    ``objects``: some log-ins do not pass."""

    __slots__ = ("_mechanism", "_name", "_stage", "objects", "user")

    def __init__(self, refuses_old: bool) -> None:
        """``refuses_old``: NTLMv1 does not pass, nor what might hide it."""
        self.user: str | None = None
        self.objects = refuses_old
        self._stage = _Stage.NONE
        self._name = ""
        self._mechanism = ""

    @property
    def under_way(self) -> bool:
        """Whether the next answer belongs to a log-in."""
        return self._stage is not _Stage.NONE

    def objection(self, head: RequestHead) -> str | None:
        """Why this request must not reach a server; None where nothing speaks against it."""
        if not self.objects:
            return None
        for token in tokens(head):
            old = isinstance(token.message, Authenticate) and token.message.version == 1
            if token.hidden or old:
                self._stage = _Stage.OBJECTED
                self._note(token)
                return "NTLMv1" if old else "a log-in that cannot be read"
        return None

    def asked(self, head: RequestHead) -> Sequence[Action]:
        """A request goes to its server."""
        found = tokens(head)
        if not found:
            return _NOTHING if self.user is None else [Record({"user": self.user})]
        token = found[0]
        actions: list[Action] = []
        if _last(token):
            self._stage = _Stage.PROVED
        else:
            actions = self.ended()
            self._stage = _Stage.ASKED
        self._note(token)
        return actions

    def answered(self, head: ResponseHead) -> Sequence[Action]:
        """The final head of the answer."""
        stage = self._stage
        if stage is _Stage.NONE:
            return _NOTHING
        self._stage = _Stage.NONE
        if stage is _Stage.ASKED and head.status not in (401, 407):
            return []
        if goes_on(head):
            self._stage = _Stage.CHALLENGED
            return [Record(self._fields("challenged"))]
        if stage is not _Stage.PROVED:
            return []
        if head.status in (401, 407):
            return [Count("logins_refused"), Record(self._fields("refused"))]
        actions: list[Action] = [Count("logins_done"), Record(self._fields("done"))]
        self.user = self._name or None
        return [*actions, Learn(User(self.user))] if self.user is not None else actions

    def ended(self) -> list[Action]:
        """Nothing more will come of what was begun: the connection ends, or begins anew."""
        stage, self._stage = self._stage, _Stage.NONE
        if stage is _Stage.OBJECTED:
            return [Count("logins_objected"), Record(self._fields("objected"))]
        if stage is _Stage.CHALLENGED:
            return [Count("logins_unfinished"), Record(self._fields("unfinished"))]
        if stage is _Stage.PROVED:
            # An IN channel of RPC over HTTP works for hours, and its answer comes with its end or never.
            return [Record(self._fields("unanswered"))]
        return []

    def _note(self, token: Token) -> None:
        self._mechanism = token.mechanism
        self._name = token.message.name if isinstance(token.message, Authenticate) else ""

    def _fields(self, state: str) -> dict[str, object]:
        fields: dict[str, object] = {"login": state, "mechanism": self._mechanism}
        if self._name:
            fields["user"] = self._name
        return fields


def _last(token: Token) -> bool:
    """Whether the server can decide by this token: all but the first of NTLM's."""
    return isinstance(token.message, Authenticate) or (token.message is None and not token.hidden)
