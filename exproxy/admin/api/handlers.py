"""What each route does: asks the plane, and gives a value of the route's answer type."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

from exproxy.admin import rows
from exproxy.admin.api import models
from exproxy.admin.api.later import later
from exproxy.admin.api.problem import Problem
from exproxy.admin.api.route import Call, Tagged
from exproxy.admin.status import Backend, Server, Service, Status

T = TypeVar("T", Service, Server)


def _unknown(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    there = ", ".join(known) or "none"
    raise Problem(HTTPStatus.NOT_FOUND, "unknown", f"there is no {kind} {name!r}; there are {there}")


def _named(kind: str, name: str, among: tuple[T, ...]) -> T:
    for each in among:
        if each.name == name:
            return each
    _unknown(kind, name, [each.name for each in among])


def backends_of(status: Status, service: str | None = None, server: str | None = None) -> list[Backend]:
    """The backends of all targets that fit, in the file's order."""
    return [
        backend
        for one in status.services
        if service is None or one.name == service
        for target in one.targets
        for backend in target.backends
        if server is None or backend.server == server
    ]


def etag(backends: Iterable[Backend]) -> str:
    """What an operator's change is based on: the wishes and weights of those backends."""
    known = [(each.name, each.weight, each.operator) for each in backends]
    return f'"{hashlib.blake2b(repr(known).encode(), digest_size=12).hexdigest()}"'


async def _status(call: Call) -> Status:
    status: Status = await later(call.plane.status())
    return status


# -- reading -----------------------------------------------------------------------------


async def status(call: Call) -> models.OwnStatus:
    """Everything at this moment, and who asks."""
    found = await _status(call)
    values = {each.name: getattr(found, each.name) for each in dataclasses.fields(found)}
    return models.OwnStatus(**values, role=call.caller.role or "read", csrf=call.caller.csrf)


async def services(call: Call) -> tuple[Service, ...]:
    """All virtual services."""
    return (await _status(call)).services


async def service(call: Call) -> Service:
    """One of them."""
    return _named("service", call.path["service"], (await _status(call)).services)


async def servers(call: Call) -> tuple[Server, ...]:
    """All real servers."""
    return (await _status(call)).servers


async def server(call: Call) -> Tagged:
    """One of them."""
    found = await _status(call)
    one = _named("server", call.path["server"], found.servers)
    return Tagged(one, etag(backends_of(found, server=one.name)))


async def backends(call: Call) -> list[Backend]:
    """All backends that fit."""
    return backends_of(await _status(call), call.query.service, call.query.server)


async def server_of_service(call: Call) -> Tagged:
    """The backends that one server has in one service: one for each of its ports and routes."""
    found = await _backends(call)
    return Tagged(found, etag(found))


async def _backends(call: Call) -> list[Backend]:
    found = await _status(call)
    one = _named("service", call.path["service"], found.services)
    fitting = backends_of(found, one.name, call.path["server"])
    if not fitting:
        known = dict.fromkeys(each.server for each in backends_of(found, one.name))
        _unknown(f"server of {one.name}", call.path["server"], known)
    return fitting


async def sessions(call: Call) -> list[rows.SessionRow]:
    """Client connections."""
    chosen = call.query
    found: list[rows.SessionRow] = await later(
        call.plane.sessions(
            service=chosen.service,
            server=chosen.server,
            client=chosen.client,
            limit=chosen.limit,
        )
    )
    return found


async def entries(call: Call) -> list[rows.EntryRow]:
    """Persistence entries."""
    words = {**_chosen(call), "limit": call.query.limit}
    found: list[rows.EntryRow] = await later(call.plane.entries(call.path["group"], **words))
    return found


def _chosen(call: Call) -> dict[str, Any]:
    return {key: getattr(call.query, key) for key in ("server", "key", "client", "user")}


async def certificates(call: Call) -> list[rows.CertificateRow]:
    """Certificates that services show."""
    found: list[rows.CertificateRow] = await later(call.plane.certificates())
    return found


async def configuration(call: Call) -> dict[str, Any]:
    """The configuration, masked."""
    found: Mapping[str, Any] = await later(call.plane.configuration())
    return dict(found)


