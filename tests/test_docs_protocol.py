"""docs/write-a-protocol.md: what it tells its readers to write and to run, written and run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.pages import Block, blocks, environment, run, write

PAGE = "write-a-protocol.md"
FOUND = """
from twisted.plugin import getPlugins
from exproxy.interfaces import ICheckPlugin, IPersistencePlugin, IProtocolPlugin
for interface in (IProtocolPlugin, ICheckPlugin, IPersistencePlugin):
    (plugin,) = [plugin for plugin in getPlugins(interface) if plugin.name in ("managesieve", "office")]
    print(plugin.load().summary)
"""


def code(block: Block) -> list[str]:
    """The lines of a block that are neither empty nor a comment."""
    return [line for line in block.text.splitlines() if line.strip() and not line.strip().startswith("#")]


class WriteAProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="exproxy-page-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.blocks = blocks(PAGE)

    def run_ok(self, command: str) -> str:
        """Run a command that must end well."""
        status, printed = run(command, self.folder)
        self.assertEqual(status, 0, f"{command}\n{printed}")
        return printed

    def test_the_page_in_order(self) -> None:
        """Every file is written and every command run where it stands; all its tests pass on the way."""
        commands = 0
        for block in self.blocks:
            if block.language == "sh":
                # PYTHONPATH is set for them by the test, with exproxy's own folder on it too.
                self.run_ok(block.text.replace("export PYTHONPATH=.", ""))
                commands += 1
            elif block.title:
                write(block, self.folder)
                if block.title.endswith(".py"):
                    self.run_ok(f"python -W error -m py_compile {block.title}")
        self.assertEqual(commands, 3)
        printed = self.run_ok("python -m unittest -v")
        for name in ("test_served", "test_passed_over", "test_refused", "test_contract", "test_keys"):
            self.assertIn(f"{name} ", printed)

    def test_each_protocol_passes(self) -> None:
        """Each state of the protocol but the first keeps the contract; the first only does not refuse."""
        states = [b for b in self.blocks if b.title == "managesieve.py" and not b.append]
        check = (
            "python -c 'from exproxy.testing import *; import managesieve; "
            "check_protocol_plugin(managesieve.plugin)'"
        )
        write(states[0], self.folder)
        status, printed = run(check, self.folder)
        self.assertEqual(status, 1)
        self.assertIn("the client would wait for ever", printed)
        for state in states[1:]:
            write(state, self.folder)
            self.run_ok(check)

    def test_sizes(self) -> None:
        """It starts with fifteen lines; the protocol has sixty at the most, the strategy about twenty."""
        first, *_, whole = (b for b in self.blocks if b.title == "managesieve.py" and not b.append)
        self.assertLessEqual(len(code(first)), 15)
        self.assertLessEqual(whole.text.count("\n"), 60)
        (office,) = (b for b in self.blocks if b.title == "office.py")
        strategy = office.text.partition("class Options")[2].partition("@implementer(IPersistencePlugin)")[0]
        self.assertLessEqual(len(strategy.split("\n")), 22)

    def test_found(self) -> None:
        """What the page makes known is found by getPlugins, and can be loaded."""
        for block in self.blocks:
            if block.title:
                write(block, self.folder)
        (self.folder / "found.py").write_text(FOUND, encoding="utf-8")
        printed = self.run_ok("python found.py")
        self.assertEqual(len(printed.splitlines()), 3, printed)
        self.assertIn("one office, one server", printed)
        self.assertIn(str(self.folder), environment(self.folder)["PYTHONPATH"])

    def test_a_misspelt_option(self) -> None:
        """An outsider's option gets the same treatment as ours: its place, and advice."""
        for block in self.blocks:
            if block.title:
                write(block, self.folder)
        file = self.folder / "sieve.yaml"
        file.write_text(file.read_text(encoding="utf-8").replace("networks:", "netwroks:"), encoding="utf-8")
        status, printed = run("exproxyctl check sieve.yaml", self.folder)
        self.assertEqual(status, 1)
        self.assertIn("sieve.yaml:9:", printed)
        self.assertIn("did you mean 'networks'?", printed)
