"""Where a client goes and why: a live one, one of the access log, or one that nobody has seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from exproxy.admin.explanation import BackendView, Explanation, KnownAs, Question
from exproxy.admin.plane import Refused, Unknown
from exproxy.admin.showing import facts_shown, known_as
from exproxy.backend import Backend
from exproxy.build import Built
from exproxy.config import Listen, Reaching
from exproxy.errors import NoBackend
from exproxy.model import TLS, Destination, Facts, Persistence, Source
from exproxy.pool import Pool
from exproxy.question import Asked, Client, IAsking
from exproxy.rehearsing import Rehearsed, rehearse

if TYPE_CHECKING:
    from exproxy.virtual import Present

# The port of a client that nobody has seen.
SOMEWHERE = 40000
# A record's fields of HTTP, and those of other protocols, as a Client has them.
_FIELDS = ("method", "host", "path", "user", "server_name")


class Explainer:
    """Explains for one process. ``find(session id)`` gives a live session or None."""

    def __init__(
        self,
        built: Callable[[], Sequence[Built]],
        find: Callable[[str], Present | None],
        clock: Any,
    ) -> None:
        self._built = built
        self._find = find
        self._clock = clock

    def explain(self, question: Question) -> Explanation | Deferred[Explanation]:
        """See IPlane."""
        if question.session:
            return self._live(question.session)
        if question.record is not None:
            return self._logged(question.record)
        one = self._service(question.service)
        return self._of(one, question.client, ())

    def asked(self, one: Built, client: Client) -> Asked:
        """What the service's protocol makes of that client. Raises Refused for one that there cannot be."""
        plugin = one.config.protocol.plugin
        facts = self._began(one, client)
        if not IAsking.providedBy(plugin):
            return Asked(facts)
        try:
            asked: Asked = plugin.asked(one.service, facts, client)
        except ValueError as error:
            raise Refused(f"there can be no such client: {error}") from None
        return asked

    # -- the three kinds -------------------------------------------------------------

    def _live(self, session_id: str) -> Explanation | Deferred[Explanation]:
        session = self._find(session_id)
        if session is None:
            raise Unknown(f"there is no session {session_id}")
        one = self._service(session.service.name)
        pick = session.asked
        if pick is None:
            raise Refused(f"session {session_id} has not come to choosing a server yet")
        servers = ", ".join(dict.fromkeys(backend.server for backend in session.backends))
        note = f"it is with {servers} now" if servers else "it has no server now"
        pinned = session.pinned
        more = (f"it stays with {pinned} while that connection lasts",) if pinned is not None else ()
        return self._chosen(one, pick.pool, Asked(pick.facts, pick.target), (note, *more))

    def _logged(self, record: Mapping[str, object]) -> Explanation | Deferred[Explanation]:
        one = self._service(str(record.get("service", "")))
        host = str(record.get("client", "")).rpartition(":")[0]
        if not host:
            raise Refused("the record has no `client`; give a whole line of the access log")
        said = {name: str(record[name]) for name in _FIELDS if record.get(name) is not None}
        client = Client(
            source=host,
            method=said.get("method", "GET"),
            host=said.get("host", ""),
            path=said.get("path", "/"),
            user=said.get("user", ""),
            server_name=said.get("server_name", ""),
        )
        notes = [
            f"the log says that it was with {record.get('server') or 'nobody'}"
            f" ({record.get('persistence', 'no choice was made')}); here is where it would go now"
        ]
        if "path" in said:
            notes.append("the log keeps no header but Host: cookies, User-Agent and credentials are unknown")
        answer = self._of(one, client, tuple(notes))
        kept = dict(record)
        if isinstance(answer, Deferred):
            return answer.addCallback(lambda found: _with(found, kept))
        return _with(answer, kept)

    def _of(self, one: Built, client: Client, notes: tuple[str, ...]) -> Explanation | Deferred[Explanation]:
        asked = self.asked(one, client)
        if asked.answer is not None:
            return Explanation(
                one.service.name,
                asked.target,
                None,
                None,
                facts_shown(asked.facts),
                (),
                (),
                (),
                None,
                None,
                "no server is asked",
                asked.answer,
                notes,
            )
        try:
            pool = one.service.pool(asked.target, asked.facts[Destination].listening)
        except KeyError:
            raise Refused(
                f"{one.service.name} has no servers behind port {asked.facts[Destination].listening}"
            ) from None
        return self._chosen(one, pool, asked, notes)

    # -- who -------------------------------------------------------------------------

    def _service(self, name: str) -> Built:
        built = self._built()
        found = next((one for one in built if one.service.name == name), None)
        if found is None:
            known = ", ".join(one.service.name for one in built)
            raise Unknown(f"there is no service {name!r}; there are {known}")
        return found

    def _began(self, one: Built, client: Client) -> Facts:
        """What is known when such a connection begins."""
        listens = {port: listen for listen, port in _ports(one)}
        port = client.port or next(iter(listens), 0)
        if port not in listens:
            raise Refused(f"{one.service.name} does not listen on port {port}")
        listen = listens[port]
        here = Destination(listen.host or "0.0.0.0", port)  # noqa: S104  # nothing is bound to it
        facts = Facts(Source(client.source or "0.0.0.0", SOMEWHERE), here)  # noqa: S104
        if listen.tls == "implicit":
            name = client.server_name or client.host.rpartition(":")[0] or client.host or None
            return facts.plus(TLS("TLSv1.3", server_name=name))
        return facts

    def _chosen(
        self, one: Built, pool: Pool, asked: Asked, notes: tuple[str, ...]
    ) -> Explanation | Deferred[Explanation]:
        found = rehearse(pool, asked.facts)
        if isinstance(found, Deferred):
            return found.addCallback(lambda late: self._made(one, pool, asked, late, notes))
        return self._made(one, pool, asked, found, notes)

    def _made(
        self, one: Built, pool: Pool, asked: Asked, found: Rehearsed, notes: tuple[str, ...]
    ) -> Explanation:
        owner, facts = one.owners[pool], asked.facts
        known = known_as(pool, facts, found)
        order = _order(pool, facts)
        decided = next((each for each in known if each.decides), None)
        reason = self._reason(owner, pool, found, decided, order)
        if owner.scheduling.name == "random" and decided is None:
            notes = (*notes, "the scheduling is random: the next client may go elsewhere")
        return Explanation(
            service=one.service.name,
            route=owner.name.partition("/")[2] or None,
            target=pool.name,
            table=pool.table,
            facts=facts_shown(facts),
            known=known,
            claims=tuple(f"{key.kind}:{key.digest.hex()}" for key in pool.keys_of(facts)),
            backends=tuple(self._view(pool, each, found, decided, order) for each in pool.backends),
            server=found.server,
            persistence=found.persistence.value if found.persistence is not None else None,
            reason=reason,
            notes=notes,
        )

    def _reason(
        self, owner: Reaching, pool: Pool, found: Rehearsed, decided: KnownAs | None, order: Sequence[str]
    ) -> str:
        if found.server is None:
            waits = f"; it waits up to {pool.when_full.seconds:g} s for a free place"
            return found.reason + (waits if found.full and pool.when_full.policy == "wait" else "")
        if found.persistence is Persistence.HIT:
            return f"it is known there{f' by its {decided.kind}' if decided is not None else ''}"
        how = f"{owner.scheduling.name} has it first"
        if order and order[0] != found.server:
            how = "it stays bound, and lodges with another one: none is usable in all services of the group"
        if found.persistence is Persistence.MOVED:
            return f"the server that it is bound to cannot have it; {how}"
        return f"it is not known; {how}"

    def _view(
        self,
        pool: Pool,
        backend: Backend,
        found: Rehearsed,
        decided: KnownAs | None,
        order: Sequence[str],
    ) -> BackendView:
        place = order.index(backend.server) + 1 if backend.server in order else None
        taken = backend.server == found.server
        return BackendView(
            backend.name,
            backend.server,
            backend.state,
            backend.weight,
            round(backend.part(self._clock.seconds(), pool.slow_ramp), 4),
            backend.links,
            backend.load,
            backend.limit,
            backend.backup,
            place,
            taken,
            _why(pool, backend, found, decided, place),
        )


