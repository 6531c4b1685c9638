"""etc/admin.yaml as it stands in the tree: started, and operated the way its comments say."""

from __future__ import annotations

import json
import subprocess
import urllib.request

from tests.loopback.test_ctl import CTL, TwistdCase
from tests.loopback.twistd import PATIENCE, ROOT


class ExampleTests(TwistdCase):
    """One process, with the lab's servers in it."""

    def test_example(self) -> None:
        """The page's address answers, metrics are there, and a server is drained and brought back."""
        (self.folder / "etc").mkdir()
        text = (ROOT / "etc" / "admin.yaml").read_text()
        file = self.folder / "etc" / "admin.yaml"
        file.write_text(text.replace("access-log: stdout", "access-log: false"))
        process = self.begin("-n", "--pidfile=", "exproxy", "-c", file)
        self.until(process, "exproxyctl finds this process")
        metrics = self.get("/metrics").decode()
        self.assertIn('exproxy_server_usable{proxy="https",server="a15ex1"} 1.0', metrics)
        self.assertEqual(self.ctl("drain", "a15ex1", "--reason", "updates", "--wait"), 0)
        server = json.loads(self.get("/api/v1/servers/a15ex1"))
        self.assertEqual(server["operator"]["reason"], "updates")
        self.assertEqual(self.ctl("ready", "a15ex1"), 0)
        self.assertEqual(self.ctl("explain", "https", "--from", "192.0.2.7", "--path", "/owa/"), 0)

    def get(self, path: str) -> bytes:
        """What stands there."""
        with urllib.request.urlopen(f"http://127.0.0.1:8404{path}", timeout=PATIENCE) as answer:
            return bytes(answer.read())

    def ctl(self, *arguments: str) -> int:
        """The exit code of exproxyctl, which finds the process by its configuration."""
        config = self.folder / "etc" / "admin.yaml"
        command = [*CTL, *arguments, "-c", str(config)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=PATIENCE).returncode
