"""The corpus of tests/http/corpus through exproxy, HAProxy and nginx, side by side.

    python -m bench.corpus            # from the root of a checkout; haproxy and nginx are Debian packages
    python -m bench.corpus --cases    # also each case that somebody treats otherwise than exproxy

Everything runs on 127.0.0.1, ports 9480 to 9483, and ends with the tool. The tables are Markdown.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from tests.http.corpus import Case, answers, suites
from tests.http.corpus.answering import Right, play_answer
from tests.http.corpus.replay import Expected, Outcome, Server, misread, play

SERVER, HAPROXY, NGINX, EXPROXY = 9480, 9481, 9482, 9483
# Seconds of silence after which a proxy is taken to have nothing more to say.
_QUIET = 0.5

REFUSED = "refused"
CLEANED = "cleaned"
MALFORMED = "malformed"
DIFFERENT = "different"
SERVED = "served"
NOT_SERVED = "not served"
_COLUMNS = (REFUSED, CLEANED, MALFORMED, DIFFERENT, SERVED, NOT_SERVED)

_HAPROXY = """\
global
  maxconn 1000
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout http-request 10s
frontend web
  bind 127.0.0.1:{port}
  http-request set-header X-Forwarded-For %[src]
  default_backend servers
backend servers
  http-reuse never
  server a 127.0.0.1:{server}
"""
_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{server};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"""
_EXPROXY = """\
state-dir: {folder}
access-log: {folder}/access.log
servers: {{a: 127.0.0.1}}
services:
  web:
    protocol: http
    listen: "127.0.0.1:{port}"
    backend: {{port: {server}}}
    persistence: none
    check: connect
    health: {{interval: 1h}}
"""
_STRICT_ANSWER = re.compile(
    rb"(?:HTTP/1\.[01] 1[0-9][0-9][^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)*"
    rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [\t -~\x80-\xff]*)?\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*\r\n"
)


def of_request(case: Case, outcome: Outcome) -> str:
    """What became of a request: one of the columns."""
    expected = Expected.of(case)
    wanted = [(method, body) for method, _, body in expected.served]
    if expected.goes_on:
        wanted.append(("GET", b""))
    seen = [(request.method, request.body) for request in outcome.seen]
    complaints = misread(outcome)
    if any("nobody forwarded" in complaint or " reads " in complaint for complaint in complaints):
        return DIFFERENT
    if complaints:
        return MALFORMED
    if expected.refused:
        return REFUSED if seen == wanted else CLEANED
    return SERVED if seen == wanted else NOT_SERVED


def of_answer(case: Case, outcome: Outcome) -> str:
    """What became of an answer: one of the columns."""
    right = Right.of(case)
    got = outcome.answers
    if len(got) > 1 and got[1][1] != b"GET /probe 0":
        return DIFFERENT
    broken = not got or not got[0][2] or got[0][0] in (500, 502, 503, 504)
    if right.refused or not right.whole:
        if broken and (not outcome.heard or _STRICT_ANSWER.match(outcome.heard)):
            return REFUSED
        return CLEANED if _STRICT_ANSWER.match(outcome.heard) else MALFORMED
    return SERVED if got and got[0] == (right.status, right.body, True) else NOT_SERVED


class Proxies:
    """The three, started and ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        self.ports = {"exproxy": EXPROXY}
        self._start(self._file("exproxy.yaml", _EXPROXY, EXPROXY), *self._twistd())
        if shutil.which("haproxy"):
            self.ports["HAProxy"] = HAPROXY
            self._start(self._file("haproxy.cfg", _HAPROXY, HAPROXY), "haproxy", "-db", "-f")
        if shutil.which("nginx"):
            self.ports["nginx"] = NGINX
            self._start(self._file("nginx.conf", _NGINX, NGINX), "nginx", "-e", "stderr", "-c")
        for port in self.ports.values():
            await_port(port)

    def _twistd(self) -> list[str]:
        twistd = str(Path(sysconfig.get_path("scripts"), "twistd"))
        return [sys.executable, twistd, "-n", "--pidfile=", "exproxy", "-c"]

    def _file(self, name: str, text: str, port: int) -> str:
        path = self._folder / name
        path.write_text(text.format(folder=self._folder, port=port, server=SERVER))
        return str(path)

    def _start(self, configuration: str, *argv: str) -> None:
        with (self._folder / "output").open("ab") as output:
            started = subprocess.Popen(
                [*argv, configuration], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._running.append(started)

    def close(self) -> None:
        """End them."""
        for one in self._running:
            one.terminate()
        for one in self._running:
            one.wait(10)


def await_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def versions() -> str:
    """Who takes part."""
    haproxy = _first(["haproxy", "-v"], r"version ([\d.]+)")
    nginx = _first(["nginx", "-v"], r"nginx/([\d.]+)")
    return f"exproxy {version('exproxy')}, HAProxy {haproxy}, nginx {nginx}, h11 {version('h11')}, " + (
        f"httptools {version('httptools')}"
    )


def _first(argv: list[str], pattern: str) -> str:
    if shutil.which(argv[0]) is None:
        return "not installed"
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "?"


def run(server: Server, ports: dict[str, int]) -> dict[str, dict[tuple[str, str], str]]:
    """For each proxy, what became of each case."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    for name, port in ports.items():
        verdicts = found[name] = {}
        server.script = None
        for suite, cases in suites().items():
            for case in cases:
                verdicts[suite, case.name] = of_request(case, play(case, server, port, quiet=_QUIET))
        for case in answers():
            outcome = play_answer(case, server, port, quiet=_QUIET)
            verdicts[case.suite, case.name] = of_answer(case, outcome)
    return found


def table(found: dict[str, dict[tuple[str, str], str]]) -> str:
    """The sums, for requests and for answers."""
    lines = ["| | cases | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 2) + "|"]
    for what in ("requests", "answers"):
        for name, verdicts in found.items():
            counts = Counter(
                v for (suite, _), v in verdicts.items() if (suite == "answers") == (what == "answers")
            )
            cells = [str(counts[column]) for column in _COLUMNS]
            lines.append(f"| {what}: {name} | {sum(counts.values())} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differing(found: dict[str, dict[tuple[str, str], str]]) -> str:
    """The cases that are not treated alike."""
    names = list(found)
    lines = ["| case | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for key in found[names[0]]:
        row = [found[name][key] for name in names]
        if len(set(row)) > 1:
            lines.append(f"| {key[0]}: {key[1]} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run everything and print."""
    folder = Path(tempfile.mkdtemp(prefix="exproxy-bench-"))
    server = Server(port=SERVER)
    try:
        proxies = Proxies(folder)
        try:
            found = run(server, proxies.ports)
        finally:
            proxies.close()
    finally:
        server.close()
        shutil.rmtree(folder)
    print(versions(), end="\n\n")
    print(table(found))
    if "--cases" in sys.argv[1:]:
        print("\n" + differing(found))


if __name__ == "__main__":
    main()
