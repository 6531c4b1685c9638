"""exproxyctl as people meet it: a process of its own, against a running exproxy."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.loopback.twistd import PATIENCE, ROOT, TwistdCase

CTL = (sys.executable, "-c", "from exproxy.ctl import main; main(prog_name='exproxyctl')")
TOKENS = """
admin:
  listen: {address: 127.0.0.1, port: 0}
  tokens:
    - {name: grafana, token: !file reader}
    - {name: anna, role: operate, token: !file operator}
"""


class CtlTests(TwistdCase):
    """One exproxy with one or two servers."""

    def serving(self, more: str = "") -> tuple[subprocess.Popen[str], int]:
        """Start it; its socket is in the folder."""
        for name in ("reader", "operator"):
            Path(self.folder, name).write_text(f"{name}-{name}-{name}\n")
        process = self.begin("-n", "--pidfile=", "exproxy", "-c", self.configure(more=more))
        found = self.until(process, r"(?s)relay listens on 127\.0\.0\.1:(\d+).*exproxyctl finds")
        return process, int(found[1])

    def ctl(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        done = subprocess.run(
            [*CTL, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            env=self.environment(**environment),
        )
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stdout, done.stderr

    def environment(self, **more: str) -> dict[str, str]:
        """That of exproxyctl: it knows where the socket is."""
        here = f"{self.folder}/state/exproxy.sock"
        return {**os.environ, "PYTHONPATH": str(ROOT), "EXPROXY_SOCKET": here, **more}

    def test_reading(self) -> None:
        """Every command that only looks works as a table, as JSON and as CSV."""
        self.serving()
        for command in (
            ("ping",), ("status",), ("show", "services"), ("show", "backends"), ("show", "servers"),
            ("show", "groups"), ("show", "certificates"), ("sessions", "list"),
            ("persistence", "find", "relay"), ("events",), ("explain", "relay", "--from", "192.0.2.7"),
        ):  # fmt: skip
            for form in ("table", "json", "csv"):
                code, out, err = self.ctl(*command, "-o", form)
                self.assertEqual((code, err), (0, ""), command)
                self.assertTrue(out, command)
                self.assertNotIn("\033", out)
                if form == "json":
                    json.loads(out)
        code, out, _ = self.ctl("show", "config", "-o", "json")
        self.assertEqual((code, list(json.loads(out)["services"])), (0, ["relay"]))
        self.assertIn("relay", self.ctl("top")[1])

    def test_operating(self) -> None:
        """A server is drained until it is empty, and brought back; the last usable one only by force."""
        _, port = self.serving()
        code, _, err = self.ctl("drain", "a")
        self.assertEqual(code, 1)
        self.assertIn("a is the last usable server of relay", err)
        self.assertIn("--force", err)
        client, far = self.client(port)
        waiting = subprocess.Popen(
            [*CTL, "drain", "a", "--force", "--wait", "--reason", "updates"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "EXPROXY_SOCKET": f"{self.folder}/state/exproxy.sock",
            },
        )
        self.addCleanup(self._over, waiting)
        assert waiting.stderr is not None
        self.assertIn("a: 1 left", waiting.stderr.readline())
        [backend] = json.loads(self.ctl("show", "backends", "-o", "json")[1])
        self.assertEqual((backend["state"], backend["operator"]["reason"]), ("DRAIN", "updates"))
        client.close()
        far.close()
        out, err = waiting.communicate(timeout=PATIENCE)
        self.assertEqual(waiting.returncode, 0)
        self.assertIn("a drains in relay; 1 connection left", out)
        self.assertIn("a: 0 left", err)
        self.assertEqual(self.ctl("ready", "relay/a")[0], 0)
        self.assertEqual(self.ctl("weight", "a", "7")[1], "a has weight 7 in relay\n")

    def test_cutting(self) -> None:
        """A session is found by its client and cut by its id."""
        _, port = self.serving()
        client, _ = self.client(port)
        [row] = json.loads(self.ctl("sessions", "list", "--client", "127.0.0.1", "-o", "json")[1])
        self.assertEqual(self.ctl("sessions", "kill", row["id"], "--reason", "test")[1], "1 connection cut\n")
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(client.recv(10), b"")
        code, _, err = self.ctl("sessions", "kill", row["id"])
        self.assertEqual(code, 1)
        self.assertIn("no session", err)
        self.assertEqual(self.ctl("sessions", "kill")[0], 2)

    def test_codes(self) -> None:
        """1 refused, 2 wrong usage, 3 no process, each with what to do."""
        self.serving()
        self.assertEqual(self.ctl("drain", "nobody")[0], 1)
        self.assertEqual(self.ctl("drain")[0], 2)
        self.assertEqual(self.ctl("weight", "a", "257")[0], 2)
        self.assertEqual(self.ctl("show", "backends", "-o", "xml")[0], 2)
        self.assertEqual(self.ctl("ping", EXPROXY_SOCKET="/nowhere/exproxy.sock")[0], 3)
        code, _, err = self.ctl("status", EXPROXY_SOCKET="/nowhere/exproxy.sock")
        self.assertEqual(code, 3)
        self.assertIn("/nowhere/exproxy.sock: No such file or directory", err)
        self.assertIn("systemctl status exproxy", err)
        self.assertEqual(self.ctl("status", "--url", "http://127.0.0.1:1", EXPROXY_SOCKET="")[0], 3)

    def test_tokens(self) -> None:
        """By URL a token from a file or the environment speaks, with its role; `ps` never has one."""
        process, _ = self.serving(TOKENS)
        port = self.urls_port()
        url = ("--url", f"http://127.0.0.1:{port}")
        none = {"EXPROXY_SOCKET": ""}
        code, _, err = self.ctl("status", *url, **none)
        self.assertEqual(code, 1)
        self.assertIn("EXPROXY_TOKEN", err)
        reader, operator = (
            ("--token-file", f"{self.folder}/reader"),
            ("--token-file", f"{self.folder}/operator"),
        )
        self.assertEqual(self.ctl("status", *url, *reader, **none)[0], 0)
        code, _, err = self.ctl("weight", "a", "2", *url, *reader, **none)
        self.assertEqual(code, 1)
        self.assertIn("grafana may look and not change anything", err)
        self.assertEqual(self.ctl("weight", "a", "2", *url, *operator, **none)[0], 0)
        word = "operator-operator-operator"
        self.assertEqual(self.ctl("weight", "a", "3", *url, **none, EXPROXY_TOKEN=word)[0], 0)
        self.assertEqual(self.ctl("show", "config", "-o", "json")[1].count(word), 0)
        self.assertNotIn(word.encode(), Path(f"/proc/{process.pid}/cmdline").read_bytes())
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=PATIENCE)[0]
        self.assertNotIn(word, log)

    def urls_port(self) -> int:
        """The administration's port, from what the log says of it."""
        events = json.loads(self.ctl("events", "-o", "json")[1])
        found = re.search(r"the administration listens on http://127\.0\.0\.1:(\d+)", json.dumps(events))
        assert found is not None
        return int(found[1])

    def test_events(self) -> None:
        """--follow goes on with what happens."""
        self.serving()
        follower = subprocess.Popen(
            [*CTL, "events", "--follow", "-n", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "EXPROXY_SOCKET": f"{self.folder}/state/exproxy.sock",
            },
        )
        self.addCleanup(self._over, follower)
        assert follower.stdout is not None
        follower.stdout.readline()
        self.ctl("weight", "a", "9")
        self.assertIn("weight", follower.stdout.readline())
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(PATIENCE), 0)

    def on_terminal(self, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
        """Start it on a terminal: the process, and the terminal's other end."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        environment = self.environment(TERM="xterm", COLUMNS="200", LINES="50")
        environment.pop("NO_COLOR", None)
        process = subprocess.Popen(
            [*CTL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.addCleanup(self._over, process)
        return process, master

    def seen(self, master: int, wanted: str) -> str:
        """What the terminal shows, until that is there."""
        data, end = b"", time.monotonic() + PATIENCE
        while time.monotonic() < end and wanted not in data.decode("utf-8", "replace"):
            if select.select([master], [], [], 0.2)[0]:
                try:
                    data += os.read(master, 65536)
                except OSError:
                    break
        text = data.decode("utf-8", "replace")
        self.assertIn(wanted, text)
        return text

    def test_top(self) -> None:
        """top draws on a screen of its own, with colour, and q leaves."""
        self.serving()
        process, master = self.on_terminal("top")
        text = self.seen(master, "relay/a")
        self.assertIn("\033[?1049h", text)
        self.assertIn("\033[32m", text)
        os.write(master, b"q")
        self.seen(master, "\033[?1049l")
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_confirmation(self) -> None:
        """On a terminal the last usable server is asked about: no leaves it, yes takes it out."""
        self.serving()
        for answer, code, wish in ((b"n\n", 1, None), (b"y\n", 0, "maint")):
            process, master = self.on_terminal("maint", "a")
            self.seen(master, "[y/N]")
            os.write(master, answer)
            self.assertEqual(process.wait(PATIENCE), code)
            [backend] = json.loads(self.ctl("show", "backends", "-o", "json")[1])
            self.assertEqual((backend["operator"] or {}).get("state"), wish)

    def test_completion(self) -> None:
        """The shell completes commands, and names of servers by asking."""
        self.serving()
        self.assertIn("_EXPROXYCTL_COMPLETE=bash_complete", self.ctl("completion", "bash")[1])
        words = {"_EXPROXYCTL_COMPLETE": "bash_complete", "COMP_CWORD": "1", "COMP_WORDS": "exproxyctl dra"}
        self.assertIn("drain", self.ctl(**words)[1])

    def test_stop(self) -> None:
        """While connections are waited for the administration answers; at the end its socket is gone."""
        process, port = self.serving()
        client, far = self.client(port)
        process.send_signal(signal.SIGTERM)
        self.until(process, "waits up to")
        self.assertTrue(json.loads(self.ctl("status", "-o", "json")[1])["process"]["draining"])
        self.assertEqual(self.ctl("ping")[:2], (0, "exproxy answers, and drains\n"))
        client.close()
        far.close()
        self.assertEqual(process.wait(PATIENCE), -signal.SIGTERM)
        self.assertFalse(Path(self.folder, "state", "exproxy.sock").exists())
