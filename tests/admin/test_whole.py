"""Serving and its administration together: what begins first, and what ends last."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from exproxy.admin.whole import Administered


class Told(Service):
    """Writes down what is asked of it; ``over`` is what its end waits for."""

    def __init__(self, name: str, story: list[str], over: Deferred[None] | None = None) -> None:
        self.title, self.story, self.over = name, story, over

    def privilegedStartService(self) -> None:
        self.story.append(f"{self.title} privileged")

    def startService(self) -> None:
        super().startService()
        self.story.append(f"{self.title} starts")

    def stopService(self) -> Any:
        super().stopService()
        self.story.append(f"{self.title} stops")
        return self.over


class Plane:
    """Only its start and stop."""

    def __init__(self, story: list[str]) -> None:
        self.start = lambda: story.append("plane starts")
        self.stop = lambda: story.append("plane stops")


class AdministeredTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.story: list[str] = []
        self.over: Deferred[None] = Deferred()
        none: Deferred[None] = Deferred()
        none.callback(None)
        serving, admin = Told("serving", self.story, self.over), Told("admin", self.story, none)
        self.whole = Administered(serving, Plane(self.story), admin)  # type: ignore[arg-type]

    def test_order(self) -> None:
        """The operator's wishes come before the first client; the administration answers until the last has
        gone."""
        self.whole.privilegedStartService()
        self.whole.startService()
        self.assertEqual(
            self.story,
            ["serving privileged", "admin privileged", "plane starts", "serving starts", "admin starts"],
        )
        self.story.clear()
        stopped = self.whole.stopService()
        self.assertEqual(self.story, ["serving stops"])
        self.assertNoResult(stopped)
        self.over.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.story, ["serving stops", "plane stops", "admin stops"])

    def test_failing(self) -> None:
        """Where serving cannot stop properly, the rest still does, and the failure is told."""
        self.whole.startService()
        stopped = self.whole.stopService()
        self.over.errback(ValueError("no"))
        self.failureResultOf(stopped, ValueError)
        self.assertEqual(self.story[-2:], ["plane stops", "admin stops"])
