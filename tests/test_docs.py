"""The pages for people: links lead somewhere, configurations load, examples are named."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exproxy.config import Invalid, load
from tests.certificates import pem

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *DOCS]

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
PEM = re.compile(r"(?<![\w./-])[\w./-]+\.(?:pem|crt|key)\b")
SECRET = re.compile(r"(?<=!file )[\w./-]+")
SERVERS = "servers: {ex1: 192.0.2.1, ex2: 192.0.2.2}\n"


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """What can stand behind a ``#`` in links to a page, as forges make it of its headings."""
    headings = HEADING.findall(FENCE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, str]]:
    """(path, anchor) of each link within the project."""
    for target in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def configurations() -> Iterator[tuple[str, str]]:
    """(where, text) of each YAML block with services.

    One whose opening line says more than ``yaml`` (a title, say) is a fragment, or another test's.
    """
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in FENCE.finditer(text):
            if found[1] == "yaml" and re.search(r"^services:", found[2], re.MULTILINE):
                yield f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}", found[2]


class LinksTests(SynchronousTestCase):
    """Between the pages."""

    def test_resolve(self) -> None:
        """Every relative link leads to a file or folder of the project, and to a heading that is there."""
        broken = []
        for page in PAGES:
            for path, anchor in links(page):
                target = (page.parent / path).resolve() if path else page
                if ROOT not in (target, *target.parents) or not target.exists():
                    broken.append(f"{page.name}: {path}")
                elif anchor and anchor not in anchors(target):
                    broken.append(f"{page.name}: {path}#{anchor}")
        self.assertEqual(broken, [])

    def test_index(self) -> None:
        """The index links every page of the documentation."""
        linked = {path for path, _ in links(ROOT / "docs" / "index.md")}
        self.assertEqual({page.name for page in DOCS} - linked - {"index.md"}, set())

    def test_examples(self) -> None:
        """Every example in etc/ is named in some page."""
        text = "".join(page.read_text("utf-8") for page in PAGES)
        examples = [*(ROOT / "etc").glob("*.yaml"), *(ROOT / "etc").glob("*.service")]
        self.assertEqual([each.name for each in examples if f"etc/{each.name}" not in text], [])


class ConfigurationsTests(SynchronousTestCase):
    """What the pages show is what exproxy takes."""

    def setUp(self) -> None:
        """A folder for the configurations and the files that they name."""
        holder = tempfile.TemporaryDirectory(prefix="exproxy-docs-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def file(self, found: re.Match[str]) -> str:
        """The name of a throw-away file in the place of one that a page names."""
        path = self.folder / found[0].replace("/", "_")
        path.write_bytes(pem("outlook.example.com").read_bytes())
        return path.name

    def test_load(self) -> None:
        """Every configuration in the pages is valid; where it is a part of one, servers are added."""
        bad = []
        for where, text in configurations():
            whole = text if re.search(r"^servers:", text, re.MULTILINE) else SERVERS + text
            path = self.folder / "exproxy.yaml"
            path.write_text(SECRET.sub(self.file, PEM.sub(self.file, whole)), "utf-8")
            try:
                load(path, host_name="proxy.example.com")
            except Invalid as invalid:
                bad.append(f"{where}\n{invalid}")
        self.assertEqual(bad, [], "\n".join(bad))

    def test_found(self) -> None:
        """The pages show configurations at all: the rule that finds them has not gone blind."""
        self.assertGreaterEqual(len(list(configurations())), 4)
