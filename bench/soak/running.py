"""One soak: all is started, each kind of client comes once, the load goes on, what is left is seen."""

from __future__ import annotations

import json
import random
import signal
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.soak import faults, looking
from bench.soak.children import Child, Exproxy
from bench.soak.faults import KILL, STOP, Fault
from bench.soak.judging import left
from bench.soak.line import Cut, dial
from bench.soak.logs import AccessLog
from bench.soak.looking import Blind, View
from bench.soak.site import POOLS, PORTS, WAITS, Site, configuration
from bench.worker import Failed

INSIDE = Path(__file__).parent / "inside"
_STARTING = 30.0
# Seconds for all that is under way when the load stops, for exproxy to be as it was before, and to end.
STOPPING = max(WAITS.values()) + 25.0
SETTLING = max(WAITS.values()) + 30.0
_ENDING = WAITS["grace"] + 20.0
# Seconds between samples of memory, between rotations of the access log, and for each kind to be done once.
SAMPLE, _ROTATE, _EACH = 5.0, 20.0, 120.0
# Views that are taken of a quiet exproxy, and seconds from one to the next: checks come and go.
_VIEWS, _BETWEEN = 8, 0.3


@dataclass
class Findings:
    """What was seen."""

    before: View = field(default_factory=View)
    after: View = field(default_factory=View)
    settled: float = 0.0
    began: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    # The end of a fault in truth may come later than the plan has it.
    happened: list[Fault] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    warming: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    # Seconds since the load's begin, and bytes: resident, and in use of these.
    memory: list[tuple[float, int]] = field(default_factory=list)
    allocated: list[tuple[float, int]] = field(default_factory=list)
    processes: int = 0
    code: int | None = None
    stray: list[int] = field(default_factory=list)