async def events(call: Call) -> list[rows.Event]:
    """Events of the log."""
    words = {"since": call.query.since, "limit": call.query.limit}
    found: list[rows.Event] = await later(call.plane.events(**words))
    return found


async def history(call: Call) -> rows.History:
    """The past."""
    words = {"service": call.query.service, "seconds": call.query.seconds}
    found: rows.History = await later(call.plane.history(**words))
    return found


async def explain(call: Call) -> Any:
    """Why a client goes where it goes."""
    return await later(call.plane.explain(call.body.question))


async def validate(call: Call) -> models.Validated:
    """What is wrong with a configuration."""
    found: list[rows.Problem] = await later(call.plane.validate(call.body))
    errors = tuple(wrong(each) for each in found if not each.warning)
    return models.Validated(
        valid=not errors, errors=errors, warnings=tuple(wrong(each) for each in found if each.warning)
    )


def wrong(problem: rows.Problem) -> models.Wrong:
    """An error of a configuration as the API shows it."""
    return models.Wrong(
        file=problem.file,
        line=problem.line,
        column=problem.column,
        path=problem.path,
        message=problem.message,
    )


# -- changing ----------------------------------------------------------------------------


async def operate(call: Call) -> rows.Operated:
    """What the operator wants of a server, everywhere or in one service."""
    body: models.StateRequest = call.body
    service = await _base(call, body.service)
    done: rows.Operated = await later(
        call.plane.operate(
            call.path["server"],
            body.state,
            service=service,
            reason=body.reason,
            who=call.caller.name,
            until=body.until_seconds,
            force=body.force,
            timeout=body.timeout,
            drain=body.drain,
        )
    )
    return done


async def weight(call: Call) -> rows.Weighted:
    """Another weight, everywhere or in one service."""
    body: models.WeightRequest = call.body
    service = await _base(call, body.service)
    done: rows.Weighted = await later(
        call.plane.weight(call.path["server"], body.weight, service=service, who=call.caller.name)
    )
    return done


async def _base(call: Call, written: str | None) -> str | None:
    """The service that a change is for; the caller's If-Match is held to the present state."""
    service = call.path.get("service", written)
    if "service" in call.path and written not in (None, service):
        detail = f"the path is of {service}, the body of {written}: leave the second out"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail)
    if call.if_match is not None:
        call.hold(etag(backends_of(await _status(call), service, call.path["server"])))
    return service


async def kill(call: Call) -> models.Killed:
    """Cut one session."""
    words = {"reason": call.query.reason, "who": call.caller.name}
    if not await later(call.plane.kill(call.path["session"], **words)):
        name = call.path["session"]
        raise Problem(
            HTTPStatus.NOT_FOUND, "unknown", f"there is no session {name!r}; it may be over already"
        )
    return models.Killed(killed=1)


async def kill_where(call: Call) -> models.Killed:
    """Cut all sessions that fit."""
    chosen = call.query
    count: int = await later(
        call.plane.kill_where(
            service=chosen.service,
            server=chosen.server,
            client=chosen.client,
            reason=chosen.reason,
            who=call.caller.name,
        )
    )
    return models.Killed(killed=count)


async def delete_entries(call: Call) -> models.Deleted:
    """Forget persistence entries."""
    words = {**_chosen(call), "who": call.caller.name}
    count: int = await later(call.plane.delete_entries(call.path["group"], **words))
    return models.Deleted(deleted=count)


async def move_entries(call: Call) -> models.Moved:
    """Bind persistence entries to another server."""
    words = {"key": call.path["key"]} if "key" in call.path else _chosen(call)
    count: int = await later(
        call.plane.move_entries(call.path["group"], call.body.server, **words, who=call.caller.name)
    )
    return models.Moved(moved=count)


async def reload(call: Call) -> rows.Reloaded:
    """Read the configuration again. A refused one is a Problem with every error in its place."""
    words = {"dry_run": call.body.dry_run, "who": call.caller.name}
    done: rows.Reloaded = await later(call.plane.reload(**words))
    if not done.ok:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "configuration",
            "the configuration cannot be used, and nothing was changed: mend what is told in `errors`",
            errors=tuple(wrong(each) for each in done.errors),
        )
    return done
