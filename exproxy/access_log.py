"""The access log: one JSON object a line, for a connection or an HTTP request.

Lines are gathered and written a few times a second: a log must not cost a system call a request.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

FLUSH_SECONDS = 0.5
FLUSH_LINES = 512
# Bytes that are written at once to what is no file: so many a pipe takes as a whole (PIPE_BUF).
PIPE = 4096

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=str).encode


def _write(number: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(number, left) :]


def timestamp(seconds: float) -> str:
    """RFC 3339, UTC, with milliseconds."""
    whole = int(seconds)
    return f"{_to_the_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


# The second that it is now is asked for again and again.
@lru_cache(maxsize=2)
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class AccessLog:
    """Where records go: a path, ``"stdout"`` or ``"stderr"``; None keeps none.

    What cannot be written (a full disk, a reader that went away) is lost, and said once: no connection
    fails for the sake of its record.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, destination: str | Path | None) -> None:
        self._clock = clock
        self._destination = destination
        self._file: IO[bytes] | IO[str] | None = None
        self._inherited = False
        self._failing = False
        self._lines: list[str] = []
        self._call: IDelayedCall | None = None

    @property
    def wanted(self) -> bool:
        """Whether records go anywhere; else nobody need make them."""
        return self._destination is not None

    def open(self, inherited: int = -1) -> None:
        """Open the file now, so that a missing folder is an error at start (OSError) and not later.
        ``inherited``: the descriptor of one that another process of ours has open, -1 for none."""
        self._inherited = inherited >= 0
        if self._inherited:
            self._file = open(inherited, "ab", buffering=0)  # noqa: SIM115
        elif self._destination in ("stdout", "stderr"):
            self._file = sys.stdout if self._destination == "stdout" else sys.stderr
        elif self._destination is not None:
            self._file = open(self._destination, "ab", buffering=0)  # noqa: SIM115

    def fileno(self) -> int:
        """The descriptor of what it writes to, -1 where that has none: for processes that write there too."""
        try:
            return self._file.fileno() if self._file is not None else -1
        except (OSError, ValueError):
            return -1

    def reopen(self) -> None:
        """After a rotation: write what there is to the old file, then open the new one.

        Raises OSError where that cannot be; the old one stays. Standard output is nothing to reopen.
        """
        self.flush()
        if isinstance(self._destination, Path):
            old = self._file
            self.open()
            if old is not None:
                with suppress(OSError):
                    old.close()

    def write(self, record: Mapping[str, object]) -> None:
        """Queue one record; ``time`` is set here."""
        if self._destination is None:
            return
        self._lines.append(_encode({"time": timestamp(time.time()), **record}))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif self._call is None:
            self._call = self._clock.callLater(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is queued."""
        if self._call is not None:
            if self._call.active():
                self._call.cancel()
            self._call = None
        if self._lines and self._file is not None:
            lines, self._lines = self._lines, []
            try:
                self._put(lines)
            except (OSError, ValueError) as error:
                if not self._failing:
                    self.log.error(
                        "the access log cannot be written, its lines are lost: {why}", why=str(error)
                    )
                self._failing = True
            else:
                self._failing = False

    def _put(self, lines: list[str]) -> None:
        """Whole lines in one write each time, so that those of several processes do not get mixed up: all
        together into a file, and no more than a pipe takes at once elsewhere."""
        assert self._file is not None
        if self.fileno() < 0:
            # A test's, or somebody's that only looks like a file.
            cast("IO[str]", self._file).write("\n".join(lines) + "\n")
            self._file.flush()
            return
        # Half a surrogate pair, from a client's name for itself, must not cost its neighbours' lines.
        whole = [f"{line}\n".encode("utf-8", "backslashreplace") for line in lines]
        number = self._file.fileno()
        self._file.flush()
        part = b""
        for line in whole if not isinstance(self._destination, Path) else [b"".join(whole)]:
            if part and len(part) + len(line) > PIPE:
                _write(number, part)
                part = b""
            part += line
        _write(number, part)

    def close(self) -> None:
        """Write what is queued and let the file go; idempotent."""
        self.flush()
        # Not by sys.stdout's identity: twistd puts its own log there after open().
        if self._file is not None and (self._inherited or self._destination not in ("stdout", "stderr")):
            with suppress(OSError):
                self._file.close()
        self._file = None
