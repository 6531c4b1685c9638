"""``twistd exproxy`` with ``transparent``: the capability is asked for at the start, and outlives --uid."""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.folders import folder
from tests.loopback.test_client_address import needs_capability

ROOT = Path(__file__).resolve().parents[2]
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")
PATIENCE = 15.0
NOBODY = 65534
CONFIGURATION = """
state-dir: state
access-log: false
servers: {{a: 127.0.0.1}}
services:
  relay:
    protocol: tcp
    listen: 127.0.0.1:0
    backend: {{port: {port}}}
    transparent: true
    check: connect
    health: {{interval: 1h}}
"""


class StartTests(SynchronousTestCase):
    """Processes of their own, as root and as nobody."""

    def setUp(self) -> None:
        """Skip, or have a server and a configuration."""
        if os.geteuid() != 0:
            raise SkipTest("only root can give the capability away")
        needs_capability()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(PATIENCE)
        self.addCleanup(self.server.close)
        self.file = folder(self) / "exproxy.yaml"
        self.file.write_text(CONFIGURATION.format(port=self.server.getsockname()[1]))

    def begin(self, *argv: str, options: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start twistd behind ``argv``; it is gone at the test's end."""
        process = subprocess.Popen(
            [*argv, *TWISTD, *options, "exproxy", "-c", str(self.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.file.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        self.addCleanup(self._over, process)
        return process

    def _over(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()

    def port(self, process: subprocess.Popen[bytes]) -> int:
        """Where it listens, once it says so."""
        assert process.stdout is not None
        end, read = time.monotonic() + PATIENCE, b""
        while time.monotonic() < end:
            found = re.search(rb"relay listens on 127\.0\.0\.1:(\d+)", read)
            if found:
                return int(found[1])
            if select.select([process.stdout], [], [], 0.5)[0]:
                some = os.read(process.stdout.fileno(), 65536)
                if not some:
                    break
                read += some
        raise AssertionError(read.decode())

    def test_missing(self) -> None:
        """Without the capability it does not start: exit 1, and what to do on stderr."""
        if shutil.which("setpriv") is None:
            raise SkipTest("setpriv (util-linux) is not installed")
        process = self.begin("setpriv", "--bounding-set", "-net_admin,-net_raw")
        _, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"exproxy: `transparent: true` connects to servers", err)
        self.assertIn(b"CAP_NET_RAW", err)
        self.assertNotIn(b"Traceback", err)

    def test_after_uid(self) -> None:
        """As nobody it still connects from the clients' addresses, and can do nothing else of root's."""
        process = self.begin(options=(f"--uid={NOBODY}", f"--gid={NOBODY}"))
        port = self.port(process)
        status = Path(f"/proc/{process.pid}/status").read_text()
        uid = re.search(r"(?m)^Uid:\s+(\d+)\s+(\d+)", status)
        assert uid is not None
        self.assertEqual(uid.groups(), (str(NOBODY), str(NOBODY)))
        for name in ("CapEff", "CapPrm"):
            found = re.search(rf"(?m)^{name}:\s+([0-9a-f]+)", status)
            assert found is not None
            self.assertEqual(int(found[1], 16), 1 << 13, name)
        with socket.create_connection(("127.0.0.1", port), PATIENCE, ("127.0.0.33", 0)) as client:
            client.sendall(b"hello")
            while True:
                far, (host, _) = self.server.accept()
                with far:
                    far.settimeout(PATIENCE)
                    if far.recv(10) == b"hello":  # and not a check
                        break
        self.assertEqual(host, "127.0.0.33")
