"""exproxy in a process that takes an operator's commands (operated_program.py)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from .netns import Endpoint, environment
from .proxy import Exproxy
from .site import Site

_ROOT = Path(__file__).parents[3]
_PATIENCE = 10.0


class Operated(Exproxy):
    """As Exproxy, and its servers can be drained, emptied, taken out and made ready."""

    def __init__(self, site: Site, text: str, *, ready: Iterable[Endpoint] | None = None) -> None:
        """See Exproxy."""
        super().__init__(site, text, ready=ready)
        self.argv = [sys.executable, "-m", "tests.peers.kit.operated_program", str(self.configuration)]
        self.extra["PYTHONPATH"] = str(_ROOT)
        self._asked = 0
        # Bytes of its output that were read for answers.
        self._read = 0

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output, self.namespace.entered():
            return subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**environment(), **self.extra},
                start_new_session=True,
            )

    def operate(self, word: str, service: str, server: str) -> int:
        """drain, maint, ready, empty or links; gives the number that is answered."""
        assert self._child is not None and self._child.stdin is not None
        self._asked += 1
        self._child.stdin.write(f"{self._asked} {word} {service} {server}\n".encode())
        self._child.stdin.flush()
        return self._answer(b"#%d " % self._asked)

    def _answer(self, begin: bytes) -> int:
        """The number in the line with that begin; what was read is not read again."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with self.output.open("rb") as output:
                output.seek(self._read)
                for line in output:
                    if line.endswith(b"\n"):
                        self._read += len(line)
                        if line.startswith(begin):
                            return int(line[len(begin) :])
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not answer:\n{self.log_tail()}")
            time.sleep(0.005)

    def emptied(self, service: str, server: str, patience: float = _PATIENCE) -> int:
        """Ask the clients of a server to leave it, and wait until the last one has; how many there were.

        A client that was on its way there when the others were asked is asked as well.
        """
        deadline = time.monotonic() + patience
        total = 0
        while self.operate("links", service, server):
            total += self.operate("empty", service, server)
            if time.monotonic() > deadline:
                raise AssertionError(f"{service}/{server} is not empty:\n{self.log_tail()}")
            time.sleep(0.02)
        return total

    def stop(self, patience: float = _PATIENCE) -> int:
        """See Process; the operator leaves too."""
        code = super().stop(patience)
        if self._child is not None and self._child.stdin is not None:
            self._child.stdin.close()
        return code
