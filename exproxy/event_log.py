"""The event log as JSON lines: what happened to the service, one object a line, from twisted.logger."""

from __future__ import annotations

import json
from typing import IO, Any

from twisted.logger import ILogObserver, LogEvent, formatEvent
from zope.interface import implementer

from exproxy.access_log import timestamp


@implementer(ILogObserver)
class EventLog:
    """Writes time, level, namespace and text; a failure's traceback goes into ``traceback``."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        record: dict[str, Any] = {
            "time": timestamp(event.get("log_time", 0.0)),
            "level": getattr(event.get("log_level"), "name", "info"),
            "from": event.get("log_namespace", ""),
            "text": formatEvent(event),
        }
        if "worker" in event:
            record["worker"] = event["worker"]
        failure = event.get("log_failure")
        if "worker_traceback" in event:
            record["traceback"] = event["worker_traceback"]
        elif failure is not None:
            record["traceback"] = failure.getTraceback()
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()
