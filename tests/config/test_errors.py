"""All errors of a file at once, shown for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

from exproxy.config.errors import Problem, render, summary
from tests.config.reading import ReadingTestCase

FAULTY = """\
secret: short
servers:
  l12ex1: 192.168.2.11
  l12ex2: {address: 192.168.2.999, wieght: 1}
groups:
  mapi: {timeout: 2 h}
defaults:
  scheduling: round-robbin
services:
  exchange-https:
    protocol: https
    listen: 443
    certificate: nothere.pem
    persistence: super-http
    check: {http: {statuss: [200]}}
  exchange-epm: {protocol: epm, listen: 135, persistence: {source-ip: {group: mapii}}}
  exchange-ab: {protocol: rpc, listen: 59532, persistence: super-http, servers: [l12ex5]}
  smtp: {protocol: smtp, listen: [25, 25]}
  imap: {protocol: imapp, listen: 143}
  imap: {protocol: imap, listen: 143}
  pop: {protocol: pop, lisen: 110, when-full: wait}
admin: {listen: 127.0.0.1:443}
"""

EXPECTED = """\
exproxy.yaml:1:9: error: secret: is too short: at least 16 characters, \
for example of `openssl rand -base64 32`
exproxy.yaml:4:21: error: servers.l12ex2.address: '192.168.2.999' is no IP address
      l12ex2: {address: 192.168.2.999, wieght: 1}
                        ^^^^^^^^^^^^^
exproxy.yaml:4:36: error: servers.l12ex2.wieght: unknown option; did you mean 'weight'?
      l12ex2: {address: 192.168.2.999, wieght: 1}
                                       ^^^^^^
exproxy.yaml:6:3: warning: groups.mapi: no service uses this group; name it in a service: \
persistence: {source-ip: {group: mapi}}
      mapi: {timeout: 2 h}
      ^^^^
exproxy.yaml:6:19: error: groups.mapi.timeout: '2 h' is no duration; write it like 500ms, 10s, 5m, 2h or 2h10m
      mapi: {timeout: 2 h}
                      ^^^
exproxy.yaml:8:15: error: defaults.scheduling: unknown scheduling 'round-robbin'; did you mean 'round-robin'?
      scheduling: round-robbin
                  ^^^^^^^^^^^^
exproxy.yaml:13:18: error: services.exchange-https.certificate: FOLDER/nothere.pem cannot be read: \
No such file or directory
        certificate: nothere.pem
                     ^^^^^^^^^^^
exproxy.yaml:15:20: error: services.exchange-https.check.http.statuss: unknown option; did you mean 'status'?
        check: {http: {statuss: [200]}}
                       ^^^^^^^
exproxy.yaml:16:79: error: services.exchange-epm.persistence.source-ip.group: unknown group 'mapii'; \
did you mean 'mapi'?
      exchange-epm: {protocol: epm, listen: 135, persistence: {source-ip: {group: mapii}}}
                                                                                  ^^^^^
exproxy.yaml:17:60: error: services.exchange-ab.persistence: persistence 'super-http' needs Head, which \
protocol 'rpc' does not give; choose another, such as source-ip
      exchange-ab: {protocol: rpc, listen: 59532, persistence: super-http, servers: [l12ex5]}
                                                               ^^^^^^^^^^
exproxy.yaml:17:82: error: services.exchange-ab.servers[0]: unknown server 'l12ex5'; did you mean 'l12ex2'?
      exchange-ab: {protocol: rpc, listen: 59532, persistence: super-http, servers: [l12ex5]}
                                                                                     ^^^^^^
exproxy.yaml:18:39: error: services.smtp.listen[1]: *:25 is listed twice (line 18)
      smtp: {protocol: smtp, listen: [25, 25]}
                                          ^^
exproxy.yaml:19:20: error: services.imap.protocol: unknown protocol 'imapp'; did you mean 'imap'?
      imap: {protocol: imapp, listen: 143}
                       ^^^^^
