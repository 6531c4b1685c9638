"""The status as Prometheus reads it, with names like HAProxy's own exporter.

Nothing is counted here: the services count plain ints, and this makes metrics of a Status when it is asked
for them. A proxy is a virtual service; a server is a backend, ``server`` its name below the service
(``ex1``, or ``owa/ex1`` behind a route, ``:59532/ex1`` on a port of several).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from exproxy.admin.rows import CertificateRow
from exproxy.admin.status import BOUNDS, Backend, Histogram, Service, Status

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SERVICE_STATES = ("OPEN", "FULL", "DRAIN", "STOP")
SERVER_STATES = ("UP", "DOWN", "DRAIN", "MAINT", "NOLB")
CHECK_CODES = (
    "L4OK", "L4CON", "L4TOUT", "L6OK", "L6RSP", "L6TOUT", "L7OK", "L7STS", "L7RSP", "L7TOUT",
)  # fmt: skip

Sample: TypeAlias = "tuple[tuple[str, ...], float]"
ServiceSamples: TypeAlias = "Callable[[Service], Iterable[Sample]]"
ServerSamples: TypeAlias = "Callable[[Backend], Iterable[Sample]]"


def exposition(status: Status, certificates: Sequence[CertificateRow] = ()) -> bytes:
    """The text that /metrics answers (Prometheus' text format 0.0.4)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(status, certificates))
    # CPU, memory and descriptors of the process that answers, under their usual names.
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _one(value: float) -> list[Sample]:
    return [((), float(value))]


def _states(words: Sequence[str], state: str) -> list[Sample]:
    return [((word,), float(word == state)) for word in words]


# name, what it is, further labels, samples: one line a metric.
SERVICES: tuple[tuple[str, str, tuple[str, ...], ServiceSamples], ...] = (
    ("status", "State of the service: 1 for the one it has.", ("state",),
     lambda s: _states(SERVICE_STATES, s.state)),
    ("current_sessions", "Client connections now.", (), lambda s: _one(s.sessions.current)),
    ("max_sessions", "Most client connections at one time.", (), lambda s: _one(s.sessions.max)),
    ("limit_sessions", "Client connections allowed.", (), lambda s: _one(s.sessions.limit)),
    ("current_session_rate", "New client connections a second, over the last ten seconds.", (),
     lambda s: _one(s.sessions.rate)),
    ("current_queue", "Clients that wait for a server.", (), lambda s: _one(s.waiting)),
    ("sessions_total", "Client connections.", (), lambda s: _one(s.sessions.total)),
    ("bytes_in_total", "Bytes from clients.", (), lambda s: _one(s.bytes_in)),
    ("bytes_out_total", "Bytes to clients.", (), lambda s: _one(s.bytes_out)),
    ("requests_refused_total", "Client connections that were not let in.", (), lambda s: _one(s.refused)),
    ("request_errors_total", "Clients refused for what they said.", (), lambda s: _one(s.errors.request)),
    ("connection_errors_total", "Connections to servers that failed.", (), lambda s: _one(s.errors.connect)),
    ("response_errors_total", "Answers of servers that were none.", (), lambda s: _one(s.errors.response)),
    ("retry_warnings_total", "Attempts that were made again.", (), lambda s: _one(s.retries)),
    ("redispatch_warnings_total", "Attempts that went to another server.", (),
     lambda s: _one(s.redispatches)),
    ("requests_total", "HTTP requests; of other protocols, connections that ended.", (),
     lambda s: _one(s.requests.total)),
    ("http_responses_total", "Answers by class.", ("code",),
     lambda s: [((code,), float(count)) for code, count in s.answers.items()]),
    ("persistence_total", "Choices of a server: hit, new, moved, none.", ("result",),
     lambda s: [((word,), float(count)) for word, count in s.persistence_results.items()]),
    ("tls_handshakes_total", "TLS handshakes with clients that were finished.", (),
     lambda s: _one(s.tls.handshakes)),
    ("tls_resumptions_total", "Those among them that resumed a session.", (), lambda s: _one(s.tls.resumed)),
    ("protocol_events_total", "What the protocol counts, by its own names.", ("event",),
     lambda s: [((word,), float(count)) for word, count in s.counts.items()]),
)  # fmt: skip

SERVERS: tuple[tuple[str, str, tuple[str, ...], ServerSamples], ...] = (
    ("status", "State of the server: 1 for the one it has. NOLB: it cannot be used for another reason.",
     ("state",), lambda b: _states(SERVER_STATES, state_of(b))),
    ("usable", "1: new clients may come.", (), lambda b: _one(b.usable)),
    ("weight", "Configured share.", (), lambda b: _one(b.weight)),
    ("ramp_ratio", "The part of the weight that counts after it came back.", (), lambda b: _one(b.ramp)),
    ("current_sessions", "Connections to it now.", (), lambda b: _one(b.sessions.current)),
    ("max_sessions", "Most connections at one time.", (), lambda b: _one(b.sessions.max)),
    ("limit_sessions", "Connections allowed; no sample where there is no limit.", (),
     lambda b: _one(b.limit) if b.limit is not None else ()),
    ("current_queue", "Clients that wait for it.", (), lambda b: _one(b.queue)),
    ("sessions_total", "Connections to it.", (), lambda b: _one(b.sessions.total)),
    ("bytes_in_total", "Bytes to it.", (), lambda b: _one(b.bytes_in)),
    ("bytes_out_total", "Bytes from it.", (), lambda b: _one(b.bytes_out)),
    ("connection_errors_total", "Connections that failed.", (), lambda b: _one(b.errors.connect)),
    ("response_errors_total", "Answers that were none.", (), lambda b: _one(b.errors.response)),
    ("retry_warnings_total", "Attempts that were made again.", (), lambda b: _one(b.retries)),
    ("redispatch_warnings_total", "Clients that went on to another server.", (),
     lambda b: _one(b.redispatches)),
    ("requests_total", "Requests or connections that it served.", (), lambda b: _one(b.requests.total)),
    ("http_responses_total", "Answers by class.", ("code",),
     lambda b: [((code,), float(count)) for code, count in b.answers.items()]),
    ("check_status", "Latest check: 1 for its code.", ("state",),
     lambda b: _states(CHECK_CODES, b.check.code) if b.check.code else ()),
    ("check_duration_seconds", "How long the latest check took.", (),
     lambda b: _one(b.check.duration_ms / 1000) if b.check.duration_ms is not None else ()),
    ("check_up_down_total", "How often it went DOWN.", (), lambda b: _one(b.down.count)),
    ("downtime_seconds_total", "How long it has been DOWN.", (), lambda b: _one(b.down.seconds)),
)  # fmt: skip


def state_of(backend: Backend) -> str:
    """HAProxy's word for a backend's state: those that change (``DOWN 1/2``) count as what they are."""
    word = backend.state.partition(" ")[0]
    if word in SERVER_STATES:
        return word
    if backend.state == "no check":
        return "UP"
    return "NOLB"


class StatusCollector(Collector):
    """Makes metrics of one Status."""

    def __init__(self, status: Status, certificates: Sequence[CertificateRow] = ()) -> None:
        self._status = status
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        yield from self._process()
        yield from self._services()
        yield from self._servers()
        yield from self._tables()
        yield from self._expiry()

    def _process(self) -> Iterator[Metric]:
        process = self._status.process
        build = InfoMetricFamily("exproxy_build", "The version that runs.")
        build.add_metric([], {"version": process.version})
        yield build
        uptime = "Seconds since the start."
        yield GaugeMetricFamily("exproxy_uptime_seconds", uptime, value=process.uptime)
        yield GaugeMetricFamily("exproxy_draining", "1: it is being stopped.", value=float(process.draining))
        last = process.config.last_reload
        if last is not None:
            told = "1: the latest reload was taken."
            yield GaugeMetricFamily("exproxy_config_last_reload_success", told, value=float(last.ok))
            when = "When that was, in Unix time."
            seconds = _seconds(last.time)
            yield GaugeMetricFamily("exproxy_config_last_reload_timestamp_seconds", when, value=seconds)
        up = GaugeMetricFamily("exproxy_worker_ready", "1: the worker serves.", labels=["worker"])
        cpu = CounterMetricFamily("exproxy_worker_cpu_seconds", "CPU time of a worker.", labels=["worker"])
        memory = GaugeMetricFamily(
            "exproxy_worker_resident_memory_bytes", "Memory of a worker.", labels=["worker"]
        )
        for worker in process.workers:
            label = [str(worker.number)]
            up.add_metric(label, float(worker.state == "READY"))
            cpu.add_metric(label, worker.cpu_seconds)
            memory.add_metric(label, worker.rss_bytes)
        yield from (up, cpu, memory)
        warnings = GaugeMetricFamily("exproxy_warnings", "What an operator should know.", labels=["kind"])
        kinds = [each.kind for each in self._status.warnings]
        for kind in sorted(set(kinds)):
            warnings.add_metric([kind], kinds.count(kind))
        yield warnings

    def _services(self) -> Iterator[Metric]:
        for name, told, more, samples in SERVICES:
            metric = _family(f"exproxy_frontend_{name}", told, ("proxy", *more))
            for service in self._status.services:
                for labels, value in samples(service):
                    metric.add_metric([service.name, *labels], value)
            yield metric
        told = "From an HTTP request's head to its answer's end; of others, from accept to the server."
        durations = HistogramMetricFamily("exproxy_request_duration_seconds", told, labels=["proxy"])
        for service in self._status.services:
            buckets, total = _buckets(service.latency.total)
            durations.add_metric([service.name], buckets, total)
        yield durations

    def _servers(self) -> Iterator[Metric]:
        backends = [
            (service.name, backend, backend.name.removeprefix(service.name).removeprefix("/"))
            for service in self._status.services
            for target in service.targets
            for backend in target.backends
        ]
        for name, told, more, samples in SERVERS:
            metric = _family(f"exproxy_server_{name}", told, ("proxy", "server", *more))
            for proxy, backend, server in backends:
                for labels, value in samples(backend):
                    metric.add_metric([proxy, server, *labels], value)
            yield metric
        told = "The same for one server."
        durations = HistogramMetricFamily(
            "exproxy_server_request_duration_seconds", told, labels=["proxy", "server"]
        )
        for proxy, backend, server in backends:
            buckets, total = _buckets(backend.latency.total)
            durations.add_metric([proxy, server], buckets, total)
        yield durations

    def _tables(self) -> Iterator[Metric]:
        entries = GaugeMetricFamily("exproxy_table_entries", "Persistence entries.", labels=["table"])
        limit = GaugeMetricFamily(
            "exproxy_table_entries_limit", "Persistence entries allowed.", labels=["table"]
        )
        held = GaugeMetricFamily(
            "exproxy_table_entries_held", "Entries that open connections hold.", labels=["table"]
        )
        by_server = GaugeMetricFamily(
            "exproxy_table_server_entries", "Entries that lead to a server.", labels=["table", "server"]
        )
        for group in self._status.groups:
            entries.add_metric([group.name], group.entries)
            limit.add_metric([group.name], group.limit)
            held.add_metric([group.name], group.held)
            for server, count in group.by_server.items():
                by_server.add_metric([group.name, server], count)
        yield from (entries, limit, held, by_server)

    def _expiry(self) -> Iterator[Metric]:
        metric = GaugeMetricFamily(
            "exproxy_tls_certificate_not_after_timestamp_seconds",
            "When a certificate ends, in Unix time.",
            labels=["proxy", "subject", "sha256"],
        )
        for each in self._certificates:
            metric.add_metric([each.service, each.subject, each.sha256], _seconds(each.not_after))
        yield metric


def _family(name: str, told: str, labels: Sequence[str]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return kind(name, told, labels=labels)


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """Cumulative buckets in seconds, and the sum."""
    bounds = [*(str(bound / 1000) for bound in BOUNDS), "+Inf"]
    totals = accumulate(float(count) for count in histogram.counts)
    return list(zip(bounds, totals, strict=True)), histogram.sum_ms / 1000


def _seconds(rfc3339: str) -> float:
    return datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp()
