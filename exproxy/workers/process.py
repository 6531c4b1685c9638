"""One worker's process as its supervisor sees it: started, spoken to, heard, ended.

It is a new program (exec), never a copy of this process: a running reactor cannot be copied.
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from exproxy.workers.channel import Channel
from exproxy.workers.messages import Message

# Seconds between two looks whether a process that has closed its channel is gone, and how many there are
# before it is killed.
LOOK = 0.02
LOOKS = 50
# Characters of one line that it wrote to its standard error.
LINE = 2000


class Process:
    """``received(process, messages)`` hears what it says, ``ended(process, how)`` of its end."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        inherited: Sequence[int],
        received: Callable[[Process, list[Message]], None],
        ended: Callable[[Process, str], None],
    ) -> None:
        """``inherited``: descriptors that it is to have, by the same numbers. Raises OSError."""
        self._reactor = reactor
        self._ended = ended
        self._looks = 0
        self.over = False
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        argv = [sys.executable, "-m", "exproxy.workers", str(theirs.fileno()), reactor.__module__]
        try:
            self._popen = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                argv,
                stdin=subprocess.DEVNULL,
                stderr=writing,
                pass_fds=(theirs.fileno(), *inherited),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        except OSError:
            ours.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
        self.pid = self._popen.pid
        self._errors = Errors(reactor, reading, self._wrote)
        self._channel = Channel(reactor, ours, lambda messages: received(self, messages), self._lost)
        self._channel.start()

    def __repr__(self) -> str:
        return f"<Process {self.pid} {'over' if self.over else self._channel!r}>"

    def send(self, message: Message) -> None:
        """Say something to it."""
        self._channel.send(message)

    def read(self) -> list[Message]:
        """What it has said by now."""
        return self._channel.read()

    def dismiss(self) -> None:
        """Hang up: it ends by itself then, one that carries traffic after its drain."""
        self._channel.close()
        self._look()

    def kill(self) -> None:
        """End it now."""
        if not self.over:
            with suppress(ProcessLookupError):
                self._popen.send_signal(signal.SIGKILL)

    def _lost(self, why: str) -> None:
        self._look()

    def _look(self) -> None:
        """Its end of the channel is closed: it is gone, or will be at once."""
        if self.over:
            return
        code = self._popen.poll()
        if code is None:
            self._looks += 1
            if self._looks == LOOKS:
                self.kill()
            self._reactor.callLater(LOOK, self._look)
            return
        self.over = True
        self._errors.close()
        how = f"killed by {_signal(-code)}" if code < 0 else f"exit code {code}"
        self._ended(self, how)

    def _wrote(self, line: str) -> None:
        self.log.warn("process {pid}: {line}", pid=self.pid, line=line[:LINE])


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@implementer(IReadDescriptor)
class Errors:
    """What a process writes to its standard error, line by line."""

    def __init__(self, reactor: Any, number: int, line: Callable[[str], None]) -> None:
        self._reactor = reactor
        self._number = number
        self._line = line
        self._kept = b""
        os.set_blocking(number, False)
        reactor.addReader(self)

    def fileno(self) -> int:
        """See IReadDescriptor."""
        return self._number

    def logPrefix(self) -> str:
        """See IReadDescriptor."""
        return "worker"

    def doRead(self) -> None:
        """See IReadDescriptor."""
        try:
            data = os.read(self._number, 65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._reactor.removeReader(self)
            return
        *lines, self._kept = (self._kept + data).split(b"\n")
        self._kept = self._kept[-LINE:]
        for line in lines:
            self._line(line.decode("utf-8", "replace"))

    def close(self) -> None:
        """Read what is left, and no more. Idempotent."""
        if self._number >= 0:
            self.doRead()
            self._reactor.removeReader(self)
            os.close(self._number)
            self._number = -1
            if self._kept:
                self._line(self._kept.decode("utf-8", "replace"))

    def connectionLost(self, reason: Any) -> None:
        """See IReadDescriptor."""
        self.close()
