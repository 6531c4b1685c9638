"""The dashboard in Chromium: what an administrator sees, and what a reader may not do."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.page.browser import Installation, Visit, chromium, skip_without_browser
from tests.page.tokens import OPERATE, READ

VIEWS = (
    "overview",
    "services",
    "plots",
    "sessions",
    "persistence",
    "certificates",
    "events",
    "explain",
    "configuration",
)


class PageCase(SynchronousTestCase):
    """A fresh installation and a new window for each test; nothing may be complained of."""

    words: ClassVar[tuple[str, ...]] = ()

    def setUp(self) -> None:
        """Start both."""
        skip_without_browser()
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.installation = Installation.fresh(*self.words)
        self.browser = stack.enter_context(chromium())
        self.visits: list[Visit] = []

    def visit(self, token: str = OPERATE, view: str = "overview", **options: Any) -> Visit:
        """A window that is logged in."""
        visit = Visit(self.browser, self.installation.url, **options)
        self.visits.append(visit)
        visit.log_in(token, view)
        return visit

    @staticmethod
    def part(page: Any, view: str) -> Any:
        """One view of the page: each has controls of its own."""
        return page.locator(f"#view-{view}")

    def assert_quiet(self, *but: str) -> None:
        """Nothing on any console; ``but``: patterns of what a test brings about itself."""
        said = [line for visit in self.visits for line in visit.complaints]
        self.assertEqual([line for line in said if not any(re.search(each, line) for each in but)], [])


def row(page: Any, table: str, name: str) -> Any:
    """A table's row by its first cell."""
    there = page.get_by_role("table", name=table)
    return there.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True))


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


