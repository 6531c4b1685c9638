"""The examples in etc/ that begin with a template."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from exproxy.config import load
from exproxy.config.rendering import rendered
from exproxy.config.templates import NAMES
from tests.certificates import pem

ETC = Path(__file__).resolve().parent.parent / "etc"


class ExamplesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A folder with the files that the examples name."""
        holder = tempfile.TemporaryDirectory(prefix="exproxy-examples-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        for name in ("mail.litware.com.pem", "ca.pem"):
            shutil.copy(pem("mail.litware.com"), self.folder / name)

    def example(self, name: str) -> Path:
        """The example of that template, where its certificates are."""
        return Path(shutil.copy(ETC / f"{name}.yaml", self.folder))

    def test_each_loads(self) -> None:
        """Every template has an example that is good as it stands, with nothing doubtful in it."""
        for name in NAMES:
            config = load(self.example(name), host_name="lb.example.org")
            self.assertEqual((tuple(config.servers), config.warning_text), (("ex1", "ex2"), ""), name)
            self.assertLessEqual({"https", "http", "smtp", "imap", "pop"}, set(config.services))
            backend = config.services["https"].backend
            self.assertEqual(backend.tls.server_name, "mail.litware.com", name)
            self.assertTrue(backend.tls.verify.endswith("ca.pem"), name)

    def test_what_is_commented_out(self) -> None:
        """The keys that an example shows in comments are good too."""
        for name in NAMES:
            path = self.example(name)
            text = path.read_text("utf-8")
            begin = text.index("services:\n")
            begin = text.rindex("\n", 0, begin) + 1
            lines = [re.sub(r"^# ", "", line) for line in text[begin:].splitlines()]
            lines = [re.sub(r"^  # (?=[a-z0-9-]+: [~{])", "  ", line) for line in lines]
            path.write_text(text[:begin] + "\n".join(lines) + "\n", "utf-8")
            config = load(path, host_name="lb.example.org")
            self.assertNotIn("epm" if name == "exchange-2010" else "pop", config.services)

    def test_each_renders(self) -> None:
        """What `exproxyctl template render` makes of an example is good too."""
        for name in NAMES:
            path = self.example(name)
            path.write_text(rendered(path), "utf-8")
            self.assertIn("https", load(path, host_name="lb.example.org").services)
