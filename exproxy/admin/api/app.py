"""Answers the requests of one door: the API, the dashboard's files, metrics and probes."""

# mypy: allow-untyped-calls
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from exproxy.admin.api import entrance
from exproxy.admin.api.access import Access, Asked, Caller, Door
from exproxy.admin.api.channel import AdminRequest
from exproxy.admin.api.later import later
from exproxy.admin.api.limits import Limits
from exproxy.admin.api.pages import Pages
from exproxy.admin.api.problem import Problem
from exproxy.admin.api.reading import asked, body_of, header, query_of
from exproxy.admin.api.reply import ALWAYS, Reply, refusal, text, written
from exproxy.admin.api.route import PREFIX, SAFE, Call, Route, Tagged, WithHeaders
from exproxy.admin.api.stream import Hub
from exproxy.admin.api.table import TABLE
from exproxy.admin.metrics import MEDIA_TYPE, exposition
from exproxy.admin.plane import IPlane, LastUsable, Refused, Unknown
from exproxy.admin.status import Status

# The page's own way in and out, beside those of the API.
_SHORT = {"/login": f"{PREFIX}/login", "/logout": f"{PREFIX}/logout"}


# Who changed what, and from where; a name of its own, to be found and kept by.
AUDIT = Logger(namespace="exproxy.admin.audit")


