"""One status out of those of several workers: pure. Counters add up; the worst state counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from exproxy.admin.history import percentiles
from exproxy.admin.states import worst
from exproxy.admin.status import (
    Backend,
    Check,
    Down,
    Errors,
    Group,
    Histogram,
    Latency,
    Links,
    Process,
    Requests,
    Server,
    Service,
    Sessions,
    Source,
    Status,
    Target,
    TlsCounts,
)

T = TypeVar("T")

# From the best state of a service to the worst.
_SERVICE = ("OPEN", "FULL", "DRAIN", "STOP")
# Sources of a table that are shown, as each worker shows them.
_SOURCES = 10


def merge(parts: Sequence[Status]) -> Status:
    """The status of all workers, of at least one; the first one's says what cannot differ.

    ``max`` and ``rate_max`` add up too: more than there ever were at one time, and never less. Workers that
    have served nothing of a name (a reload is under way) add nothing to it.
    """
    if not parts:
        raise ValueError("there is no status to be merged")
    return Status(
        max(each.time for each in parts),
        _process([each.process for each in parts]),
        _named([each.services for each in parts], lambda each: each.name, _service),
        _named([each.servers for each in parts], lambda each: each.name, _server),
        _named([each.groups for each in parts], lambda each: each.name, _group),
        tuple(dict.fromkeys(notice for each in parts for notice in each.warnings)),
    )


def _named(
    parts: Iterable[Sequence[T]], name: Callable[[T], str], put_together: Callable[[list[T]], T]
) -> tuple[T, ...]:
    """Those of one name together, in the order in which they are met."""
    found: dict[str, list[T]] = {}
    for part in parts:
        for each in part:
            found.setdefault(name(each), []).append(each)
    return tuple(put_together(each) for each in found.values())


def _process(parts: list[Process]) -> Process:
    workers = sorted((each for part in parts for each in part.workers), key=lambda each: each.number)
    return replace(
        parts[0],
        started=min(each.started for each in parts),
        uptime=max(each.uptime for each in parts),
        draining=all(each.draining for each in parts),
        workers=tuple(workers),
    )


def _service(parts: list[Service]) -> Service:
    return replace(
        parts[0],
        # Where one still takes clients the service does.
        state=min((each.state for each in parts), key=_SERVICE.index),
        listen=tuple(dict.fromkeys(listen for each in parts for listen in each.listen)),
        sessions=_sessions([each.sessions for each in parts]),
        bytes_in=sum(each.bytes_in for each in parts),
        bytes_out=sum(each.bytes_out for each in parts),
        refused=sum(each.refused for each in parts),
        errors=_errors([each.errors for each in parts]),
        retries=sum(each.retries for each in parts),
        redispatches=sum(each.redispatches for each in parts),
        requests=_requests([each.requests for each in parts]),
        answers=_sums([each.answers for each in parts]),
        latency=_latency([each.latency for each in parts]),
        persistence_results=_sums([each.persistence_results for each in parts]),
        tls=TlsCounts(sum(each.tls.handshakes for each in parts), sum(each.tls.resumed for each in parts)),
        counts=_sums([each.counts for each in parts]),
        waiting=sum(each.waiting for each in parts),
        targets=_named([each.targets for each in parts], lambda each: each.name, _target),
    )


def _target(parts: list[Target]) -> Target:
    return replace(
        parts[0],
        waiting=sum(each.waiting for each in parts),
        split=sum(each.split for each in parts),
        ambiguous=sum(each.ambiguous for each in parts),
        disagreed=sum(each.disagreed for each in parts),
        backends=_named([each.backends for each in parts], lambda each: each.name, _backend),
    )


def _backend(parts: list[Backend]) -> Backend:
    state = worst(each.state for each in parts)
    seen = next(each for each in parts if each.state == state)
    return replace(
        seen,
        usable=all(each.usable for each in parts),
        operator=next((each.operator for each in parts if each.operator is not None), None),
        ramp=min(each.ramp for each in parts),
        sessions=Links(
            sum(each.sessions.current for each in parts),
            sum(each.sessions.max for each in parts),
            sum(each.sessions.total for each in parts),
        ),
        load=sum(each.load for each in parts),
        queue=sum(each.queue for each in parts),
        bytes_in=sum(each.bytes_in for each in parts),
        bytes_out=sum(each.bytes_out for each in parts),
        errors=_errors([each.errors for each in parts]),
        retries=sum(each.retries for each in parts),
        redispatches=sum(each.redispatches for each in parts),
        requests=_requests([each.requests for each in parts]),
        answers=_sums([each.answers for each in parts]),
        latency=_latency([each.latency for each in parts]),
        check=_check([each.check for each in parts]),
        # All of them ask, or are told of, the same server: it was not DOWN once for each.
        down=_down([each.down for each in parts]),
    )


def _server(parts: list[Server]) -> Server:
    return replace(
        parts[0],
        operator=next((each.operator for each in parts if each.operator is not None), None),
        state=worst(each.state for each in parts),
        sessions=sum(each.sessions for each in parts),
        backends=tuple(dict.fromkeys(name for each in parts for name in each.backends)),
    )


def _group(parts: list[Group]) -> Group:
    """Workers share their entries: most of them are in each worker's table, and none counts twice."""
    fullest = max(parts, key=lambda each: each.entries)
    sources: Counter[str] = Counter()
    for part in parts:
        for each in part.top_sources:
            sources[each.host] += each.sessions
    return replace(
        fullest,
        services=tuple(dict.fromkeys(name for each in parts for name in each.services)),
        held=max(each.held for each in parts),
        top_sources=tuple(Source(host, count) for host, count in sources.most_common(_SOURCES)),
    )


def _sessions(parts: list[Sessions]) -> Sessions:
    return Sessions(
        sum(each.current for each in parts),
        sum(each.max for each in parts),
        sum(each.limit for each in parts),
        sum(each.total for each in parts),
        round(sum(each.rate for each in parts), 2),
        round(sum(each.rate_max for each in parts), 2),
    )


def _errors(parts: list[Errors]) -> Errors:
    return Errors(
        sum(each.request for each in parts),
        sum(each.connect for each in parts),
        sum(each.response for each in parts),
    )


def _requests(parts: list[Requests]) -> Requests:
    return Requests(sum(each.total for each in parts), round(sum(each.rate for each in parts), 2))


def _latency(parts: list[Latency]) -> Latency:
    """Percentiles do not add up; what they are made of does."""
    minute = tuple(map(sum, zip(*(each.minute for each in parts), strict=True)))
    counts = tuple(map(sum, zip(*(each.total.counts for each in parts), strict=True)))
    took = round(sum(each.total.sum_ms for each in parts), 1)
    p50, p95, p99 = percentiles(minute)
    return Latency(p50, p95, p99, minute, Histogram(counts, took))


def _check(parts: list[Check]) -> Check:
    return max(parts, key=lambda each: each.last or "")


def _down(parts: list[Down]) -> Down:
    return max(parts, key=lambda each: (each.since is not None, each.seconds))


def _sums(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part)
    return dict(counts)
