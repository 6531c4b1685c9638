"""The proxies that are compared: found, configured, started, watched, ended."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import configurations, machine
from bench.configurations import PORTS, SERVED, STREAMS, TLS, Site
from bench.figures import OURS, WORKERS
from bench.worker import Failed, Worker, end

MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"))
"""Where distributions put nginx's modules."""
_STARTING = 20.0
# Thousands of TLS connections take their time on a machine that does something else as well.
_PREPARING = 240.0
# splice-auto takes its time to find out that a stream is one.
_SPLICE = ("option splice-request", "option splice-response")
_ALL = frozenset(PORTS) - {"https"}


@dataclass(frozen=True, slots=True)
class Peer:
    """One way of running one proxy. ``missing``: why it takes no part, or not in all; ``workers``: how many
    processes it starts that carry traffic."""

    name: str
    version: str = ""
    argv: tuple[str, ...] = ()
    write: Callable[[Site], str] = configurations.exproxy
    services: frozenset[str] = _ALL
    tuned: bool = False
    missing: str = ""
    workers: int = 0


def peers(modules: tuple[Path, ...] = MODULES) -> list[Peer]:
    """All that there could be, the missing ones too."""
    twistd = str(Path(sysconfig.get_path("scripts"), "twistd"))
    argv = (sys.executable, twistd, "-n", "--pidfile=", "exproxy", "-c")
    number = version("exproxy")
    several = Peer(
        WORKERS, number, argv, lambda site: f"workers: 2\n{configurations.exproxy(site)}", workers=2
    )
    return [Peer(OURS, number, argv), *_haproxies(), _nginx(modules), several]


def _haproxies() -> list[Peer]:
    number = _version(["haproxy", "-v"], r"version ([\d.]+)")
    missing = "" if number else "haproxy is not installed"
    ways = (
        ("haproxy", configurations.haproxy),
        ("haproxy 256k", lambda site: configurations.haproxy(site, tuning="tune.bufsize 262144")),
        ("haproxy splice", lambda site: configurations.haproxy(site, options=_SPLICE)),
    )
    argv = ("haproxy", "-db", "-f")
    return [Peer(name, number, argv, write, tuned=name != "haproxy", missing=missing) for name, write in ways]


def _nginx(modules: tuple[Path, ...]) -> Peer:
    number = _version(["nginx", "-v"], r"nginx/([\d.]+)")
    if not number:
        return Peer("nginx", missing="nginx is not installed")
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=False, timeout=10).stderr
    built_in = re.search(r"--with-stream(?=\s|$)", built) is not None
    found = [path for folder in modules if (path := folder / "ngx_stream_module.so").exists()]
    stream = found[0] if found and not built_in else None
    able = built_in or stream is not None
    return Peer(
        "nginx",
        number,
        ("nginx", "-e", "stderr", "-c"),
        lambda site: configurations.nginx(site, stream, built_in),
        services=_ALL if able else _ALL - set(STREAMS),
        missing="" if able else "nginx has no stream module (Debian: libnginx-mod-stream): HTTP only",
    )


def _version(argv: list[str], pattern: str) -> str:
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "?"


class Running:
    """One peer at work: its process, its server, its clients. Addresses: 127.0.41.N and 127.0.42.N."""

    def __init__(self, peer: Peer, site: Site, cores: machine.Cores) -> None:
        self.peer = peer
        self._site = site
        self._cores = cores
        self._process: subprocess.Popen[bytes] | None = None
        ports = {service: PORTS[service] for service in SERVED}
        order = {"host": site.origin, "ports": ports, "certificate": str(site.certificates["ec"])}
        self._origin = Worker("bench.load.origin", cores.load, json.dumps(order))
        self._clients = Worker("bench.load", cores.load)
        self._origin.hear(_STARTING)
        site.folder.mkdir(parents=True, exist_ok=True)
        self._file = site.folder / "configuration"
        self._file.write_text(peer.write(site))
        self._output = site.folder / "output"

    @property
    def clients(self) -> Worker:
        """The clients' process; another one where the last one was lost."""
        if self._clients.lost:
            self._clients.close()
            self._clients = Worker("bench.load", self._cores.load)
        return self._clients

    @property
    def alive(self) -> bool:
        """Whether the proxy's process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The proxy's process; raises Failed when it has ended."""
        if self._process is None or not self.alive:
            raise Failed(f"{self.peer.name} is not running: {self.said()}")
        return self._process.pid

    def start(self) -> None:
        """A new process; ``ready`` waits for it."""
        self.stop()
        core = self._cores.proxy
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [*self.peer.argv, str(self._file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._site.folder,
                preexec_fn=lambda: machine.bound_child(core),
            )

    def ready(self) -> None:
        """Until bytes go through each service once; raises Failed."""
        until = time.monotonic() + _STARTING
        for kind, options in self._probes():
            while True:
                try:
                    self.prepare(kind, {"connections": 1, **options})
                    self.close_load()
                    break
                except Failed as failed:
                    if time.monotonic() > until:
                        raise Failed(f"{self.peer.name} does not serve: {failed}; {self.said()}") from None
                    _ = self.pid
                    time.sleep(0.05)

        self._settle(until)

    def _settle(self, until: float) -> None:
        """One process more is got ready once the workers serve: that is no traffic's cost."""
        while self.peer.workers and time.monotonic() < until:
            before, _ = machine.usage(self.pid)
            time.sleep(0.3)
            after, _ = machine.usage(self.pid)
            if len(machine.family(self.pid)) == self.peer.workers + 2 and after - before < 0.03:
                break

    def _probes(self) -> list[tuple[str, dict[str, object]]]:
        probes: list[tuple[str, dict[str, object]]] = []
        if "echo" in self.peer.services:
            probes.append(("ping-pong", {}))
        for service in ("http", *TLS):
            probes.append(("keep-alive", {"service": service, "what": "page", "tls": service in TLS}))
        return probes

    def prepare(self, kind: str, options: dict[str, object]) -> int:
        """Make a load's connections; how many there are. Raises Failed."""
        order = {"do": "prepare", "kind": kind, "host": self._site.host, "ports": PORTS, "options": options}
        return int(self.clients.ask(order, _PREPARING)["connections"])

    def close_load(self) -> None:
        """Close the load's connections."""
        self.clients.ask({"do": "close"}, 30.0)

    def said(self) -> str:
        """The last lines that the proxy wrote."""
        lines = self._output.read_text(errors="replace").strip().splitlines()[-3:]
        return " / ".join(lines)[-400:] or "it said nothing"

    def stop(self) -> None:
        """End the proxy's process."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(1.0)
            except subprocess.TimeoutExpired:
                # exproxy waits for connections that are still there, and not after a second word.
                end(process)

    def close(self) -> None:
        """End everything."""
        self.stop()
        self._clients.close()
        self._origin.close()