exproxy.yaml:20:3: error: services.imap: is there twice; the first is in line 19
      imap: {protocol: imap, listen: 143}
      ^^^^
exproxy.yaml:21:24: error: services.pop.lisen: unknown option; did you mean 'listen'?
      pop: {protocol: pop, lisen: 110, when-full: wait}
                           ^^^^^
exproxy.yaml:21:47: error: services.pop.when-full: says not how long; write wait 5s
      pop: {protocol: pop, lisen: 110, when-full: wait}
                                                  ^^^^
exproxy.yaml:22:17: error: admin.listen: 127.0.0.1:443 clashes with *:443 of services.exchange-https.listen \
(line 12): *:443 takes every address
    admin: {listen: 127.0.0.1:443}
                    ^^^^^^^^^^^^^
16 errors and 1 warning in exproxy.yaml"""


class AllAtOnceTests(ReadingTestCase):
    def test_a_very_faulty_file(self) -> None:
        """Sixteen different mistakes are told in one run, in file order, each with its line and caret."""
        shown = str(self.invalid(FAULTY)).replace(f"{self.folder}/exproxy.yaml", "exproxy.yaml")
        self.assertEqual(shown.replace(str(self.folder), "FOLDER"), EXPECTED)

    def test_json(self) -> None:
        """Programs get the same as JSON."""
        found = json.loads(self.invalid(FAULTY).render_json())
        self.assertFalse(found["valid"])
        self.assertEqual(len(found["problems"]), 17)
        self.assertEqual(
            found["problems"][5],
            {
                "file": str(self.folder / "exproxy.yaml"),
                "line": 8,
                "column": 15,
                "severity": "error",
                "path": "defaults.scheduling",
                "message": "unknown scheduling 'round-robbin'; did you mean 'round-robin'?",
            },
        )


class RenderTests(ReadingTestCase):
    def shown(self, problem: Problem, *lines: str) -> str:
        return render([problem], Path("f"), lines)

    def test_tabs(self) -> None:
        """The caret stands right behind tabs, too."""
        shown = self.shown(Problem(("a",), "m", 1, 3, 2), "\t\tab c")
        self.assertEqual(shown, "f:1:3: error: a: m\n    \t\tab c\n    \t\t^^\n")

    def test_without_line(self) -> None:
        """Empty, missing and very long lines are not shown."""
        for lines in ((), ("",), ("x" * 500,)):
            self.assertEqual(self.shown(Problem((), "m", 1, 1), *lines), "f:1:1: error: m\n")

    def test_caret_ends_with_the_line(self) -> None:
        """A caret is at least one wide, and never longer than its line."""
        self.assertIn("\n    a: b\n       ^\n", self.shown(Problem(("a",), "m", 1, 4, 99), "a: b"))
        self.assertIn("\n    a:\n      ^\n", self.shown(Problem(("a",), "m", 1, 3, 1), "a:"))

    def test_the_secret_stays_secret(self) -> None:
        """The line of the secret is not shown."""
        self.assertNotIn("hush", str(self.invalid("secret: hush\n")))

    def test_summary(self) -> None:
        """The last line counts."""
        error, warning = Problem((), "m"), Problem((), "m", severity="warning")
        self.assertEqual(summary((), Path("f")), "f: configuration OK")
        self.assertEqual(summary((warning,), Path("f")), "f: configuration OK, 1 warning")
        self.assertEqual(summary((error,), Path("f")), "1 error in f")
        self.assertEqual(summary((error, error, warning), Path("f")), "2 errors and 1 warning in f")

    def test_paths(self) -> None:
        """Paths read as people write them."""
        self.assertEqual(
            Problem(("services", "a", "listen", 1, "tls"), "m").where, "services.a.listen[1].tls"
        )

    def test_order_is_that_of_the_file(self) -> None:
        """Whatever finds a problem, it stands where the file has it."""
        text = dedent(FAULTY)
        lines = [problem.line for problem in self.invalid(text).problems]
        self.assertEqual(lines, sorted(lines))
