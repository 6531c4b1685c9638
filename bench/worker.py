"""A process of the load, ordered about by lines of JSON, with a bound on each answer."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.machine import bound_child

ROOT = Path(__file__).resolve().parent.parent
# Seconds for a process to end after its stdin has.
_ENDING = 5.0


class Failed(Exception):
    """A peer or its load did not do what it should; the text says what."""


class Worker:
    """``python -m MODULE ARGUMENT``, pinned to a core; it ends with us, however we end."""

    def __init__(self, module: str, core: int, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            preexec_fn=lambda: bound_child(core),
        )
        self._held = b""
        self.lost = False
        """Whether an answer did not come in time; a later one would be taken for another's."""

    def ask(self, order: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Give an order and wait for what came of it, at most so long; raises Failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            self.lost = True
            raise Failed(f"the load's process is gone: {error}") from None
        return self.hear(seconds)

    def hear(self, seconds: float) -> dict[str, Any]:
        """The next line; raises Failed."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        end = time.monotonic() + seconds
        while b"\n" not in self._held:
            ready, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self.lost = True
                raise Failed(f"no answer from the load within {seconds:.0f} s")
            data = os.read(fd, 65_536)
            if not data:
                self.lost = True
                raise Failed("the load's process has ended")
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise Failed(said["error"])
        return said

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        end(self._process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that may have been told so already: by asking, and then by force."""
    for insist in (process.terminate, process.kill):
        if process.poll() is None:
            insist()
            try:
                process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                continue
    process.wait()
