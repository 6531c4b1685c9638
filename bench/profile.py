"""What one kept-alive HTTP request costs exproxy itself, without the system's part, and where it goes.

    python -m bench.profile                  # µs for each request, then a table of functions
    python -m bench.profile --varied         # heads that differ from request to request, as Exchange's do
    python -m bench.profile --help

One session in this process, over connections that are none: what comes is handed to it, and what it writes
is compared. So the figure is that of Python alone, on any machine, and says what a change has done.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from bench.load.http import request
from bench.load.origin import page
from bench.load.pattern import PAGE
from exproxy.access_log import AccessLog
from exproxy.build import Builder
from exproxy.config import load
from exproxy.model import Destination, Source
from exproxy.persistence.keys import Secrets
from exproxy.relay import Sweep
from exproxy.session import Session
from exproxy.testing import FakeWire
from exproxy.virtual import Shared
from protocols.http.conversation import Conversation
from protocols.http.request_ids import RequestIds
from protocols.http.routing import Routing

_REQUESTS = 2_000
_ROUNDS = 25
# Targets that follow each other; one and the same would be too easy.
_TARGETS = 16
_PORT = 80
_CONFIGURATION = """\
state-dir: {folder}
access-log: {log}
servers: {{a: 192.0.2.11, b: 192.0.2.12}}
services:
  web:
    protocol: http
    listen: "127.0.0.1:{port}"
    backend: {{port: {port}}}
    check: connect
    persistence: {{super-http: {{secure: false}}}}
{routes}"""
_ROUTES = """\
    routes:
      ews: {path: /ews}
      owa: {path: /owa}
"""


class _Wire(FakeWire):
    """Hands on what comes as a real one does, and keeps only what was written last."""

    def write(self, data: bytes) -> None:
        """See IWire."""
        self.written = data

    def receive(self, data: bytes) -> None:
        """Bytes arrive."""
        assert self._user is not None
        self._user.received(self, data)


class _Clock(Clock):
    """The present time; nothing that is to come ever comes."""

    seconds = staticmethod(time.monotonic)


class Driver:
    """One session of one service, its client and its server."""

    def __init__(self, folder: Path, log: bool, routes: bool, varied: bool) -> None:
        file = folder / "exproxy.yaml"
        words = {"folder": folder, "log": folder / "access.log" if log else "false", "port": _PORT}
        file.write_text(_CONFIGURATION.format(routes=_ROUTES if routes else "", **words), encoding="utf-8")
        config, clock = load(file), _Clock()
        self.access_log = AccessLog(clock, config.access_log)
        self.access_log.open()
        shared = Shared(clock, Sweep(clock), self.access_log)
        [built] = Builder(config, shared, Secrets((b"bench",))).build()
        built.listening(next(iter(built.by_listen)), _PORT)
        self.service: Any = built.service
        self.service.connect = self._connect
        self.server = _Wire(Source("192.0.2.11", _PORT))
        self.client = _Wire(local=Destination("127.0.0.1", _PORT))
        conversation = Conversation(self.service, RequestIds(), Routing(self.service))
        self.session = Session(self.service, self.client, conversation)  # type: ignore[arg-type]  # a double
        self.session.begin()
        self._varied = varied
        self.client.receive(request(b"GET /owa/page", b"", b""))
        self.server.receive(page(PAGE) + PAGE)
        head, _, _ = self.client.written.partition(b"\r\n\r\n")
        self._cookie = head.partition(b"Set-Cookie: ")[2].partition(b";")[0]
        if not self._cookie:
            raise SystemExit(f"no cookie in {head!r}")

    def _connect(self, pool: Any, backend: Any, client: Any, caller: Any) -> None:
        caller.connected(self.server)

    def messages(self) -> list[tuple[bytes, bytes]]:
        """Requests with their answers."""
        made = []
        for number in range(_TARGETS):
            asked = request(b"GET /owa/page?n=%d" % number, b"", self._cookie)
            answer = page(PAGE)
            if self._varied:
                asked = asked.replace(b"\r\nAccept:", b"\r\nX-Correlation: %08x\r\nAccept:" % number)
                answer = answer.replace(b"\r\nDate:", b"\r\nrequest-id: %08x\r\nDate:" % number)
            made.append((asked, answer + PAGE))
        return made

    def drive(self, requests: int) -> float:
        """CPU seconds for so many of them."""
        messages = self.messages() * (requests // _TARGETS + 1)
        client, server = self.client, self.server
        begun = time.process_time()
        for asked, answer in messages[:requests]:
            client.receive(asked)
            server.receive(answer)
            if client.written[-4:] != answer[-4:]:
                raise SystemExit(f"not the answer: {client.written!r}")
        return time.process_time() - begun


def best(what: Callable[[], float], rounds: int) -> float:
    """The least of several rounds: whatever else the machine does only adds to it."""
    return min(what() for _ in range(rounds))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and show where it went."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.profile", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--requests", type=int, default=_REQUESTS, help=f"of a round; {_REQUESTS}")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"the best counts; {_ROUNDS}")
    parser.add_argument("--lines", type=int, default=40, help="of the table; 0: none")
    parser.add_argument(
        "--varied", action="store_true", help="each head has a field that the one before had not"
    )
    parser.add_argument("--routes", action="store_true", help="the service has routes")
    parser.add_argument("--log", action="store_true", help="with an access log")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="exproxy-profile-") as name:
        driver = Driver(Path(name), options.log, options.routes, options.varied)
        gc.collect()
        seconds = best(lambda: driver.drive(options.requests), options.rounds)
        print(f"{seconds / options.requests * 1e6:.2f} µs for each request, best of {options.rounds} rounds")
        if options.lines:
            profile = cProfile.Profile()
            profile.runcall(driver.drive, 10 * options.requests)
            pstats.Stats(profile, stream=sys.stdout).strip_dirs().sort_stats("tottime").print_stats(
                options.lines
            )
        driver.access_log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
