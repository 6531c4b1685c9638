"""exproxy.plugins and exproxy.lazy, and the plugin file itself."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import ICheckPlugin, IPersistencePlugin, IProtocolPlugin, ISchedulingPlugin
from exproxy.lazy import BrokenPlugin, Lazy, shadow
from exproxy.plugins import (
    AmbiguousPlugin,
    Catalogue,
    NoOptions,
    Options,
    Selected,
    UnknownPlugin,
    did_you_mean,
    find,
    kind_of,
    names,
)
from tests.config.fakes import Protocol, fake_catalogue

BUILT_IN: dict[Any, set[str]] = {
    IProtocolPlugin: {"tcp", "tls", "rpc", "epm", "smtp", "imap", "pop", "http", "https"},
    IPersistencePlugin: {"none", "source-ip", "super-http", "tls-session"},
    ISchedulingPlugin: {"round-robin", "least-connections", "source-hash", "random"},
    ICheckPlugin: {"connect", "tls", "http", "smtp", "imap", "pop"},
}


class Masked(Options):
    mask_v4: int = 32


class InstalledTests(SynchronousTestCase):
    def test_built_in_names(self) -> None:
        """All that comes with exproxy is found by getPlugins, by its name."""
        for interface, expected in BUILT_IN.items():
            self.assertLessEqual(expected, set(names(interface)))
            self.assertLessEqual(expected, {plugin.name for plugin in getPlugins(interface)})

    def test_built_in_records(self) -> None:
        """Every built-in record is importable and keeps its interface, through its Lazy too."""
        for interface, expected in BUILT_IN.items():
            for name in sorted(expected):
                record = find(interface, name)
                verifyObject(interface, record)
                self.assertEqual(record.name, name)
                self.assertTrue(record.summary)

    def test_the_plugin_file_imports_nothing_heavy(self) -> None:
        """twistd for something else does not pay for pydantic, YAML or a protocol of ours."""
        code = (
            "import sys, twisted.plugins.exproxy_plugin\n"
            "heavy = {'pydantic', 'yaml', 'protocols', 'cryptography', 'twisted.internet.reactor'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "[]")


class CatalogueTests(SynchronousTestCase):
    def test_find(self) -> None:
        """A plugin is found by interface and name, whether it is lazy or not."""
        self.assertEqual(fake_catalogue().find(IProtocolPlugin, "imap").name, "imap")

    def test_unknown(self) -> None:
        """An unknown name is answered with the likeliest one."""
        error = self.assertRaises(UnknownPlugin, fake_catalogue().find, IProtocolPlugin, "imapp")
        self.assertEqual(str(error), "unknown protocol 'imapp'; did you mean 'imap'?")
        self.assertEqual((error.kind, error.name, error.suggestion), ("protocol", "imapp", "imap"))

    def test_unknown_without_likely_one(self) -> None:
        """Where nothing is near, all there are get named."""
        error = self.assertRaises(UnknownPlugin, fake_catalogue().find, ICheckPlugin, "zzzzzz")
        self.assertIn("there are connect, http, imap, pop, smtp, tls", str(error))

    def test_ambiguous(self) -> None:
        """Two plugins of one name are an error that names both places."""
        lines = [Lazy(IProtocolPlugin, "x", "one:plugin"), Lazy(IProtocolPlugin, "x", "two:plugin")]
        error = self.assertRaises(AmbiguousPlugin, Catalogue(lambda _: lines).find, IProtocolPlugin, "x")
        self.assertIn("one:plugin and two:plugin", str(error))

    def test_the_same_line_twice(self) -> None:
        """The same plugin line, found in two folders, is one plugin."""
        target = f"{__name__}:RECORD"
        lines = [Lazy(IProtocolPlugin, "fake", target), Lazy(IProtocolPlugin, "fake", target)]
        self.assertIs(Catalogue(lambda _: lines).find(IProtocolPlugin, "fake"), RECORD)

    def test_asked_once(self) -> None:
        """A catalogue looks for the plugins of an interface once."""
        asked = []
        catalogue = Catalogue(lambda interface: asked.append(interface) or [RECORD])
        catalogue.names(IProtocolPlugin)
        catalogue.find(IProtocolPlugin, "fake")
        self.assertEqual(asked, [IProtocolPlugin])

    def test_words(self) -> None:
        """Interfaces are spoken of in the administrator's words."""
        self.assertEqual(kind_of(IPersistencePlugin), "persistence")
        self.assertEqual(did_you_mean("Round_Robin", ["round-robin", "random"]), "round-robin")
        self.assertIsNone(did_you_mean("zz", ["round-robin"]))