class OperatingTests(PageCase):
    """What an operator does."""

    def test_drain_with_a_question(self) -> None:
        """One click asks, says how many connections it concerns, takes a reason; then it is so."""
        page = self.visit().page
        page.get_by_role("button", name="Drain exch2").click()
        question = page.get_by_role("dialog", name="Drain exch2")
        counted = question.locator(".counted").inner_text()
        self.assertRegex(counted, r"^This concerns \d+ connections in 7 services\.$")
        question.get_by_label("Reason").fill("updates")
        question.get_by_role("button", name="Drain exch2").click()
        server = row(page, "Real servers", "exch2")
        server.get_by_text("drain by acts: updates").wait_for()
        page.locator("#announced").filter(has_text="exch2").wait_for()
        pressed = page.get_by_role("button", name="Drain exch2")
        self.assertEqual(pressed.get_attribute("aria-pressed"), "true")
        page.get_by_role("button", name="Ready exch2").click()
        page.get_by_role("dialog").get_by_role("button", name="Make ready exch2").click()
        server.get_by_text("drain by acts").wait_for(state="detached")
        self.assert_quiet()

    def test_escape_does_nothing(self) -> None:
        """A question that is left changes nothing, and the focus is where it was."""
        page = self.visit().page
        page.get_by_role("button", name="Maint exch1").click()
        page.get_by_role("dialog").wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        self.assertEqual(page.evaluate("document.activeElement.ariaLabel"), "Maint exch1")
        self.assertEqual(self.installation.story("done"), [])
        self.assert_quiet()

    def test_the_last_one_needs_force(self) -> None:
        """Nobody is left without a second, explicit word."""
        page = self.visit().page
        self.installation.story("kill", "exch2")
        row(page, "Real servers", "exch2").get_by_text("DOWN").first.wait_for()
        page.get_by_role("button", name="Drain exch1").click()
        question = page.get_by_role("dialog")
        question.get_by_role("button", name="Drain exch1").click()
        question.get_by_text("Nobody would be left.").wait_for()
        again = question.get_by_role("button", name="Drain exch1")
        self.assertTrue(again.is_disabled())
        question.get_by_label("Refuse clients if it must be").check()
        again.click()
        row(page, "Real servers", "exch1").get_by_text("drain by acts").wait_for()
        self.assert_quiet("409")

    def test_one_service_only(self) -> None:
        """A server can be drained in one service, and its weight set there."""
        page = self.visit(view="services").page
        page.get_by_role("combobox", name="Set exch2 in exchange-rpc to").select_option("drain")
        question = page.get_by_role("dialog", name="Drain exchange-rpc/exch2")
        self.assertRegex(question.locator(".counted").inner_text(), r"^This concerns \d+ connections\.$")
        question.get_by_role("button", name="Drain exchange-rpc/exch2").click()
        row(page, "Service exchange-rpc", "exch2").locator(".state", has_text="DRAIN").wait_for()
        page.get_by_role("button", name="Weight of exchange-rpc/exch1: 1. Change it").click()
        page.get_by_role("dialog").get_by_label("Weight").fill("40")
        page.get_by_role("dialog").get_by_role("button", name="Set the weight").click()
        page.get_by_role("button", name="Weight of exchange-rpc/exch1: 40. Change it").wait_for()
        self.part(page, "services").get_by_label("Show").select_option("ill")
        page.get_by_role("heading", name="smtp").wait_for(state="hidden")
        self.assert_quiet()

    def test_by_keyboard_only(self) -> None:
        """From the address line to a drained server without a mouse."""
        page = self.visit().page
        page.get_by_role("button", name="Drain exch1").wait_for()
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Skip to the content")
        page.keyboard.press("Enter")
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.ariaLabel") == "Drain exch1":
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        self.assertEqual(outline, "solid")
        page.keyboard.press("Enter")
        page.get_by_role("dialog", name="Drain exch1").wait_for()
        page.keyboard.type("by keyboard")
        page.keyboard.press("Enter")
        row(page, "Real servers", "exch1").get_by_text("drain by acts: by keyboard").wait_for()
        self.assertEqual(page.evaluate("document.activeElement.ariaLabel"), "Drain exch1")
        self.assert_quiet()

    def test_the_focus_stays_through_updates(self) -> None:
        """New numbers do not take the focus away, nor what is being typed."""
        page = self.visit().page
        page.get_by_role("button", name="Drain exch1").focus()
        before = page.locator(".tiles").inner_text()
        page.locator(".tiles").filter(has_not_text=before).first.wait_for()
        self.assertEqual(page.evaluate("document.activeElement.ariaLabel"), "Drain exch1")
        self.assert_quiet()

    def test_sessions(self) -> None:
        """Sessions are listed, filtered, explained and cut."""
        page = self.visit(view="sessions").page
        page.get_by_text("60 sessions").wait_for()
        self.part(page, "sessions").get_by_label("Service", exact=True).select_option("imap")
        page.get_by_text("8 sessions").wait_for()
        page.get_by_role("button", name="Cut session 0-5", exact=True).click()
        page.get_by_role("dialog").get_by_label("Reason").fill("stuck")
        page.get_by_role("dialog").get_by_role("button", name="Cut it").click()
        page.get_by_text("7 sessions").wait_for()
        page.get_by_role("link", name="Explain session 0-12", exact=True).click()
        page.get_by_text("its address is bound to exch1, which is usable").wait_for()
        self.assert_quiet()

    def test_persistence_entries(self) -> None:
        """Entries are moved and forgotten."""
        page = self.visit(view="persistence").page
        page.get_by_text("12 entries").wait_for()
        key = "source-ip:000000001111"
        page.get_by_role("button", name=f"Move {key}").click()
        page.get_by_role("dialog").get_by_role("button", name="Move it").click()
        row(page, "Entries", key).get_by_text("exch1").wait_for()
        page.get_by_role("button", name=f"Forget {key}").click()
        page.get_by_role("dialog").get_by_role("button", name="Forget it").click()
        page.get_by_text("11 entries").wait_for()
        self.assert_quiet()

    def test_reload(self) -> None:
        """A reload shows first what it would change and cut; a broken file is refused with its places."""
        page = self.visit(view="configuration").page
        page.get_by_role("button", name="Reload…").click()
        question = page.get_by_role("dialog", name="Reload the configuration")
        question.get_by_text("This cuts 4 connections.").wait_for()
        question.get_by_text("services.imap: listen is 143, 993 and 1143").wait_for()
        question.get_by_role("button", name="Reload", exact=True).click()
        page.locator("#announced").filter(has_text="Reloaded: 2 changes.").wait_for()
        self.installation.story("break")
        page.get_by_role("button", name="Reload…").click()
        page.get_by_text("/etc/exproxy/exchange.yaml:31:16").wait_for()
        self.assert_quiet("422")


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
