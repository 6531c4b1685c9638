"""What an operator does in the dashboard, in Chromium."""

from __future__ import annotations

from tests.page.case import PageCase, row


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
