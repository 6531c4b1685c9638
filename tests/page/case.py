"""The base of the dashboard's tests, and how they find things in the page."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.page.browser import Installation, Visit, chromium, skip_without_browser
from tests.page.tokens import OPERATE

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