RECORD = Protocol("fake")
WRONG_KIND = object()


class LazyTests(SynchronousTestCase):
    def test_nothing_is_imported_for_its_name(self) -> None:
        """Name, interface and what zope asks cost no import."""
        lazy = Lazy(IProtocolPlugin, "fake", "no_such_module:plugin")
        self.assertTrue(IPlugin.providedBy(lazy))
        self.assertTrue(IProtocolPlugin.providedBy(lazy))
        self.assertEqual(lazy.name, "fake")
        self.assertFalse(hasattr(lazy, "__conform__"))
        self.assertIn("no_such_module:plugin", repr(lazy))

    def test_forwards(self) -> None:
        """Anything else is the record's, so that a Lazy does provide its interface."""
        lazy = Lazy(IProtocolPlugin, "fake", f"{__name__}:RECORD")
        self.assertEqual(lazy.summary, "a protocol")
        verifyObject(IProtocolPlugin, lazy)

    def broken(self, name: str, target: str) -> str:
        return str(self.assertRaises(BrokenPlugin, Lazy(IProtocolPlugin, name, target).load))

    def test_broken_ones(self) -> None:
        """What cannot be imported, or is something else, is told with name and target."""
        self.assertIn("No module named 'no_such_module'", self.broken("x", "no_such_module:plugin"))
        self.assertIn("no attribute 'nothing'", self.broken("x", f"{__name__}:nothing"))
        self.assertIn("does not provide IProtocolPlugin", self.broken("x", f"{__name__}:WRONG_KIND"))
        self.assertIn("made known as 'x', but calls itself 'fake'", self.broken("x", f"{__name__}:RECORD"))

    def test_options(self) -> None:
        """NoOptions takes none."""
        self.assertRaises(ValidationError, NoOptions.model_validate, {"any": 1})
        self.assertEqual(Selected(RECORD, NoOptions()).name, "fake")

    def test_base_of_options(self) -> None:
        """A plugin's options are kebab-case in the file, refuse what they do not know, and do not change."""
        mine = Masked.model_validate({"mask-v4": 24})
        self.assertEqual(mine, Masked(mask_v4=24))
        self.assertRaises(ValidationError, Masked.model_validate, {"mask-v5": 24})
        self.assertRaises(ValidationError, setattr, mine, "mask_v4", 16)


class ShadowTests(SynchronousTestCase):
    def folder(self, *files: str) -> Path:
        holder = tempfile.TemporaryDirectory(prefix="exproxy-shadow-")
        self.addCleanup(holder.cleanup)
        for file in files:
            path = Path(holder.name, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return Path(holder.name)

    def test_a_foreign_package_is_named(self) -> None:
        """A package of the same name that hides ours is told with both places."""
        foreign, ours = self.folder("shady/__init__.py"), self.folder("shady/__init__.py", "shady/good.py")
        module = types.ModuleType("shady")
        module.__path__ = [str(foreign / "shady")]
        self.patch(sys, "path", [str(foreign), str(ours), *sys.path])
        sys.modules["shady"] = module
        self.addCleanup(sys.modules.pop, "shady")
        text = str(self.assertRaises(BrokenPlugin, Lazy(IProtocolPlugin, "x", "shady.good:plugin").load))
        self.assertIn(f"another package named 'shady', in {(foreign / 'shady').resolve()}", text)
        self.assertIn(str((ours / "shady").resolve()), text)

    def test_a_foreign_protocols_package(self) -> None:
        """A `protocols` package earlier on the path is named instead of a bare ImportError."""
        foreign = self.folder("protocols/__init__.py")
        code = (
            f"import sys; sys.path.insert(0, {str(foreign)!r})\n"
            "from exproxy.plugins import find\n"
            "from exproxy.interfaces import IProtocolPlugin\n"
            "find(IProtocolPlugin, 'tcp')\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        last = done.stderr.strip().splitlines()[-1]
        self.assertIn("another package named 'protocols'", last)
        self.assertIn(str(foreign.resolve() / "protocols"), last)

    def test_no_shadow(self) -> None:
        """A module that is nowhere, or where it should be, has no shadow."""
        self.assertIsNone(shadow("no_such_module.at_all"))
        self.assertIsNone(shadow("exproxy.settings"))
