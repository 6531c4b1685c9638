"""What is asked of the API, and what it answers besides the values of :mod:`exproxy.admin`.

Durations are seconds. Unknown keys are errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from exproxy.admin.explanation import Question
from exproxy.admin.status import Status
from exproxy.question import Client

WEEK = 7 * 86400.0
# What people write goes into logs: one line, without control characters.
Line: TypeAlias = Annotated[
    str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$")
]
Name: TypeAlias = Annotated[str, StringConstraints(max_length=200)]
State: TypeAlias = Literal["ready", "drain", "maint"]
Rows: TypeAlias = Annotated[int, Field(ge=1, le=10_000)]


class Model(BaseModel):
    """The base of them all."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StateRequest(Model):
    """What the operator wants of a server."""

    state: State
    """ready: in use; drain: nobody new, who is known may go on coming; maint: nobody, and no checks."""
    reason: Line = ""
    """Why, for those who look later."""
    until: AwareDatetime | float | None = None
    """When it goes back to ready by itself: RFC 3339, or POSIX seconds."""
    service: Name | None = None
    """In this service alone. Default: in all of them."""
    force: bool = False
    """Even where a service would have no usable server left."""
    timeout: Annotated[float, Field(gt=0, le=WEEK)] | None = None
    """Seconds after which what is left of its connections is cut. Default: never."""
    drain: Literal["keep", "move"] | None = None
    """keep: known clients go on coming; move: their next connection goes elsewhere."""

    @property
    def until_seconds(self) -> float | None:
        """``until`` in POSIX seconds."""
        return self.until if self.until is None or isinstance(self.until, float) else self.until.timestamp()


class WeightRequest(Model):
    """A server's share compared to the others."""

    weight: Annotated[int, Field(ge=0, le=256)]
    """0: no new clients."""
    service: Name | None = None
    """In this service alone. Default: in all of them."""


class MoveRequest(Model):
    """Where persistence entries are to lead."""

    server: Name


class ReloadRequest(Model):
    """Read the configuration again."""

    dry_run: bool = False
    """Say what would change, and change nothing."""


class LoginRequest(Model):
    """A token in exchange for a session of a browser."""

    token: Annotated[str, StringConstraints(max_length=4096)]


class ClientRequest(Model):
    """A hypothetical client. Only ``source`` means something to all protocols."""

    source: Name = ""
    """Its address."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """The listening port that it reaches; 0: the service's first."""
    method: Name = "GET"
    host: Name = ""
    path: Annotated[str, StringConstraints(max_length=8192)] = "/"
    headers: Annotated[tuple[tuple[str, str], ...], Field(max_length=100, repr=False)] = ()
    """Pairs of name and value, as they stand in an HTTP request."""
    user: Name = ""
    server_name: Name = ""
    """Of its TLS handshake."""
    session_id: Name = ""
    """A TLS session that it resumes, hexadecimal."""
    association: Annotated[int, Field(ge=0)] = 0
    """An RPC association group."""


class ExplainRequest(Model):
    """Who is asked about: a live session, a record of the access log, or a hypothetical client."""

    service: Name = ""
    client: ClientRequest = ClientRequest()
    session: Name = ""
    """The id of a live session."""
    record: dict[str, Any] | None = None
    """The object of an access-log line."""

    @property
    def question(self) -> Question:
        """What the plane is asked."""
        client = Client(**{name: getattr(self.client, name) for name in ClientRequest.model_fields})
        return Question(self.service, client, self.session, self.record)


class SessionsQuery(Model):
    """Which sessions."""

    service: Name | None = None
    server: Name | None = None
    client: Name | None = None
    """An address or a network."""
    limit: Rows = 1000


class KillQuery(Model):
    """Which sessions are cut, and why."""

    service: Name | None = None
    server: Name | None = None
    client: Name | None = None
    reason: Line = "no reason given"


class ReasonQuery(Model):
    """Why a session is cut."""

    reason: Line = "no reason given"


class ChosenQuery(Model):
    """Which persistence entries: those that fit all that is given."""

    server: Name | None = None
    key: Name | None = None
    """KIND:HEX, as it is listed."""
    client: Name | None = None
    """An address."""
    user: Name | None = None


class EntriesQuery(ChosenQuery):
    """Which persistence entries are listed."""

    limit: Rows = 1000


class BackendsQuery(Model):
    """Which backends."""

    service: Name | None = None
    server: Name | None = None


class EventsQuery(Model):
    """Which events."""

    since: Annotated[int, Field(ge=0)] = 0
    """Those with a greater number."""
    limit: Rows = 1000


class HistoryQuery(Model):
    """How much of the past."""

    service: Name | None = None
    seconds: Annotated[float, Field(gt=0, le=3600)] = 3600.0


class Wrong(Model):
    """One thing that is wrong: in the configuration (with its place), or with what was sent (``path``)."""

    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""
    message: str = ""


class ProblemAnswer(Model):
    """RFC 9457. ``type`` is one word, relative to this document: last-usable, refused, unknown …"""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[Wrong, ...] = ()
    services: tuple[str, ...] = ()
    """Of last-usable: the services that would have nobody left."""


class Me(Model):
    """Who the caller is. ``role`` None: nobody; log in with a token."""

    name: str
    role: Literal["read", "operate"] | None
    csrf: str | None = None
    """What a browser's session sends as X-CSRF-Token with each change."""


@dataclass(frozen=True, slots=True)
class OwnStatus(Status):
    """The status, and who asks for it: ``role`` read or operate; ``csrf`` as in Me."""

    role: str = "read"
    csrf: str | None = None


class Killed(Model):
    """How many sessions were cut."""

    killed: int


class Deleted(Model):
    """How many persistence entries are forgotten."""

    deleted: int


class Moved(Model):
    """How many persistence entries lead elsewhere now."""

    moved: int


class Validated(Model):
    """Whether a configuration could be used; ``errors`` has warnings too (``warning``)."""

    valid: bool
    errors: tuple[Wrong, ...] = ()
    warnings: tuple[Wrong, ...] = ()
