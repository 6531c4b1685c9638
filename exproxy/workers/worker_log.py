"""A worker's log is its supervisor's: every line goes there, and stands in one file with all others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

from exproxy.workers.messages import Said

# Characters of one line, and of a traceback.
TEXT = 4000
TRACEBACK = 20_000


@implementer(ILogObserver)
class WorkerLog:
    """The observer in a worker. ``supervised`` False: nobody reads it any more, it goes to standard error."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        self.supervised = True
        self.number = 0
        self._send = send
        self._saying = False

    def begin(self) -> None:
        """Observe from now on."""
        globalLogBeginner.beginLoggingTo([self], redirectStandardIO=False)

    def __call__(self, event: LogEvent) -> None:
        """See ILogObserver."""
        level = event.get("log_level") or LogLevel.info
        if level < LogLevel.info or self._saying:
            return
        # What goes wrong on the way is not to be said on the same way.
        self._saying = True
        try:
            failure = event.get("log_failure")
            traceback = failure.getTraceback()[:TRACEBACK] if failure is not None else ""
            text = formatEvent(event)[:TEXT]
            if self.supervised:
                self._send(Said(level.name, str(event.get("log_namespace", "")), text, traceback))
            else:
                print(f"worker {self.number}: {text} {traceback}", file=sys.stderr, flush=True)
        except OSError:
            # Nobody is there to read it.
            return
        finally:
            self._saying = False


def repeat(number: int, said: Said) -> None:
    """In the supervisor: a worker's line, under the name of whoever said it there."""
    level = LogLevel.lookupByName(said.level)
    text = f"worker {number}: {said.text}"
    words = {"worker_traceback": said.traceback} if said.traceback else {}
    template = "{text}\n{worker_traceback}" if words else "{text}"
    Logger(namespace=said.namespace).emit(level, template, text=text, worker=number, **words)
