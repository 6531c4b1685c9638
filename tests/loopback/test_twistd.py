"""``twistd exproxy`` as an administrator meets it: a process, its texts, its exit codes, its signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

from tests.folders import folder
from tests.loopback.processes import PATIENCE, ROOT, ProcessTestCase


class TwistdTests(ProcessTestCase):
    """What it says and how it ends."""

    # -- the configuration -----------------------------------------------------------

    def test_good(self) -> None:
        """-t with a good file: exit 0, and a line that says so."""
        code, out, err = self.ran("-t", "-c", ROOT / "etc" / "lab.yaml")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("lab.yaml", out)

    def test_bad(self) -> None:
        """-t with a bad file: exit 1, all errors with file, line and column on stderr, nothing on stdout."""
        file = self.configure(more="  second: {protocol: tpc, lisen: 25}\n")
        code, out, err = self.ran("-t", "-c", file)
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"exproxy\.yaml:\d+:\d+: error: ")
        self.assertIn("did you mean 'tcp'?", err)
        self.assertIn("did you mean 'listen'?", err)
        self.assertFalse((self.folder / "state").exists())

    def test_bad_without_t(self) -> None:
        """A bad file is refused when it is to be run, too."""
        code, _, err = self.ran("-c", self.configure(more="nonsense: 1\n"))
        self.assertEqual(code, 1)
        self.assertIn("nonsense", err)

    def test_no_file(self) -> None:
        """A file that is not there is named."""
        code, _, err = self.ran("-c", "missing.yaml")
        self.assertEqual(code, 1)
        self.assertIn(str(self.folder / "missing.yaml"), err)
        self.assertIn("No such file", err)

    def test_version(self) -> None:
        """--version prints exproxy's, and not Twisted's."""
        code, out, _ = self.ran("--version")
        self.assertEqual(code, 0)
        self.assertRegex(out, r"^exproxy \d+\.\d+")

    def test_wrong_option(self) -> None:
        """An unknown option is exit 1 and no traceback."""
        code, out, err = self.ran("--no-such-option")
        self.assertEqual(code, 1)
        self.assertIn("no-such-option", out + err)

    def test_demo_without_lab(self) -> None:
        """--demo with a configuration that has no lab is refused with the file that has one."""
        code, _, err = self.ran("--demo", "-c", self.configure())
        self.assertEqual(code, 1)
        self.assertIn("etc/lab.yaml", err)

    def test_port_taken(self) -> None:
        """A port that somebody has: exit 1, and what to do about it."""
        with socket.socket() as other:
            # Below the range of outgoing connections, where it would be tried again for a while.
            for port in range(9400, 9500):
                try:
                    other.bind(("127.0.0.1", port))
                    break
                except OSError:
                    continue
            other.listen()
            code, _, err = self.ran("-c", self.configure(listen=port))
        self.assertEqual(code, 1)
        self.assertIn(f"exproxy: cannot listen on 127.0.0.1:{port}: Address already in use", err)
        self.assertIn("ss -ltnp", err)

    # -- its life --------------------------------------------------------------------

    def test_relays_drains_and_ends(self) -> None:
        """SIGTERM: nobody new, who is there goes on; when the last has gone it ends by that signal."""
        process, port = self.running(self.configure())
        client, far = self.client(port)
        process.send_signal(signal.SIGTERM)
        self.until(process, r"relay waits up to 30 s for 1 connections")
        with socket.socket() as late:
            self.assertNotEqual(late.connect_ex(("127.0.0.1", port)), 0)
        far.sendall(b"world")
        self.assertEqual(client.recv(100), b"world")
        client.close()
        far.close()
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertIn("Server Shut Down", out)
        self.assertNotIn("Traceback", out + err)
        [record] = [json.loads(line) for line in (self.folder / "access.log").read_text("utf-8").splitlines()]
        self.assertEqual(
            {name: record[name] for name in ("service", "server", "bytes_in", "bytes_out", "reason")},
            {"service": "relay", "server": "a", "bytes_in": 5, "bytes_out": 5, "reason": "client closed"},
        )
        self.assertRegex(record["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertRegex(record["client"], r"^127\.0\.0\.1:\d+$")
        self.assertLessEqual({"persistence", "connect_ms", "total_ms"}, set(record))

    def test_second_signal(self) -> None:
        """SIGTERM once more does not wait for anybody."""
        process, port = self.running(self.configure(grace="10m"))
        client, _ = self.client(port)
        process.send_signal(signal.SIGTERM)
        self.until(process, r"relay waits up to 600 s for 1 connections")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assertNotIn("Traceback", out + err)
        self.assertIn('"reason":"stopped at once"', (self.folder / "access.log").read_text("utf-8"))
        client.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(client.recv(100), b"")

    def test_grace(self) -> None:
        """After `timeouts.grace` it ends by itself."""
        process, port = self.running(self.configure(grace="100ms"))
        self.client(port)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, -signal.SIGINT)

    def test_rotation(self) -> None:
        """SIGHUP opens the logs again; those on standard output stay there."""
        process, port = self.running(self.configure(more="event-log: stdout\n"))
        (self.folder / "access.log").rename(self.folder / "access.log.1")
        process.send_signal(signal.SIGHUP)
        self.until(process, r"SIGHUP: the logs were reopened")
        client, far = self.client(port)
        client.close()
        self.assertEqual(far.recv(100), b"")
        far.close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertNotIn("Traceback", out + err)
        self.assertEqual((self.folder / "access.log.1").read_text("utf-8"), "")
        self.assertIn('"bytes_in":5', (self.folder / "access.log").read_text("utf-8"))

    def test_rotation_that_fails(self) -> None:
        """Where a log cannot be opened SIGHUP says so, and the old file is written to the end."""
        process, port = self.running(self.configure())
        (self.folder / "access.log").rename(self.folder / "access.log.1")
        (self.folder / "access.log").mkdir()
        process.send_signal(signal.SIGHUP)
        self.until(process, r"a log cannot be opened again: (.*\n)*.*SIGHUP: a log was NOT reopened")
        client, far = self.client(port)
        client.close()
        self.assertEqual(far.recv(100), b"")
        far.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        self.assertIn('"bytes_in":5', (self.folder / "access.log.1").read_text("utf-8"))

    def test_daemon(self) -> None:
        """As a daemon, from another folder: the configuration's path may be relative, a pid file is kept."""
        self.configure()
        away = folder(self)
        pidfile, logfile = away / "exproxy.pid", away / "exproxy.log"
        starter = self.begin(
            f"--pidfile={pidfile}",
            f"--logfile={logfile}",
            f"--rundir={away}",
            "exproxy",
            "-c",
            "exproxy.yaml",
        )
        out, err = starter.communicate(timeout=PATIENCE)
        self.assertEqual((starter.returncode, out, err), (0, "", ""))
        self._wait(lambda: logfile.exists() and "listens on" in logfile.read_text())
        pid = int(pidfile.read_text())
        try:
            port = int(re.findall(r"listens on 127\.0\.0\.1:(\d+)", logfile.read_text())[0])
            client, far = self.client(port)
            client.close()
            self.assertEqual(far.recv(100), b"")
            far.close()
            os.kill(pid, signal.SIGTERM)
            self._wait(lambda: not alive(pid))
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.assertFalse(pidfile.exists())
        self.assertNotIn("Traceback", logfile.read_text())
        self.assertIn('"reason":"client closed"', (self.folder / "access.log").read_text("utf-8"))

    def _wait(self, condition: object) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():  # type: ignore[operator]
            self.assertLess(time.monotonic(), end, "it takes too long")
            time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody has looked after yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
