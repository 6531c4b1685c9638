"""What the access log says of one connection, or of one HTTP request on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from exproxy.model import TLS, Choice, Persistence, Source
from exproxy.tally import count

if TYPE_CHECKING:
    from exproxy.virtual import VirtualService


def milliseconds(seconds: float) -> float:
    """Rounded to a tenth, as the log has them."""
    return round(seconds * 1000, 1)


class AccessRecord:
    """Gathers the fields of a record; ``write`` sends it off and begins the next.

    ``reason`` is why it ended: the first word counts, since the rest follows from it.
    """

    __slots__ = (
        "_backend",
        "_begun",
        "_bytes_in",
        "_bytes_out",
        "_fields",
        "_noted_in",
        "_noted_out",
        "_opening",
        "_picked",
        "_service",
        "_via",
        "_written",
        "kept",
        "peer",
        "reason",
        "secured",
    )

    def __init__(self, service: VirtualService, peer: Source, via: Source | None = None) -> None:
        """``via``: the trusted proxy that told of ``peer``."""
        self._service = service
        # Where nobody wants to know nothing is gathered.
        self.kept = service.records
        self.peer = peer
        self._via = via
        # What each line begins with, once there has been one.
        self._opening: dict[str, object] = {}
        self.secured = False
        self.reason: str | None = None
        self._begun: float = service.clock.seconds()
        self._picked = self._begun
        self._bytes_in = 0
        self._bytes_out = 0
        self._written = 0
        # What of the present record's bytes was counted before its end.
        self._noted_in = 0
        self._noted_out = 0
        self._fields: dict[str, object] = {}
        # Who has it.
        self._backend: Any = None

    def handshake_done(self, tls: TLS) -> None:
        """The client's TLS handshake."""
        self.secured = True
        self._service.tally.secured(tls.resumed)
        self._fields["tls"] = tls.version
        self._fields["handshake_ms"] = milliseconds(self._service.clock.seconds() - self._begun)

    def picking(self) -> None:
        """A choice begins; after an earlier record (HTTP) the present one's time begins here too."""
        if not self.kept:
            return
        self._picked = self._service.clock.seconds()
        if self._written and not self._fields:
            self._begun = self._picked

    def connected(self, choice: Choice) -> None:
        """It led to a server."""
        self._backend = choice.backend
        if not self.kept:
            return
        self._fields["server"] = choice.backend.server
        self._fields["persistence"] = choice.persistence.value
        self._fields["connect_ms"] = milliseconds(self._service.clock.seconds() - self._picked)

    def unavailable(self, reason: str) -> None:
        """It led nowhere."""
        self._fields["persistence"] = Persistence.NONE.value
        self._fields["unavailable"] = reason
        self.ended_by("refused: no server")

    def tried(self, times: int) -> None:
        """So many connections were tried for the choice, failed and useless ones included."""
        if times > 1:
            self._fields["retries"] = times - 1

    def ended_by(self, reason: str) -> None:
        """Why it ended; only the first is kept."""
        if self.reason is None:
            self.reason = reason

    @property
    def begun(self) -> float:
        """The clock's reading when what it tells of began."""
        return self._begun

    @property
    def fields(self) -> Mapping[str, object]:
        """What it has so far."""
        return self._fields

    @property
    def written(self) -> int:
        """How many records this connection has had."""
        return self._written

    def note(self, received: int, sent: int) -> None:
        """Count what has moved so far, the connection's totals: who looks need not wait for a long one's
        end."""
        if self._backend is None:
            return
        more_in = received - self._bytes_in - self._noted_in
        more_out = sent - self._bytes_out - self._noted_out
        if more_in > 0 or more_out > 0:
            more_in, more_out = max(0, more_in), max(0, more_out)
            self._noted_in += more_in
            self._noted_out += more_out
            self._service.tally.moved(more_in, more_out)
            self._backend.tally.moved(more_in, more_out)

    def merge(self, fields: Mapping[str, object]) -> None:
        """Fields from the conversation."""
        if self.kept:
            self._fields.update(fields)

    def write(self, received: int, sent: int, *, final: bool = False) -> None:
        """One line; counts are the connection's totals. A final one is left out where every request
        has had its own and nothing came after."""
        if not self.kept:
            self.reason = None
            return
        now = self._service.clock.seconds()
        if final and self._written and not self._fields:
            return
        record: dict[str, Any] = {**(self._opening or self._open()), **self._fields}
        if "bytes_in" not in record:
            record["bytes_in"] = received - self._bytes_in
        if "bytes_out" not in record:
            record["bytes_out"] = sent - self._bytes_out
        record["total_ms"] = milliseconds(now - self._begun)
        record["reason"] = self.reason if final or self.reason else "done"
        self._service.access_log.write(record)
        backend, self._backend = self._backend, None
        noted = (self._noted_in, self._noted_out)
        count(record, self._service.tally, backend.tally if backend is not None else None, noted)
        self._noted_in = self._noted_out = 0
        self._written += 1
        # Where the conversation has counted (a request) there may be more already: what was sent ahead.
        self._bytes_in += record["bytes_in"]
        self._bytes_out += record["bytes_out"]
        self._begun = self._picked = now
        self._fields = {}
        self.reason = None

    def _open(self) -> dict[str, object]:
        opening = self._opening
        opening["service"] = self._service.name
        opening["client"] = f"{self.peer.host}:{self.peer.port}"
        if self._via is not None:
            opening["via"] = f"{self._via.host}:{self._via.port}"
        opening["server"] = None
        return opening
