"""`fallback:` and `recheck:` of persistences, as a file says them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exproxy.config import Config, Invalid, Problem, load
from exproxy.plugins import Selected
from tests.certificates import pem

WEB = """
servers: {{ex1: 192.0.2.1, ex2: 192.0.2.2}}
services:
  web: {{protocol: https, listen: 443, certificate: {cert}, persistence: {it}}}
"""


class FallbackTests(SynchronousTestCase):
    """The fallback is a persistence like any other."""

    def config(self, persistence: str) -> Config:
        """A service with that persistence."""
        holder = tempfile.TemporaryDirectory(prefix="exproxy-fallback-")
        self.addCleanup(holder.cleanup)
        path = Path(holder.name, "exproxy.yaml")
        path.write_text(WEB.format(cert=pem("mail.example.org"), it=persistence), "utf-8")
        return load(path, host_name="lb.example.org")

    def selected(self, persistence: str) -> Selected[object]:
        """What that persistence means; nothing may be doubtful."""
        config = self.config(persistence)
        self.assertEqual(config.warning_text, "")
        return config.services["web"].persistence

    def problem(self, persistence: str) -> Problem:
        """The only thing that is wrong with it."""
        with self.assertRaises(Invalid) as caught:
            self.config(persistence)
        [found] = caught.exception.problems
        return found

    def test_a_name(self) -> None:
        """A bare name has its plugin's defaults."""
        header = self.selected("{header: {name: X-AnchorMailbox, fallback: source-ip}}")
        fallback = header.options.fallback
        self.assertEqual((fallback.name, fallback.options.mask_v4), ("source-ip", 32))

    def test_with_options(self) -> None:
        """Options are the plugin's own, and of any depth."""
        inner = "{cookie: {fallback: {source-ip: {mask-v4: 24, timeout: 1h}}}}"
        outer = self.selected(f"{{server-cookie: {{name: [a, b], fallback: {inner}}}}}")
        cookie = outer.options.fallback
        self.assertEqual((outer.name, cookie.name), ("server-cookie", "cookie"))
        source = cookie.options.fallback
        self.assertEqual((source.options.mask_v4, cookie.options.timeout), (24, 3600.0))

    def test_none(self) -> None:
        """Without one there is none."""
        self.assertIsNone(self.selected("cookie").options.fallback)

    def test_unknown(self) -> None:
        """A misspelt name is told like any plugin's, at its place."""
        problem = self.problem("{header: {name: a, fallback: sourceip}}")
        self.assertEqual(problem.where, "services.web.persistence.header.fallback")
        self.assertIn("did you mean 'source-ip'?", problem.message)

    def test_wrong_options(self) -> None:
        """Wrong options are told at their own place."""
        problem = self.problem("{header: {name: a, fallback: {source-ip: {mask-v4: 33}}}}")
        self.assertEqual(problem.where, "services.web.persistence.header.fallback.source-ip.mask-v4")
        problem = self.problem("{cookie: {fallback: {source-ip: {maskv4: 24}}}}")
        self.assertIn("did you mean 'mask-v4'?", problem.message)

    def test_wrong_shape(self) -> None:
        """It names exactly one."""
        self.assertIn(
            "exactly one", self.problem("{header: {name: a, fallback: {none: {}, cookie: {}}}}").message
        )

    def test_two_cookies(self) -> None:
        """`cookie` and what sets a cookie too do not go together."""
        problem = self.problem("{cookie: {fallback: super-http}}")
        self.assertIn("sets a cookie too", problem.message)

    def test_what_the_protocol_does_not_give(self) -> None:
        """A fallback that needs what the protocol does not give is refused as if it stood alone."""
        problem = self.problem("{header: {name: a, fallback: tls-session}}")
        self.assertIn("does not give", problem.message)

    def test_one_table(self) -> None:
        """Time, size and recheck of a fallback count where the outer one has none; else a warning says so."""
        fallback = "{source-ip: {timeout: 5m, limit: 10}}"
        config = self.config(f"{{header: {{name: a, fallback: {fallback}}}}}")
        self.assertEqual([each.path[-1] for each in config.warnings], ["timeout", "limit"])
        config = self.config("{cookie: {fallback: {header: {name: a, recheck: first}}}}")
        self.assertEqual([each.path[-1] for each in config.warnings], ["recheck"])

    def test_recheck(self) -> None:
        """Each of the persistences over HTTP has it."""
        for written in (
            "cookie: {%s}",
            "super-http: {%s}",
            "header: {name: a, %s}",
            "server-cookie: {name: a, %s}",
        ):
            options = self.selected("{" + written % "recheck: first" + "}").options
            self.assertEqual(options.recheck, "first")
        problem = self.problem("{cookie: {recheck: firts}}")
        self.assertIn("did you mean 'first'?", problem.message)

    def test_a_name_is_needed(self) -> None:
        """header and server-cookie say of what."""
        for name in ("header", "server-cookie"):
            self.assertIn("'name' is missing", self.problem(name).message)
