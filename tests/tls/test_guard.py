"""Extended Protection: servers that show another certificate than exproxy does are found out."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Fail
from exproxy.model import TLS
from exproxy.tls.guard import Guard, Policy

OURS, OTHER, NEXT = b"our certificate", b"another", b"the next one"


def met(certificate: bytes | None, version: str = "TLSv1.2") -> TLS:
    return TLS(version, certificate=certificate)


class GuardTests(SynchronousTestCase):
    """Guard.met(), as the checks call it."""

    def setUp(self) -> None:
        self.shown = {hashlib.sha256(OURS).digest()}
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def guard(self, policy: Policy) -> Guard:
        return Guard("https", policy, lambda: self.shown)

    def levels(self) -> list[str]:
        return [event["log_level"].name for event in self.events]

    def test_same(self) -> None:
        """The same certificate on both sides is nothing to talk about."""
        for policy in ("require", "warn"):
            self.assertIsNone(self.guard(policy).met("https/ex1", "ex1", met(OURS)))
        self.assertEqual(self.events, [])

    def test_require(self) -> None:
        """Another one is an alarm and a failed check, whose reason names the fingerprint; told once."""
        guard = self.guard("require")
        for _ in range(3):
            outcome = guard.met("https/ex1", "ex1", met(OTHER))
            assert isinstance(outcome, Fail)
            self.assertEqual((outcome.code, outcome.phase), ("L6RSP", "extended protection"))
            self.assertIn(f"sha256:{hashlib.sha256(OTHER).hexdigest()}", outcome.reason)
        self.assertEqual(self.levels(), ["critical"])

    def test_warn(self) -> None:
        """With warn it is a warning per change, and the server stays."""
        guard = self.guard("warn")
        for certificate in (OTHER, OTHER, NEXT, OURS, OURS, OTHER):
            self.assertIsNone(guard.met("https/ex1", "ex1", met(certificate)))
        self.assertEqual(self.levels(), ["warn", "warn", "info", "warn"])

    def test_our_own_changes(self) -> None:
        """What counts is what exproxy shows now: after a reload the servers have to follow."""
        guard = self.guard("require")
        self.assertIsNone(guard.met("https/ex1", "ex1", met(OURS)))
        self.shown = {hashlib.sha256(NEXT).digest()}
        self.assertIsNotNone(guard.met("https/ex1", "ex1", met(OURS)))
        self.assertIsNone(guard.met("https/ex1", "ex1", met(NEXT)))

    def test_no_certificate(self) -> None:
        """A server that shows none has another."""
        outcome = self.guard("require").met("https/ex1", "ex1", met(None))
        assert outcome is not None
        self.assertIn("no certificate", outcome.reason)

    def test_versions(self) -> None:
        """Servers of one service that speak different TLS versions are reported once per change."""
        guard = self.guard("warn")
        for server, version in (
            ("ex1", "TLSv1.2"),
            ("ex2", "TLSv1.2"),
            ("ex2", "TLSv1.3"),
            ("ex1", "TLSv1.2"),
            ("ex2", "TLSv1.3"),
            ("ex2", "TLSv1.2"),
            ("ex1", "TLSv1"),
        ):
            guard.met(f"https/{server}", server, met(OURS, version))
        self.assertEqual(self.levels(), ["warn", "warn"])
        self.assertEqual(
            [event["versions"] for event in self.events],
            ["ex1 TLSv1.2, ex2 TLSv1.3", "ex1 TLSv1, ex2 TLSv1.2"],
        )
