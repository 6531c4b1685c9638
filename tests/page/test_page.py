"""The dashboard in Chromium: what is seen, by whom, and how it looks."""

from __future__ import annotations

import re
import time
from typing import Any

from tests.page.browser import Visit
from tests.page.case import VIEWS, PageCase, row
from tests.page.tokens import OPERATE, READ


class LiveTests(PageCase):
    """What happens is seen as it happens."""

    def test_a_server_dies_and_comes_back(self) -> None:
        """The page says so by word, in its tables, its warnings, its strip and for screen readers."""
        page = self.visit().page
        server = row(page, "Real servers", "exch2")
        server.get_by_text("UP", exact=True).first.wait_for()
        self.installation.story("kill", "exch2")
        server.get_by_text("DOWN").first.wait_for()
        page.get_by_text("exch2 is DOWN in all 7 services").wait_for()
        page.locator("#announced").filter(has_text="exch2 is DOWN in 15 places").wait_for()
        page.locator("#view-overview svg rect.bad").nth(7).wait_for(state="attached")
        self.installation.story("revive", "exch2")
        page.locator("#announced").filter(has_text="exch2 is UP").wait_for()
        server.get_by_text("DOWN").first.wait_for(state="detached")
        self.assertEqual(page.locator("#link").inner_text(), "live")
        self.assert_quiet()

    def test_the_event_log_grows(self) -> None:
        """A new event stands first, and the filter and the level choose."""
        page = self.visit(view="events").page
        self.installation.story("kill", "exch2")
        first = page.locator("#view-events tbody tr").first
        first.filter(has_text="exch2 is DOWN").wait_for()
        view = self.part(page, "events")
        view.get_by_label("Level").select_option("warn")
        page.get_by_text("exproxy 0.1.0 has started").wait_for(state="detached")
        view.get_by_label("Filter").fill("nothing like it")
        page.get_by_text("No event fits.").wait_for()
        self.assert_quiet()

    def test_a_restart(self) -> None:
        """When exproxy is another process, what was known of the one before is gone from the page."""
        page = self.visit(view="events").page
        self.installation.story("kill", "exch2")
        page.get_by_text("4 events").wait_for()
        self.installation.story("revive", "exch2")
        page.get_by_text("5 events").wait_for()
        self.installation.story("again")
        page.get_by_text("3 events").wait_for()
        self.installation.story("kill", "exch1")
        page.get_by_text("4 events").wait_for()
        self.assert_quiet()

    def test_what_was_missed(self) -> None:
        """Events that came while the page was hidden are there when it is shown again."""
        page = self.visit(view="events").page
        page.locator("#link", has_text="live").wait_for()
        self._pretend(page, "hidden")
        self._until_nobody_reads()
        self.installation.story("kill", "exch2")
        self.installation.story("revive", "exch2")
        self._pretend(page, "visible")
        page.get_by_text("5 events").wait_for()
        self.assert_quiet()

    def test_one_stream_and_none_while_hidden(self) -> None:
        """The page holds one stream, closes it when nobody looks, and opens one again."""
        page = self.visit().page
        page.locator("#link", has_text="live").wait_for()
        self.assertEqual(self.installation.story("readers"), 1)
        self._pretend(page, "hidden")
        page.locator("#link", has_text="paused").wait_for()
        self._until_nobody_reads()
        self._pretend(page, "visible")
        page.locator("#link", has_text="live").wait_for()
        self.assertEqual(self.installation.story("readers"), 1)
        self.assert_quiet()

    def _pretend(self, page: Any, state: str) -> None:
        page.evaluate(
            """state => {
                Object.defineProperty(document, "hidden", {value: state === "hidden", configurable: true});
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            state,
        )

    def _until_nobody_reads(self) -> None:
        deadline = time.monotonic() + 15
        while self.installation.story("readers"):
            self.assertLess(time.monotonic(), deadline)

    def test_a_cut_stream_is_replaced(self) -> None:
        """When the stream breaks the page polls, and goes back to a stream by itself."""
        page = self.visit().page
        page.locator("#link", has_text="live").wait_for()
        self.installation.story("cut")
        page.locator("#link", has_text="polling").wait_for()
        page.locator("#link", has_text="live").wait_for()
        self.assert_quiet()


class PollingTests(PageCase):
    """Without server-sent events."""

    words = ("no-streams",)

    def test_it_works_by_polling(self) -> None:
        """A server that dies is seen all the same, and the page says that it polls."""
        page = self.visit().page
        page.locator("#link", has_text="polling").wait_for()
        self.installation.story("kill", "exch1")
        row(page, "Real servers", "exch1").get_by_text("DOWN").first.wait_for()
        self.assert_quiet("503")


class ReaderTests(PageCase):
    """The role read."""

    def test_a_reader_sees_and_may_not(self) -> None:
        """No view has a button that changes anything, and the API refuses what the page does not offer."""
        visit = self.visit(READ)
        page = visit.page
        page.locator("#role", has_text="read-only").wait_for(state="attached")
        for view in VIEWS:
            page.goto(f"{self.installation.url}#{view}")
            page.locator(f"#view-{view}:visible").wait_for()
            page.locator("#link", has_text="live").wait_for()
            names = page.locator("main button:visible").all_inner_texts()
            self.assertEqual(names, ["Explain"] if view == "explain" else [], view)
        refused = visit.context.request.put(
            "api/v1/servers/exch1/state", data={"state": "drain"}, headers={"X-CSRF-Token": visit.csrf}
        )
        self.assertEqual(refused.status, 403)
        self.assert_quiet()


class LoginTests(PageCase):
    """Who is nobody yet."""

    def test_the_form(self) -> None:
        """A wrong token is refused in words, a right one opens the page, and out is out."""
        visit = Visit(self.browser, self.installation.url)
        self.visits.append(visit)
        page = visit.page
        page.goto(self.installation.url)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("that is no token of this administration").wait_for()
        page.get_by_label("Token").fill(OPERATE)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Drain exch1").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token").wait_for()
        self.assert_quiet("401")


class ShapeTests(PageCase):
    """How it looks, as far as a program can tell."""

    def test_narrow(self) -> None:
        """At 400 pixels no view is wider than the window: tables scroll in their boxes."""
        visit = self.visit(viewport={"width": 400, "height": 800})
        for view in VIEWS:
            visit.page.goto(f"{self.installation.url}#{view}")
            visit.page.locator(f"#view-{view}:visible").wait_for()
            visit.page.locator("#link", has_text="live").wait_for()
            self.assertEqual(visit.width_beyond(), 0, view)
        self.assert_quiet()

    def test_themes(self) -> None:
        """The page follows the system, and the switch overrides it for good."""
        visit = self.visit(color_scheme="dark")
        page = visit.page
        ground = "getComputedStyle(document.body).backgroundColor"
        page.get_by_role("button", name="Drain exch1").wait_for()
        dark = page.evaluate(ground)
        theme = page.get_by_role("button", name="Theme")
        theme.click()
        self.assertEqual(page.evaluate(ground), dark)
        theme.click()
        light = page.evaluate(ground)
        self.assertNotEqual(light, dark)
        page.reload()
        page.get_by_role("button", name="Drain exch1").wait_for()
        self.assertEqual(page.evaluate(ground), light)
        self.assert_quiet()

    def test_plots(self) -> None:
        """Six plots are drawn, for all services or one, and again when the colours change."""
        page = self.visit(view="plots").page
        canvases = page.locator("#view-plots canvas")
        canvases.nth(5).wait_for()
        view = self.part(page, "plots")
        view.get_by_label("Service", exact=True).select_option("imap")
        view.get_by_label("Window").select_option("3600")
        page.get_by_role("button", name="Theme").click()
        canvases.nth(5).wait_for()
        self.assertEqual(canvases.count(), 6)
        page.locator("#view-plots .u-value", has_text=re.compile(r"^\d")).first.wait_for()
        self.assert_quiet()

    def test_tables_have_headers(self) -> None:
        """Each table has a caption, and each of its columns a header with a scope."""
        page = self.visit(view="services").page
        row(page, "Service smtp", "service").wait_for()
        tables = page.locator("#view-services table")
        self.assertEqual(tables.count(), tables.locator("caption").count())
        self.assertEqual(page.locator("#view-services thead th:not([scope])").count(), 0)
        self.assert_quiet()

    def test_certificates(self) -> None:
        """The one that ends first stands first, in colour and with its days."""
        page = self.visit(view="certificates").page
        first = page.locator("#view-certificates tbody tr").first
        first.filter(has_text="11 days").wait_for()
        self.assertIn("warn", first.locator("td").first.get_attribute("class") or "")
        self.assert_quiet()

    def test_policy(self) -> None:
        """No style attribute, no script in the page: the strict policy has nothing to forbid."""
        page = self.visit().page
        page.get_by_role("button", name="Drain exch1").wait_for()
        text = page.context.request.get(self.installation.url).text()
        self.assertNotRegex(text, r"style=|<style|<script>|\son\w+=")
        self.assert_quiet()
