"""The dashboard before a running exproxy: etc/admin.yaml with its simulated servers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.folders import folder
from tests.page.browser import Visit, chromium, skip_without_browser
from tests.page.case import VIEWS, row
from tests.page.running import Running


class RunningTests(SynchronousTestCase):
    """On this machine, without tokens: everybody may operate."""

    def setUp(self) -> None:
        """Start both."""
        skip_without_browser()
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.running = Running(folder(self))
        stack.callback(self.running.stop)
        self.running.wait()
        browser = stack.enter_context(chromium())
        self.visit = Visit(browser, self.running.url)

    def test_what_an_administrator_does(self) -> None:
        """A server dies and is mended; one is drained, the last only by force; all views show something."""
        page = self.visit.page
        page.goto(self.running.url)
        page.locator("#link", has_text="live").wait_for()
        self.assertTrue(page.get_by_role("button", name="Log out").is_hidden())
        self._dies_and_returns(page)
        self._drained(page)
        self.assertEqual(self._uncalled(), [])
        for view in VIEWS:
            page.goto(f"{self.running.url}#{view}")
            page.locator(f"#view-{view}:visible").wait_for()
            self.assertEqual(page.locator(f"#view-{view} .trouble:visible").count(), 0, view)
        page.get_by_text("protocol: imap").wait_for()
        self.assertEqual(self._uncalled(), [])
        self.assertNotIn("Traceback", self.running.log())

    def _uncalled(self) -> list[str]:
        return [line for line in self.visit.complaints if "409" not in line]

    def _dies_and_returns(self, page: Any) -> None:
        server = row(page, "Real servers", "a15ex2").locator("td").first
        self.running.lab("a15ex2/all/stop")
        server.get_by_text("DOWN").wait_for()
        page.locator("#announced").filter(has_text="a15ex2 is DOWN").wait_for()
        self.running.lab("a15ex2/all/ok")
        server.get_by_text("UP", exact=True).wait_for()

    def _drained(self, page: Any) -> None:
        self._ask_for_drain(page, "a15ex1", "updates")
        row(page, "Real servers", "a15ex1").get_by_text("updates").wait_for()
        self.assertEqual(self.running.api("servers/a15ex1")["operator"]["reason"], "updates")
        self._ask_for_drain(page, "a15ex2", "")
        question = page.get_by_role("dialog")
        question.get_by_text("Nobody would be left.").wait_for()
        self.assertIsNone(self.running.api("servers/a15ex2")["operator"])
        question.get_by_label("Refuse clients if it must be").check()
        question.get_by_role("button", name="Drain a15ex2").click()
        question.wait_for(state="detached")
        self.assertEqual(self.running.api("servers/a15ex2")["operator"]["state"], "drain")

    def _ask_for_drain(self, page: Any, server: str, reason: str) -> None:
        page.get_by_role("button", name=f"Drain {server}").click()
        question = page.get_by_role("dialog")
        question.get_by_label("Reason").fill(reason)
        question.get_by_role("button", name=f"Drain {server}").click()