class Soak:
    """See the module. ``say`` hears what goes on."""

    def __init__(self, site: Site, seed: int, say: Callable[[str], None], only: Sequence[str] = ()) -> None:
        self._site = site
        self._seed = seed
        self._only = list(only)
        self._dice = random.Random(seed)
        self._say = say
        self.found = Findings()
        self.output = site.folder / "output"
        self.access_log = AccessLog(site.folder / "access.log")
        self._inside = site.folder / "i"
        self._inside.mkdir()
        self._servers: dict[str, Child] = {}
        self._clients: Child | None = None
        self._exproxy: Exproxy | None = None
        self._pids: set[int] = set()

    # -- begin and end ---------------------------------------------------------------

    def start(self) -> None:
        """Servers, exproxy, clients. Raises Failed."""
        site = self._site
        for name in [name for names in POOLS.values() for name in names]:
            about = {"name": name, "host": site.server(name), "certificate": str(site.pem)}
            self._servers[name] = Child("bench.soak.servers", about)
        for child in self._servers.values():
            child.ready()
        file = site.folder / "exproxy.yaml"
        file.write_text(configuration(site))
        twistd = Path(sysconfig.get_path("scripts"), "twistd")
        environment = {"PYTHONPATH": str(INSIDE), "EXPROXY_SOAK_INSIDE": str(self._inside)}
        self._exproxy = Exproxy(twistd, file, self.output, environment)
        about = {
            "folder": str(site.folder),
            "network": site.network,
            "ca": str(site.ca),
            "pem": str(site.pem),
        }
        self._clients = Child("bench.soak.clients", {**about, "seed": self._seed, "only": self._only})
        self._until_served()

    def _until_served(self) -> None:
        end = time.monotonic() + _STARTING
        for pool in POOLS:
            for port in ("tcp", "http"):
                while not self._served(pool, port):
                    self.check()
                    if time.monotonic() > end:
                        raise Failed(f"exproxy does not serve: {self.last_words()}")
                    time.sleep(0.1)

    def _served(self, pool: str, port: str) -> bool:
        asks = {"tcp": b"ECHO 1\n", "http": b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}
        try:
            with dial((self._site.front(pool), PORTS[port]), patience=3.0) as line:
                line.send(asks[port])
                return b" 503 " not in line.line()
        except Cut:
            return False

    def check(self) -> None:
        """Raises Failed where exproxy or the clients have ended."""
        if self._exproxy is None or self._exproxy.code is not None:
            raise Failed(f"exproxy has ended: {self.last_words()}")

    def last_words(self) -> str:
        """The end of exproxy's log."""
        return " / ".join(self.output.read_text(errors="replace").splitlines()[-4:])[-600:]

    def close(self) -> None:
        """End everything, whatever state it is in."""
        if self._clients is not None:
            self._clients.kill()
        if self._exproxy is not None:
            self._exproxy.end(1.0 if self.found.code is None else 0.1)
        for child in self._servers.values():
            child.kill()

    # -- the parts of a run ----------------------------------------------------------

    def warm(self) -> None:
        """Each kind of client once, then the look before. Raises Failed and Blind."""
        self._order({"do": "each"})
        self._hear(_EACH, self.found.warming)
        self.found.before = self._quiet(lambda view: not any(view.sessions.values()), first=True)
        self.found.processes = len(self._now())

    def load(self, clients: int, plan: list[Fault], seconds: float) -> None:
        """The load under the faults. Raises Failed."""
        found = self.found
        found.faults, found.began = plan, time.monotonic()
        self._order({"do": "load", "clients": clients})
        turns, sample, rotate = list(faults.turns(plan)), 0.0, _ROTATE
        while (now := time.monotonic() - found.began) < seconds:
            self.check()
            while turns and turns[0][0] <= now:
                _, begins, fault = turns.pop(0)
                self._turn(fault, begins, now)
            if now >= sample:
                pids = self._now()
                found.memory.append((now, looking.memory(pids)))
                found.allocated.append((now, looking.allocated(pids, self._inside)))
                sample += SAMPLE
            if now >= rotate:
                self._rotate()
                rotate += _ROTATE
            self._listen(min(0.1, max(0.0, seconds - now)))

    def stop(self) -> None:
        """No more load; then the look after. Raises Failed and Blind."""
        self._order({"do": "stop", "seconds": STOPPING})
        self.found.counts = self._hear(STOPPING + 10.0, self.found.outcomes)
        assert self._clients is not None
        self._clients.kill()
        began = time.monotonic()
        self.found.after = self._quiet(lambda view: not left(self.found.before, view))
        self.found.settled = time.monotonic() - began

    def finish(self) -> None:
        """SIGTERM, and nobody is left."""
        assert self._exproxy is not None
        known = self._now()
        self.found.code = self._exproxy.end(_ENDING)
        self.found.stray = [pid for pid in known if Path(f"/proc/{pid}").exists()]
        self.access_log.finish()

    # -- inside ----------------------------------------------------------------------

    def _order(self, order: dict[str, Any]) -> None:
        assert self._clients is not None
        self._clients.say(json.dumps(order))

    def _hear(self, seconds: float, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
        """Until the order is done."""
        assert self._clients is not None
        for said in self._clients.heard(seconds):
            if "done" in said:
                return said
            self._told(said, outcomes)
        raise Failed("the clients do not come to an end")

    def _listen(self, seconds: float) -> None:
        assert self._clients is not None
        for said in self._clients.heard(seconds):
            self._told(said, self.found.outcomes)

    def _told(self, outcome: dict[str, Any], outcomes: list[dict[str, Any]]) -> None:
        outcomes.append(outcome)
        self.access_log.wanted[outcome["client"]] = []

    def _now(self) -> list[int]:
        assert self._exproxy is not None
        return looking.processes(self._exproxy.pid)

    def _quiet(self, calm: Callable[[View], bool], first: bool = False) -> View:
        """Several views, until it is calm or the time is over; what was in all of them."""
        end = time.monotonic() + SETTLING
        least: View | None = None
        most = View()
        taken = 0
        while taken < _VIEWS or (not calm(least or View()) and time.monotonic() < end):
            self.check()
            seen = looking.view(self._now(), self._inside)
            least = seen if least is None else least.least(seen)
            most = most.most(seen)
            taken += 1
            # Not in step with the checks, which come once a second.
            time.sleep(self._dice.uniform(0.5, 1.5) * _BETWEEN)
        assert least is not None
        # A timer and a check under way take turns, so there is no least number of timers.
        return replace(least, timers=most.timers) if first else least

    def _rotate(self) -> None:
        assert self._exproxy is not None
        self.access_log.rotate()
        self._exproxy.hang_up()

    def _turn(self, fault: Fault, begins: bool, now: float) -> None:
        """Begin or end it."""
        child = self._servers[fault.server]
        self._say(f"{now:7.1f} s  {fault.server} {fault.what} {'begins' if begins else 'ends'}")
        if fault.what == STOP:
            child.signal(signal.SIGSTOP if begins else signal.SIGCONT)
        elif fault.what == KILL and begins:
            child.kill()
        elif fault.what == KILL:
            child.again()
            child.ready()
        else:
            child.say(fault.what if begins else "well")
        if not begins:
            late = time.monotonic() - self.found.began
            self.found.happened.append(Fault(fault.what, fault.server, fault.begin, max(late, fault.end)))


__all__ = ["Blind", "Failed", "Findings", "Soak"]
