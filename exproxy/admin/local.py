"""The plane of one process: everything that can be asked of its traffic, or done to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from exproxy.admin.events import Events
from exproxy.admin.explain import Explainer
from exproxy.admin.explanation import Explanation, Question
from exproxy.admin.history import SPAN, STEP
from exproxy.admin.listing import MOST, Entries, Sessions, bounded, certificates
from exproxy.admin.masking import masked
from exproxy.admin.moments import Day
from exproxy.admin.operating import Operating, places_in
from exproxy.admin.plane import IPlane, Refused, Unknown
from exproxy.admin.rows import (
    CertificateRow,
    Change,
    EntryRow,
    Event,
    History,
    Operated,
    Problem,
    Progress,
    Reloaded,
    ServiceHistory,
    SessionRow,
    Weighted,
)
from exproxy.admin.snapshot import Snapshot, line
from exproxy.admin.status import Status
from exproxy.admin.wishes import WishFile
from exproxy.config import Invalid, load

if TYPE_CHECKING:
    from exproxy.service import ExproxyService

# Characters of a reason that an operator gives.
REASON = 200


@implementer(IPlane)
class LocalPlane:
    """See IPlane. ``kept``: whether operator states are read from, and kept in, the state folder."""

    log = Logger()

    def __init__(self, service: ExproxyService, *, kept: bool = True, day: Day | None = None) -> None:
        self._service = service
        self._day = day or Day(service.reactor)
        file = WishFile(service.config.state_dir / "operator.json") if kept else None
        self.operating = Operating(service.reactor, lambda: places_in(service.built), file, self._day)
        self._snapshot = Snapshot(service, self.operating, self._day)
        self._sessions = Sessions(lambda: service.built, self._day)
        explainer = Explainer(lambda: service.built, self._sessions.find, service.reactor)
        self._explainer = explainer
        self._entries = Entries(lambda: service.built, lambda: service.builder.store, explainer)
        self._events = Events()
        self._started = False

    def start(self) -> None:
        """Do what the operator wished, hear the log, and begin to remember: before the first client comes.
        Idempotent."""
        if self._started:
            return
        self._started = True
        self._events.start()
        self.operating.start()
        self._snapshot.recorder.start()

    def stop(self) -> None:
        """Nothing of it is left running; idempotent."""
        self._started = False
        self._snapshot.recorder.stop()
        self.operating.stop()
        self._events.stop()

    def status(self) -> Status:
        """See IPlane."""
        return self._snapshot.status()

    # -- sessions --------------------------------------------------------------------

    def sessions(
        self,
        *,
        service: str | None = None,
        server: str | None = None,
        client: str | None = None,
        limit: int = 1000,
    ) -> list[SessionRow]:
        """See IPlane."""
        return self._sessions.rows(service, server, client, limit)

    def kill(self, session_id: str, reason: str, *, who: str = "") -> bool:
        """See IPlane."""
        session = self._sessions.find(session_id)
        if session is None:
            return False
        self.log.warn(
            "session {id} is cut{who}: {reason}", id=session_id, who=_says(who), reason=reason[:REASON]
        )
        session.cut(f"cut by the operator: {reason[:REASON]}")
        return True

    def kill_where(
        self,
        *,
        service: str | None = None,
        server: str | None = None,
        client: str | None = None,
        reason: str,
        who: str = "",
    ) -> int:
        """See IPlane."""
        found = self._sessions.chosen(service, server, client)
        self.log.warn(
            "{count} sessions are cut{who}: {reason}",
            count=len(found),
            who=_says(who),
            reason=reason[:REASON],
        )
        for session in found:
            session.cut(f"cut by the operator: {reason[:REASON]}")
        return len(found)

    # -- the operator's wish ---------------------------------------------------------

    def operate(
        self,
        server: str,
        state: str,
        *,
        service: str | None = None,
        reason: str = "",
        who: str = "",
        until: float | None = None,
        force: bool = False,
        timeout: float | None = None,
        drain: str | None = None,
    ) -> Operated:
        """See IPlane."""
        return self.operating.operate(
            server,
            state,
            service=service,
            reason=reason,
            who=who,
            until=until,
            force=force,
            timeout=timeout,
            drain=drain,
        )

    def weight(self, server: str, value: int, *, service: str | None = None, who: str = "") -> Weighted:
        """See IPlane."""
        return self.operating.weight(server, value, service=service, who=who)

    def emptying(
        self, server: str, told: Callable[[Progress], None], *, service: str | None = None
    ) -> Deferred[Progress]:
        """See IPlane."""
        return self.operating.emptying(server, told, service=service)

    # -- persistence -----------------------------------------------------------------

    def entries(
        self,
        group: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        limit: int = 1000,
    ) -> list[EntryRow]:
        """See IPlane."""
        return self._entries.rows(group, server, key, client, user, limit)

    def delete_entries(
        self,
        group: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        who: str = "",
    ) -> int | Deferred[int]:
        """See IPlane."""
        count = self._entries.delete(group, server, key, client, user)
        self.log.warn(
            "{count} persistence entries of {group} are deleted{who}",
            count=count,
            group=group,
            who=_says(who),
        )
        return count

    def move_entries(
        self,
        group: str,
        to: str,
        *,
        server: str | None = None,
        key: str | None = None,
        client: str | None = None,
        user: str | None = None,
        who: str = "",
    ) -> int:
        """See IPlane."""
        count = self._entries.move(group, to, server, key, client, user)
        self.log.warn(
            "{count} persistence entries of {group} are moved to {to}{who}",
            count=count,
            group=group,
            to=to,
            who=_says(who),
        )
        return count

    def explain(self, question: Question) -> Explanation | Deferred[Explanation]:
        """See IPlane."""
        return self._explainer.explain(question)

    # -- configuration ---------------------------------------------------------------

    def reload(self, *, dry_run: bool = False, who: str = "") -> Reloaded:
        """See IPlane."""
        raise Refused("this process cannot reload its configuration: restart it")

    def validate(self, text: str) -> list[Problem]:
        """See IPlane."""
        path = self._service.config.path
        try:
            problems = load(path, text=text).warnings
        except Invalid as invalid:
            problems = invalid.problems
        return [
            Problem(str(path), each.line, each.column, each.where, each.message, each.severity == "warning")
            for each in problems
        ]

    def configuration(self) -> Mapping[str, Any]:
        """See IPlane."""
        try:
            return masked(self._service.config)
        except (Invalid, OSError) as error:
            raise Refused(f"the file cannot be read any more: {error}") from None

    def certificates(self) -> list[CertificateRow]:
        """See IPlane."""
        return certificates(self._service.built)

    # -- the past --------------------------------------------------------------------

    def events(self, *, since: int = 0, limit: int = 1000) -> list[Event]:
        """See IPlane."""
        return self._events.since(since, bounded(limit))

    def watch_events(self, told: Callable[[Event], None]) -> Callable[[], None]:
        """See IPlane."""
        try:
            return self._events.watch(told)
        except ValueError as error:
            raise Refused(str(error)) from None

    def history(self, *, service: str | None = None, seconds: float = SPAN) -> History:
        """See IPlane."""
        built = [one for one in self._service.built if service in (None, one.service.name)]
        if service is not None and not built:
            raise Unknown(f"there is no service {service!r}")
        recorder = self._snapshot.recorder
        services, changes = [], []
        for one in built:
            name = one.service.name
            whole = recorder.series(name, seconds)
            if whole is None:
                continue
            servers = dict.fromkeys(each.server for pool, _ in one.pools for each in pool.backends)
            lines = {each: recorder.series(line(name, each), seconds) for each in servers}
            services.append(
                ServiceHistory(name, whole, {each: found for each, found in lines.items() if found})
            )
            for pool, _ in one.pools:
                for backend in pool.backends:
                    changes += [(each, backend.name) for each in backend.past.changes]
        changes.sort(key=lambda each: each[0].at)
        oldest = self._service.reactor.seconds() - seconds
        timeline = tuple(
            Change(self._day.text(each.at), name, each.state, each.reason)
            for each, name in changes
            if each.at >= oldest
        )
        return History(STEP, recorder.times(seconds), tuple(services), timeline[-MOST:])


def _says(who: str) -> str:
    return f", says {who}" if who else ""
