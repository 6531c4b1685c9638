"""The last events of the log as values with a number, for those who come later or listen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from exproxy.admin.moments import rfc3339
from exproxy.admin.rows import Event

# Events that are kept, and characters of one.
KEPT = 2000
LONGEST = 2000
# Below it nobody is told.
LEAST = LogLevel.info
LISTENERS = 200


@implementer(ILogObserver)
class Events:
    """A ring of what Twisted's log was told, from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._number = 0
        self._listeners: list[Callable[[Event], None]] = []
        self._telling = False

    def start(self) -> None:
        """Hear the log."""
        globalLogPublisher.addObserver(self)

    def stop(self) -> None:
        """Hear it no more; idempotent."""
        globalLogPublisher.removeObserver(self)
        self._listeners.clear()

    def since(self, number: int, limit: int = KEPT) -> list[Event]:
        """Those with a greater number, oldest first; the latest ``limit`` of them."""
        found = [each for each in self._kept if each.number > number]
        return found[-limit:] if limit > 0 else []

    def watch(self, told: Callable[[Event], None]) -> Callable[[], None]:
        """``told`` hears each event from now on; returns a callable to stop that. What it raises ends it."""
        if len(self._listeners) >= LISTENERS:
            raise ValueError(f"{LISTENERS} listen already")
        self._listeners.append(told)

        def stop() -> None:
            if told in self._listeners:
                self._listeners.remove(told)

        return stop

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        level = event.get("log_level")
        if level is None or level < LEAST:
            return
        self._number += 1
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            # Its traceback is in the event log.
            text = f"{text}: {failure.getErrorMessage()}" if text else failure.getErrorMessage()
        kept = Event(
            self._number,
            rfc3339(event.get("log_time", 0.0)),
            level.name,
            str(event.get("log_namespace", "")),
            text if len(text) <= LONGEST else text[: LONGEST - 1] + "…",
        )
        self._kept.append(kept)
        self._tell(kept)

    def _tell(self, event: Event) -> None:
        # A listener that logs must not tell itself of it for ever.
        if self._telling:
            return
        self._telling = True
        try:
            for told in tuple(self._listeners):
                try:
                    told(event)
                except Exception:
                    self._listeners.remove(told)
        finally:
            self._telling = False
