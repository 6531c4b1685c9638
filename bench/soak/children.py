"""The soak's processes: each ends with it, however it ends, also when it is stopped at the moment."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.worker import ROOT, Failed

_PDEATHSIG = 1
_STARTING = 20.0


def dies_with_us(number: signal.Signals = signal.SIGKILL) -> None:
    """To be called in a new child."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, number)


class Child:
    """``python -m MODULE ARGUMENT``, spoken to by lines of JSON."""

    def __init__(self, module: str, argument: dict[str, Any]) -> None:
        self._argv = [sys.executable, "-m", module, json.dumps(argument)]
        self._held = b""
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._held = b""
        return subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, preexec_fn=dies_with_us
        )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it is there."""
        return self._process.poll() is None

    def say(self, text: str) -> None:
        """A line. Raises Failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(f"{self._argv[2]} is gone: {error}") from None

    def heard(self, seconds: float) -> Iterator[dict[str, Any]]:
        """What it says within so many seconds, as it comes. Raises Failed where it ends."""
        assert self._process.stdout is not None
        number, end = self._process.stdout.fileno(), time.monotonic() + seconds
        while select.select([number], [], [], max(0.0, end - time.monotonic()))[0]:
            data = os.read(number, 65_536)
            if not data:
                raise Failed(f"{self._argv[2]} has ended")
            *lines, self._held = (self._held + data).split(b"\n")
            yield from map(json.loads, lines)

    def ready(self) -> None:
        """Until it has said something. Raises Failed."""
        if next(self.heard(_STARTING), None) is None:
            raise Failed(f"{self._argv[2]} does not come up")

    def kill(self) -> None:
        """By SIGKILL; idempotent."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def again(self) -> None:
        """A new one in its place."""
        self.kill()
        self._process = self._start()

    def signal(self, number: signal.Signals) -> None:
        """Send it that."""
        self._process.send_signal(number)


class Exproxy:
    """twistd exproxy -c FILE, its output in a file."""

    def __init__(self, twistd: Path, file: Path, output: Path, environment: dict[str, str]) -> None:
        with output.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(twistd), "-n", "--pidfile=", "exproxy", "-c", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=file.parent,
                env={**os.environ, **environment},
                preexec_fn=lambda: dies_with_us(signal.SIGTERM),
            )

    @property
    def pid(self) -> int:
        """Of the first of its processes."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it is there."""
        return self._process.poll()

    def hang_up(self) -> None:
        """SIGHUP: it is to open its logs anew."""
        self._process.send_signal(signal.SIGHUP)

    def end(self, seconds: float) -> int | None:
        """SIGTERM: the exit code, or None where it had to be killed after so long."""
        with suppress(OSError):
            self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None
