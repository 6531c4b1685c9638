"""A program that a test starts, hurts and ends, with everything that it starts itself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from .netns import Endpoint, Namespace, environment

_PATIENCE = 10.0
_PAUSE = 0.01


class Process:
    """A program in a session of its own; its session tells what belongs to it.

    Every signal goes to the whole session: kill() is the end of a host and not of a parent whose
    children go on, freeze() is a host that still accepts (the kernel does) and never answers.
    """

    def __init__(
        self,
        namespace: Namespace,
        name: str,
        argv: Sequence[str],
        folder: Path,
        ready: Iterable[Endpoint] = (),
        extra: dict[str, str] | None = None,
    ) -> None:
        """`ready`: where it listens when it is ready; `extra`: environment; `folder`: for its logs."""
        self.namespace = namespace
        self.name = name
        self.argv = list(argv)
        self.folder = folder
        self.ready = frozenset(ready)
        self.extra = extra or {}
        self.output = folder / "output"
        self.seconds = 0.0
        self._child: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    def __repr__(self) -> str:
        return f"<{self.name} {'pid ' + str(self.pid) if self.running else 'not running'}>"

    @property
    def pid(self) -> int:
        """The process id of the program itself (also its session's id)."""
        if self._child is None:
            raise AssertionError(f"{self.name} was never started")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the program itself lives."""
        return self._child is not None and self._child.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs or before it was started."""
        return None if self._child is None else self._child.poll()

    def launch(self) -> None:
        """Start it and do not wait; see wait()."""
        if self.running:
            raise AssertionError(f"{self.name} runs already")
        self._began = time.monotonic()
        self._child = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output, self.namespace.entered():
            return subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**environment(), **self.extra},
                start_new_session=True,
            )

    def wait(self, patience: float = _PATIENCE) -> None:
        """Wait until it listens wherever it has to; fail with the end of its log where it does not."""
        deadline = time.monotonic() + patience
        while not self.ready <= self.namespace.listening():
            self._assert_running()
            if time.monotonic() > deadline:
                self.kill()
                missing = sorted(self.ready - self.namespace.listening())
                raise AssertionError(f"{self.name} does not listen at {missing}:\n{self.log_tail()}")
            time.sleep(_PAUSE)
        self.seconds = time.monotonic() - self._began

    def _assert_running(self) -> None:
        if not self.running:
            raise AssertionError(f"{self.name} ended with {self.code}:\n{self.log_tail()}")

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.launch()
        self.wait()

    def ask(self) -> None:
        """Ask it to end (SIGTERM), and do not wait."""
        if self._child is not None and self.running:
            self.thaw()
            self._child.terminate()

    def stop(self, patience: float = _PATIENCE) -> int:
        """Ask it to end (SIGTERM), wait, kill what does not; gives the exit code."""
        if self._child is not None and self.running:
            self.ask()
            try:
                self._child.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
        self._gone(min(patience, 2.0))
        return self.code or 0

    def kill(self) -> None:
        """SIGKILL for the program and its children, at once."""
        if self._child is None:
            return
        self._gone(0.0)
        self._child.wait(_PATIENCE)

    def _gone(self, patience: float) -> None:
        """Wait until no child is left, then kill those that are."""
        deadline = time.monotonic() + patience
        while self.members():
            if time.monotonic() >= deadline:
                self.signal(signal.SIGKILL)
            time.sleep(_PAUSE)

    def restart(self) -> None:
        """Stop it, where it still runs, and start it again with the same configuration."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: its ports accept, and nothing answers."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it stood."""
        self.signal(signal.SIGCONT)

    def ensure(self) -> None:
        """Running and not frozen, whatever the test before did to it."""
        if self.running:
            self.thaw()
        else:
            self.kill()
            self.start()

    def members(self) -> list[int]:
        """The living processes of its session."""
        if self._child is None:
            return []
        self._child.poll()
        return [pid for pid in self.namespace.pids() if _session(pid) == self._child.pid]

    def signal(self, number: int) -> None:
        """Send a signal to every process of its session."""
        for pid in self.members():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def logs(self) -> list[Path]:
        """The files that make up its log."""
        return [path for path in (self.output, *sorted(self.folder.glob("*.log"))) if path.exists()]

    def log_text(self) -> str:
        """Everything that it said so far."""
        return "".join(path.read_text(errors="replace") for path in self.logs())

    def await_log(self, text: str, patience: float = _PATIENCE, start: int = 0) -> int:
        """Wait until `text` is in its log after character `start`; gives the place after it."""
        deadline = time.monotonic() + patience
        while (found := self.log_text().find(text, start)) < 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not say {text!r}:\n{self.log_tail()}")
            time.sleep(_PAUSE)
        return found + len(text)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of each of its logs, for a failure's text."""
        ends = [(path, path.read_text(errors="replace").splitlines()[-lines:]) for path in self.logs()]
        return "\n".join(f"--- {path.name}\n" + "\n".join(end) for path, end in ends if end)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
