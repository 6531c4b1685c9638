"""What ``make demo`` runs, etc/lab.yaml with its ports, and every command that it says to try."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.peers.kit.case import PeerCase
from tests.peers.kit.netns import Done
from tests.peers.kit.proxy import Exproxy

_LAB = Path(__file__).parents[2] / "etc" / "lab.yaml"
# A client, its service, and how often each server had it.
_ROW = re.compile(r"(?m)^([a-z]+(?:-[123])?) +([a-z]+) +(?:\[[^]]*\] )?(\d+) +(?:\[[^]]*\] )?(\d+)  l12ex")
# What somebody at the terminal says in the end; with it the server closes.
_FAREWELLS = {
    "9993": "a LOGOUT\n",
    "9995": "QUIT\n",
    "-starttls imap": "a LOGOUT\n",
    "-starttls smtp": "QUIT\n",
}
PATIENCE = 15.0


class DemoTests(PeerCase):
    """In the namespace, where nobody else has the demonstration's ports."""

    needs = ("curl", "openssl")

    def setUp(self) -> None:
        super().setUp()
        text = re.sub(r"(?m)^(state-dir|access-log): .*$", "", _LAB.read_text())
        self.demo = Exproxy(self.site, text.replace("../demo", "demo"))
        self.demo.argv.insert(self.demo.argv.index("exproxy") + 1, "--demo")
        self.demo.start()
        self.addCleanup(self.demo.stop)
        self.demo.await_log("curl -s http://127.0.0.1:8405/")

    def hints(self) -> list[str]:
        """The commands that it prints, without the remarks behind them."""
        lines = re.findall(r"(?m)^  ((?:curl|openssl) .*)$", self.demo.log_text())
        return [re.sub(r"\s+# .*", "", line) for line in lines]

    def tried(self, command: str) -> Done:
        """A command as it is typed in the demonstration's folder."""
        text = next((said for part, said in _FAREWELLS.items() if part in command), "")
        folder = self.demo.folder
        argv = ["sh", "-c", f"cd {shlex.quote(str(folder))} && exec {command}"]
        done = self.site.namespace.run(argv, text=text, timeout=PATIENCE)
        self.assertEqual(done.code, 0, (command, done))
        return done

    def test_what_it_says(self) -> None:
        """Each hint works as it is printed, each client is served, and a stopped service is told."""
        (self.demo.folder / "README.md").write_text("Subject: from a hint\n\nhello\n")
        hints = self.hints()
        self.assertEqual(len(hints), 13, hints)
        for command in hints:
            said = self.tried(command).out
            if "9443" in command:
                self.assertRegex(said, r"l12ex[12]")
            elif command.startswith("openssl"):
                self.assertRegex(said, r"OK|221 ")
        browser = next(command for command in hints if "jar" in command)
        self.assertNotIn("Set-Cookie", self.tried(browser).out)
        # The clients begin one after the other, this one last.
        self.demo.await_access(lambda record: record["service"] == "pops" and record["server"], 2)
        self.tried("curl -s -X POST http://127.0.0.1:8405/l12ex2/pop/stop")
        self.demo.await_log("Server pop/l12ex2 is DOWN, reason: Layer4 connection problem")
        self.assertIn(self.demo.stop(), (0, -15, 143))
        text = self.demo.log_text()
        self.assertNotIn("Traceback", text)
        # Without a terminal the table comes once, at the end.
        rows = _ROW.findall(text)
        self.assertEqual(len(rows), 18, text[-3000:])
        self.assertEqual([row for row in rows if row[2] == row[3] == "0"], [])