class App:
    """``ready()``: everything that has to be there before the first client is."""

    log = Logger()

    def __init__(
        self,
        plane: IPlane,
        door: Door,
        access: Access,
        reactor: Any,
        *,
        limits: Limits = Limits(),
        pages: Pages | None = None,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._plane, self._door, self._access = plane, door, access
        self._reactor, self._limits = reactor, limits
        self._pages = pages or Pages()
        self._ready = ready
        self.hub = Hub(plane, reactor, limits)
        self._in_flight = 0

    def answer(self, request: AdminRequest) -> None:
        """Answer it, now or later; never raises."""
        if self._in_flight >= self._limits.in_flight:
            detail = "too many requests are being answered; try again in a moment"
            headers = {"Retry-After": "1"}
            busy = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", detail, headers=headers)
            self._send(request, refusal(busy))
            return
        self._in_flight += 1
        done: Deferred[Reply | None] = Deferred.fromCoroutine(self._answer(request))
        done.addTimeout(self._limits.answer, self._reactor, _overdue)
        done.addErrback(_refused)
        done.addCallback(lambda reply: self._done(request, reply))
        done.addErrback(lambda failure: self.log.failure("an answer could not be written", failure))

    def _done(self, request: AdminRequest, reply: Reply | None) -> None:
        self._in_flight -= 1
        if reply is not None:
            self._send(request, reply)

    async def _answer(self, request: AdminRequest) -> Reply | None:
        try:
            return await self._reply(request)
        except CancelledError:
            raise
        except Problem as problem:
            return refusal(problem)
        except Exception:
            self.log.failure("the administration failed at {path}", path=_path(request))
            detail = "something went wrong here; the event log has the details"
            return refusal(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail))

    async def _reply(self, request: AdminRequest) -> Reply | None:
        path = _SHORT.get(_path(request), _path(request))
        about = asked(request, self._door)
        reads = about.method in SAFE
        if path == "/healthz" and reads:
            # Asked by machines, by any name; it tells nothing.
            return text("alive\n")
        if path == "/readyz" and reads:
            return await self._readiness()
        self._access.welcome(self._door, about)
        about = dataclasses.replace(
            about, cookie=entrance.cookie_in(header(request, "Cookie"), self._door.secure)
        )
        if path.startswith(f"{PREFIX}/"):
            return await self._api(request, about, path.removeprefix(PREFIX))
        if not reads:
            detail = f"{about.method} is not possible here, only GET"
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method", detail, headers={"Allow": "GET, HEAD"})
        if path == "/metrics":
            return await self._metrics(about)
        return self._pages.get(path, header(request, "If-None-Match"))

    # -- probes and metrics ----------------------------------------------------------

    async def _readiness(self) -> Reply:
        if not self._ready():
            return text("starting\n", HTTPStatus.SERVICE_UNAVAILABLE)
        status: Status = await later(self._plane.status())
        if status.process.draining:
            return text("draining\n", HTTPStatus.SERVICE_UNAVAILABLE)
        if not any(worker.state == "READY" for worker in status.process.workers):
            return text("no worker is ready\n", HTTPStatus.SERVICE_UNAVAILABLE)
        return text("ready\n")

    async def _metrics(self, about: Asked) -> Reply:
        if not (self._door.loopback or self._door.local):
            self._access.allow("read", self._access.caller(self._door, about))
        status = await later(self._plane.status())
        certificates = await later(self._plane.certificates())
        # Writing thousands of lines takes a while; the reactor has clients to serve meanwhile.
        pool = self._reactor.getThreadPool()
        body = await deferToThreadPool(self._reactor, pool, exposition, status, tuple(certificates))
        return Reply(body, MEDIA_TYPE)

    # -- the API ---------------------------------------------------------------------

    async def _api(self, request: AdminRequest, about: Asked, path: str) -> Reply | None:
        route, parts = TABLE.find(about.method, path)
        caller = Caller("nobody", None, about.where)
        try:
            if path != "/login":
                caller = self._access.caller(self._door, about)
            self._access.allow(route.needs, caller)
            call = self._call(request, route, parts, about, caller)
        except Problem as problem:
            if about.method not in SAFE:
                self._tell(request, route, caller, None, str(problem))
            raise
        if (
            route.stream
            and about.method == "GET"
            and "text/event-stream" in (header(request, "Accept") or "")
        ):
            return await self._stream(request, call)
        return await self._perform(request, route, call)

    def _call(
        self, request: AdminRequest, route: Route, parts: dict[str, str], about: Asked, caller: Caller
    ) -> Call:
        return Call(
            self._plane,
            self._access,
            caller,
            parts,
            query_of(route, _query(request)),
            body_of(route, request, self._limits),
            header(request, "If-Match"),
            about.cookie,
            about.peer,
            self._door.secure,
        )

    async def _perform(self, request: AdminRequest, route: Route, call: Call) -> Reply:
        try:
            value = await route.handler(call)
        except Exception as error:
            problem = _problem_of(error)
            if route.changes or route.path == "/login":
                outcome = str(problem) if problem is not None else "failed"
                self._tell(request, route, call.caller, call.body, outcome)
            if problem is None:
                raise
            raise problem from None
        headers: dict[str, str] = {}
        if isinstance(value, Tagged):
            headers, value = {"ETag": value.etag}, value.value
        elif isinstance(value, WithHeaders):
            headers, value = dict(value.headers), value.value
        if route.changes or route.path in ("/login", "/logout"):
            self._tell(request, route, call.caller, call.body, None, value)
        return written(route.answer, value, route.status, headers)

    async def _stream(self, request: AdminRequest, call: Call) -> Reply | None:
        if len(self.hub.readers) >= self._limits.streams:
            detail = f"{self._limits.streams} streams are open already; close a window, or ask for /status"
            headers = {"Retry-After": "10"}
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "streams", detail, headers=headers)
        last = header(request, "Last-Event-ID") or ""
        # A reader who was here before goes on where it was.
        since = int(last) if last.isdecimal() and len(last) < 16 else call.query.since or None
        self._head(request, Reply(media_type="text/event-stream"))
        await self.hub.add(request, since)
        return None

    def _tell(
        self,
        request: AdminRequest,
        route: Route,
        caller: Caller,
        body: Any,
        refused: str | None,
        value: Any = None,
    ) -> None:
        """Who did, or tried to do, what, from where: a line of the event log, without secrets."""
        who = value.name if route.path == "/login" and value is not None else caller.name
        shown = {}
        if isinstance(body, BaseModel) and route.path != "/login":
            shown = body.model_dump(mode="json", exclude_defaults=True)
        what = f"{route.method} {_path(request)}" + (f"?{_query(request)}" if _query(request) else "")
        told = {"who": who, "where": caller.where, "what": what[:1000], "body": shown or ""}
        if refused is None:
            AUDIT.info("{who} from {where}: {what} {body}", **told)
        else:
            AUDIT.warn("{who} from {where}: {what} {body}: refused, {why}", **told, why=refused)

    # -- writing ---------------------------------------------------------------------

    def _send(self, request: AdminRequest, reply: Reply) -> None:
        if request._disconnected or request.channel is None:
            return
        if reply.status != HTTPStatus.NOT_MODIFIED:
            request.setHeader("Content-Length", str(len(reply.body)))
        self._head(request, reply)
        request.write(reply.body)
        request.finish()

    def _head(self, request: AdminRequest, reply: Reply) -> None:
        request.setResponseCode(int(reply.status), reply.status.phrase.encode("ascii"))
        for name, value in {**ALWAYS, **reply.headers, "Content-Type": reply.media_type}.items():
            request.setHeader(name, value)


def _overdue(result: object, seconds: float) -> Reply | None:
    detail = f"there was no answer within {seconds:g} s; what was asked for may still be done"
    raise Problem(HTTPStatus.GATEWAY_TIMEOUT, "overdue", detail)


def _refused(failure: Failure) -> Reply | None:
    failure.trap(Problem)
    assert isinstance(failure.value, Problem)
    return refusal(failure.value)


def _path(request: AdminRequest) -> str:
    """As it was sent: percent-encoded, and never more than ASCII."""
    return request.path.decode("ascii", "replace").encode("ascii", "replace").decode()


def _query(request: AdminRequest) -> str:
    return request.uri.partition(b"?")[2].decode("ascii", "replace").encode("ascii", "replace").decode()


def _problem_of(error: Exception) -> Problem | None:
    """What the plane refuses, as the API says it; None for what nobody expected."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, LastUsable):
        return Problem(HTTPStatus.CONFLICT, "last-usable", str(error), services=error.services)
    if isinstance(error, Unknown):
        return Problem(HTTPStatus.NOT_FOUND, "unknown", str(error))
    if isinstance(error, Refused):
        return Problem(HTTPStatus.CONFLICT, "refused", str(error))
    return None
