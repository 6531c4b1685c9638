"""exproxy itself with the administration of etc/admin.yaml and the simulated servers in it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_EXAMPLE = Path(__file__).parents[2] / "etc" / "admin.yaml"
_PORTS = (8404, 8407, 8443, 8143, 9445, 9144)


def free_ports(count: int) -> list[int]:
    """So many, free on all loopback addresses a moment ago, and none of them ephemeral."""
    found: list[int] = []
    for port in range(7000 + time.time_ns() // 1000 % 900, 8000):
        with ExitStack() as stack:
            try:
                for host in ("127.0.0.1", "127.0.0.15", "127.0.0.16"):
                    listening = stack.enter_context(socket.socket())
                    listening.bind((host, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found


class Running:
    """``twistd exproxy`` in a folder. ``url``: its dashboard."""

    def __init__(self, folder: Path) -> None:
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        text = _EXAMPLE.read_text("utf-8").replace("../demo", str(folder / "state"))
        for old, new in ports.items():
            text = text.replace(str(old), str(new))
        file = folder / "admin.yaml"
        file.write_text(text, "utf-8")
        self.url = f"http://127.0.0.1:{ports[8404]}/"
        self._control = f"http://127.0.0.1:{ports[8407]}"
        self._log = folder / "twistd.log"
        twistd = Path(sysconfig.get_path("scripts"), "twistd")
        argv = [sys.executable, str(twistd), "-n", "--pidfile=", "exproxy", "-c", str(file)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    def wait(self) -> None:
        """Until it is ready and its servers are UP."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if all(server["state"] == "UP" for server in self.api("servers")):
                    return
            except OSError:
                pass
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def api(self, path: str) -> Any:
        """What the API says."""
        with urllib.request.urlopen(f"{self.url}api/v1/{path}", timeout=20) as answer:
            return json.load(answer)

    def lab(self, command: str) -> None:
        """``SERVER/SERVICE/MODE``: have a simulated server ill, or ``ok``."""
        request = urllib.request.Request(f"{self._control}/{command}", method="POST")
        with urllib.request.urlopen(request, timeout=20):
            pass

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text("utf-8", "replace")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
