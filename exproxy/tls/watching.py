"""Watches the files of certificates: a new one is shown from the next connection on, a bad one never.

The keys of session tickets are changed with them, and once a day.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from exproxy.tls.material import Unfit, days_left
from exproxy.tls.server import ServerTLS

# Seconds between two looks at the files, and between two warnings of a certificate's end, when the keys of
# tickets are changed too.
INTERVAL = 5.0
DAY = 86400.0
# Days before its end from which on a certificate is warned of.
SOON = 30

_Stamp: TypeAlias = tuple[int, int, int] | None


def _today() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


class Watch:
    """Looks after the certificates of all services, each under its service's name."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        watched: Sequence[tuple[str, ServerTLS]],
        today: Callable[[], datetime.datetime] = _today,
    ) -> None:
        """``today()`` is the present time, aware."""
        self._clock = clock
        self._watched = watched
        self._today = today
        self._stamps = {tls: _stamps(tls.paths) for _, tls in watched}
        self._call: IDelayedCall | None = None
        self._warned = 0.0

    def start(self) -> None:
        """Begin; a certificate near its end is told of at once."""
        if self._watched:
            self._warn()
            self._call = self._clock.callLater(INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more; idempotent."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def look(self, always: bool = False) -> None:
        """Read what has changed since the last look; ``always``: whatever the file system says."""
        for service, tls in self._watched:
            stamps = _stamps(tls.paths)
            if always or stamps != self._stamps[tls]:
                # Taken before the files are read: what is written meanwhile is seen at the next look.
                self._stamps[tls] = stamps
                self._reload(service, tls)

    def _look(self) -> None:
        self._call = self._clock.callLater(INTERVAL, self._look)
        self.look()
        if self._clock.seconds() - self._warned >= DAY:
            self._warn()
            self._rotate()

    def _rotate(self) -> None:
        for service, tls in self._watched:
            try:
                tls.rotate()
            except Unfit as error:
                self.log.error("{service} keeps its tickets' keys: {error}", service=service, error=error)

    def _reload(self, service: str, tls: ServerTLS) -> None:
        try:
            changed = tls.reload()
        except Unfit as error:
            self.log.error(
                "{service} goes on with the certificate that it has: {error}", service=service, error=error
            )
            return
        if changed:
            self.log.info(
                "{service} shows new certificates, {names}",
                service=service,
                names="; ".join(
                    f"{each.subject.rfc4514_string()} until {each.not_valid_after_utc:%Y-%m-%d}"
                    for each in tls.certificates
                ),
            )

    def _warn(self) -> None:
        self._warned = self._clock.seconds()
        now = self._today()
        for service, tls in self._watched:
            for each in tls.certificates:
                days = days_left(each, now)
                if days < SOON:
                    self.log.warn(
                        "{service}: the certificate of {subject} {what}",
                        service=service,
                        subject=each.subject.rfc4514_string(),
                        what=_end(days, each.not_valid_after_utc),
                    )


def _end(days: int, end: datetime.datetime) -> str:
    if days < 0:
        return f"expired on {end:%Y-%m-%d}"
    return f"expires in {days} days, on {end:%Y-%m-%d}"


def _stamps(paths: Sequence[Path]) -> tuple[_Stamp, ...]:
    found: list[_Stamp] = []
    for path in paths:
        try:
            # Follows links: Let's Encrypt's clients change where a link leads to.
            status = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
