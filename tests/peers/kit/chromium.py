"""Chromium without a screen, each time as somebody who was never here."""

from __future__ import annotations

from pathlib import Path

from .netns import Done
from .server import PUBLIC
from .site import PROXY, Site

_LIMIT = 60.0
# Nothing but the page that is asked for: no look-ups, no updates, no sandbox (the tests run as root).
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--ignore-certificate-errors",
    f"--host-resolver-rules=MAP {PUBLIC} {PROXY}, MAP * ~NOTFOUND",
)


def dump_dom(site: Site, url: str, screenshot: Path | None = None) -> Done:
    """The page's DOM as text once it is loaded, in Done.out; and a picture of it, if wanted."""
    profile = site.new_folder("chromium")
    more = [f"--screenshot={screenshot}", "--window-size=900,700"] if screenshot else []
    argv = ["chromium", *_OPTIONS, f"--user-data-dir={profile}", *more, "--dump-dom", url]
    return site.namespace.run(argv, timeout=_LIMIT)
