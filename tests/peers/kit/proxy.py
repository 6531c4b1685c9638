"""exproxy under twistd, with the interpreter of the tests, in the servers' namespace."""

from __future__ import annotations

import json
import re
import signal
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .netns import Endpoint
from .process import Process
from .server import PUBLIC
from .site import PROXY, SERVERS, Site

_REFERENCE = Path(__file__).parents[3] / "etc" / "exchange.yaml"
_FAST = "{interval: 500ms, timeout: 400ms, rise: 2, fall: 3}"


def reference(site: Site, *, health: str = _FAST) -> str:
    """etc/exchange.yaml for `site`: other addresses and certificates, `health` everywhere, same ports."""
    text = _REFERENCE.read_text()
    for number, address in enumerate(SERVERS.values(), 11):
        text = text.replace(f"192.168.2.{number}", address)
    text = re.sub(r"(?<=listen: )(\[[\d, ]+\]|\d+)", _on_loopback, text)
    text = text.replace(f"{PUBLIC}.pem", str(site.places["ex1"].pem))
    text = text.replace("ca.pem", str(site.authority.ca))
    text = re.sub(r"(?m)^( +health: ).*$", rf"\g<1>{health}", text)
    return text.replace("\ndefaults:\n", f"\ndefaults:\n  health: {health}\n")


def _on_loopback(ports: re.Match[str]) -> str:
    return re.sub(r"\d+", rf'"{PROXY}:\g<0>"', ports[0])


class Exproxy(Process):
    """`twistd -n exproxy -c FILE` in a folder of its own; it is stopped with the site at the latest.

    Its log_text() has twistd's log and whatever it wrote to stdout and stderr; records() its access log.
    """

    def __init__(self, site: Site, text: str, *, ready: Iterable[Endpoint] | None = None) -> None:
        """`text`: the configuration; `ready`: where it must listen (all its 127.0.0.1:PORT)."""
        folder = site.new_folder("exproxy")
        self.configuration = folder / "exproxy.yaml"
        self._access_log = folder / "access.json"
        if ready is None:
            ready = [(PROXY, int(port)) for port in re.findall(rf"{re.escape(PROXY)}:(\d+)", text)]
        twistd = Path(sysconfig.get_path("scripts"), "twistd")
        argv = [sys.executable, str(twistd), "-n", "--pidfile=", "exproxy", "-c", str(self.configuration)]
        super().__init__(site.namespace, "exproxy", argv, folder, ready, extra={"PYTHONUNBUFFERED": "1"})
        kept = f"state-dir: {folder / 'state'}\naccess-log: {self._access_log}\n"
        self.configuration.write_text(f"{kept}{text}")
        site.adopt(self)

    def wait(self, patience: float = 10.0) -> None:
        """Wait until it listens and would also end in good order: it binds before it minds signals."""
        super().wait(patience)
        deadline = time.monotonic() + patience
        while not self._catches(signal.SIGTERM):
            self._assert_running()
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not run:\n{self.log_tail()}")
            time.sleep(0.01)

    def _catches(self, number: int) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        caught = re.search(r"(?m)^SigCgt:\s*(\w+)$", status)
        return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)

    def records(self) -> list[dict[str, Any]]:
        """The access log so far, oldest first."""
        if not self._access_log.exists():
            return []
        lines = self._access_log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def await_access(
        self, wanted: Callable[[dict[str, Any]], bool], count: int, patience: float = 10.0
    ) -> list[dict[str, Any]]:
        """The records for which ``wanted`` holds, once there are ``count`` of them."""
        deadline = time.monotonic() + patience
        while True:
            found = [record for record in self.records() if wanted(record)]
            if len(found) >= count:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(found)} of {count} records:\n{self.log_tail()}")
            time.sleep(0.02)