def _ports(one: Built) -> list[tuple[Listen, int]]:
    """Where it listens, with the real ports; those of the file before it does."""
    ports = {id(behind): port for port, behind in one.service.ports.items()}
    return [(listen, ports.get(id(behind), listen.port)) for listen, behind in one.by_listen.items()]


def _order(pool: Pool, facts: Facts) -> list[str]:
    try:
        return [each.server for each in pool.preferred(facts)]
    except NoBackend:
        return []


def _why(pool: Pool, backend: Backend, found: Rehearsed, decided: KnownAs | None, place: int | None) -> str:
    if backend.server == found.server:
        if found.persistence is Persistence.HIT:
            return f"taken: the client is known here{f' by its {decided.kind}' if decided else ''}"
        return f"taken: the scheduling has it in place {place}" if place else "taken: by the client's own key"
    if not backend.usable_for_known():
        return f"not usable: {backend.state}"
    if not backend.usable_for_new():
        why = "its weight is 0" if not backend.weight and backend.operator == "ready" else backend.state
        return f"for known clients only: {why}"
    if backend.full():
        return f"full: {backend.links} of {backend.limit}"
    if place is not None:
        if found.persistence is Persistence.HIT:
            return f"usable, but the client is known elsewhere (place {place} for a new one)"
        return f"usable, place {place}"
    if pool.group is not None and not pool.group.good_for_new(backend.server):
        return f"not usable in all services of group {pool.group.name}"
    return "a backup, not needed" if backend.backup else "not usable"


def _with(explanation: Explanation, record: Mapping[str, object]) -> Explanation:
    return replace(explanation, record=record)
