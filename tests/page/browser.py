"""Chromium before the make-believe installation, and what the tests ask of both."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tests.peers.kit.needs import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_ROOT = Path(__file__).parents[2]


def skip_without_browser() -> None:
    """Raise SkipTest where something is missing; fail instead where EXPROXY_NO_SKIP=1."""
    reason = missing("chromium")
    if find_spec("playwright") is None:
        reason = "playwright is not installed: pip install 'exproxy[test]'"
    if reason and os.environ.get("EXPROXY_NO_SKIP") == "1":
        raise AssertionError(reason)
    if reason:
        raise unittest.SkipTest(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a screen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        try:
            yield browser
        finally:
            browser.close()


class Installation:
    """The program of :mod:`tests.page.program`, running."""

    _running: ClassVar[dict[tuple[str, ...], Installation]] = {}

    @classmethod
    def fresh(cls, *words: str) -> Installation:
        """One that was never used: the same process begins again, which is sooner than another one. It ends
        with the tests."""
        if words not in cls._running:
            cls._running[words] = cls(*words)
            atexit.register(cls._running[words].stop)
        installation = cls._running[words]
        installation.story("again")
        return installation

    def __init__(self, *words: str) -> None:
        argv = [sys.executable, "-m", "tests.page.program", "0", *words]
        self._process = subprocess.Popen(
            argv, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/"

    def story(self, *words: str) -> Any:
        """Make something happen; what it says."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(" ".join(words) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def stop(self) -> None:
        """End it."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(20)


class Visit:
    """One browser window with cookies of its own. ``complaints``: what the console said and what broke."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.complaints: list[str] = []
        self.context = browser.new_context(base_url=url, reduced_motion="reduce", **options)
        self.context.set_default_timeout(15_000)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def log_in(self, token: str, view: str = "overview") -> Page:
        """By the API, so that the form has a test of its own."""
        answer = self.context.request.post("login", data={"token": token})
        assert answer.ok, answer.text()
        self.csrf = str(answer.json()["csrf"])
        self.page.goto(f"{self.url}#{view}")
        return self.page

    def width_beyond(self) -> int:
        """By how many pixels the page is wider than the window."""
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(wide))
