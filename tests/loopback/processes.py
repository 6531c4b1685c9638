"""``twistd exproxy`` as a process of its own, before a server in the test's."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.folders import folder

ROOT = Path(__file__).resolve().parent.parent.parent
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
# Nothing here takes longer; a process that hangs is killed and fails its test.
PATIENCE = 15.0

CONFIGURATION = """
servers: {{a: 127.0.0.1}}
services:
  relay:
    protocol: tcp
    listen: {{address: 127.0.0.1, port: {listen}}}
    backend: {{port: {port}}}
    timeouts: {{grace: {grace}}}
"""


class ProcessTestCase(SynchronousTestCase):
    """Processes of their own, and a server in this one."""

    def setUp(self) -> None:
        self.folder = folder(self)
        self.process: subprocess.Popen[str] | None = None
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(PATIENCE)
        self.addCleanup(self.server.close)

    def configure(self, listen: int = 0, grace: str = "30s", more: str = "") -> Path:
        """A configuration file with a relay to this test's server."""
        file = self.folder / "exproxy.yaml"
        text = CONFIGURATION.format(listen=listen, port=self.server.getsockname()[1], grace=grace)
        file.write_text(f"state-dir: state\naccess-log: access.log\n{text}{more}", encoding="utf-8")
        return file

    def begin(self, *options: object) -> subprocess.Popen[str]:
        """Start twistd with those options; it is gone at the test's end."""
        process = subprocess.Popen(
            [*TWISTD, *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        self.addCleanup(self._over, process)
        return process

    def _over(self, process: subprocess.Popen[Any]) -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()

    def ran(self, *options: object) -> tuple[int, str, str]:
        """Run to the end: (exit code, stdout, stderr); neither may have a traceback."""
        process = self.begin("-n", "--pidfile=", "exproxy", *options)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertNotIn("Traceback", out + err)
        return process.returncode, out, err

    def until(self, process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
        """Read its log until a line matches."""
        assert process.stdout is not None
        end = time.monotonic() + PATIENCE
        read = b""
        while time.monotonic() < end:
            found = re.search(pattern, read.decode())
            if found:
                return found
            if select.select([process.stdout], [], [], 0.5)[0]:
                some = os.read(process.stdout.fileno(), 65536)
                if not some:
                    break
                read += some
        raise AssertionError(f"no {pattern!r} in {read.decode()}")

    def running(self, file: Path) -> tuple[subprocess.Popen[str], int]:
        """A process that serves, and its port."""
        process = self.begin("-n", "--pidfile=", "exproxy", "-c", file)
        return process, int(self.until(process, r"relay listens on 127\.0\.0\.1:(\d+)")[1])

    def client(self, port: int) -> tuple[socket.socket, socket.socket]:
        """A client that is relayed: (client, the server's end)."""
        client = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.addCleanup(client.close)
        client.sendall(b"hello")
        while True:
            # Checks come here too, and say nothing.
            far, _ = self.server.accept()
            self.addCleanup(far.close)
            far.settimeout(PATIENCE)
            if far.recv(100) == b"hello":
                return client, far
