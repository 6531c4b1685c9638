"""exproxyctl."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import click
import yaml
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from exproxy import __version__
from exproxy.config.templates import NAMES, path_of
from exproxy.ctl import main
from exproxy.interfaces import ICommandPlugin
from exproxy.lazy import Lazy
from exproxy.plugins import Catalogue

GOOD = "servers: {a: 192.0.2.1}\nservices: {s: {protocol: tcp, listen: 25}}\n"


class CtlTests(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="exproxy-ctl-")
        self.addCleanup(holder.cleanup)
        self.file = Path(holder.name, "exproxy.yaml")

    def run_with(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    def check(self, text: str, *arguments: str) -> Result:
        self.file.write_text(text)
        return self.run_with("check", os.fspath(self.file), *arguments)

    def test_version(self) -> None:
        """The version is told."""
        self.assertEqual(self.run_with("--version").output, f"exproxyctl {__version__}\n")

    def test_good(self) -> None:
        """A good file is said to be good, with 0."""
        result = self.check(GOOD)
        self.assertEqual((result.exit_code, result.output), (0, f"{self.file}: configuration OK\n"))

    def test_warnings(self) -> None:
        """Warnings are shown, and are no failure."""
        result = self.check(GOOD + "groups: {g: {}}\n")
        self.assertEqual(result.exit_code, 0)
        self.assertIn("warning: groups.g", result.output)
        self.assertTrue(result.output.endswith(f"{self.file}: configuration OK, 1 warning\n"))

    def test_bad(self) -> None:
        """A bad file ends with 1 and the count of errors."""
        result = self.check(GOOD + "nonsense: 1\n")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("error: nonsense: unknown option", result.output)
        self.assertTrue(result.output.endswith(f"1 error in {self.file}\n"))

    def test_json(self) -> None:
        """Programs get JSON, good or bad."""
        bad = self.check(GOOD + "nonsense: 1\n", "--format", "json")
        self.assertEqual((bad.exit_code, json.loads(bad.output)["problems"][0]["path"]), (1, "nonsense"))
        good = self.check(GOOD, "--format", "json")
        self.assertEqual(
            (good.exit_code, json.loads(good.output)),
            (0, {"file": os.fspath(self.file), "valid": True, "problems": []}),
        )

    def test_usage(self) -> None:
        """Wrong usage is 2."""
        self.assertEqual(self.run_with("chekc").exit_code, 2)
        self.assertEqual(self.check(GOOD, "--format", "xml").exit_code, 2)

    def test_missing_file(self) -> None:
        """A file that is not there is an invalid configuration."""
        result = self.run_with("check", "/nowhere/at/all.yaml")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("cannot be read: No such file or directory", result.output)

    def test_schema(self) -> None:
        """The schema is JSON."""
        self.assertIn("$defs", json.loads(self.run_with("schema").output))

    def test_template_list(self) -> None:
        """Every template is named, with what it is for."""
        lines = self.run_with("template", "list").output.splitlines()
        self.assertEqual([line.split()[0] for line in lines], list(NAMES))
        self.assertTrue(all(line.split()[1] == "Exchange" for line in lines))

    def test_template_show(self) -> None:
        """A template is printed as it stands, with its comments; an unknown one is wrong usage."""
        shown = self.run_with("template", "show", "exchange-2019")
        self.assertEqual((shown.exit_code, shown.output), (0, path_of("exchange-2019").read_text("utf-8")))
        wrong = self.run_with("template", "show", "exchange-2012")
        self.assertEqual(wrong.exit_code, 2)
        self.assertIn("exchange-2013", wrong.output)

    def test_template_render(self) -> None:
        """A file is printed with its template in it; one that cannot be read ends with 1."""
        self.file.write_text("template: exchange-se\nservers: {a: 192.0.2.1}\nservices: {pop: ~}\n")
        result = self.run_with("template", "render", os.fspath(self.file))
        self.assertEqual(result.exit_code, 0)
        rendered = yaml.safe_load(result.output)
        self.assertNotIn("template", rendered)
        self.assertEqual(set(rendered["services"]), {"http", "https", "smtp", "imap"})
        self.file.write_text("template: exchange-2012\n")
        result = self.run_with("template", "render", os.fspath(self.file))
        self.assertEqual(result.exit_code, 1)
        self.assertIn("template: must be the name of a template; did you mean", result.output)


@click.command()
@click.argument("name")
def hello(name: str) -> None:
    """Greet NAME, at length."""
    click.echo(f"hello {name}")


@implementer(ICommandPlugin)
class Hello:
    name = "hello"
    summary = "greet somebody"
    command = hello


class Raising:
    """A module whose import fails in its own way."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        raise SyntaxError("somebody's mistake")


PLUGIN = Hello()


class CommandPluginTests(SynchronousTestCase):
    """Commands that others bring."""

    def setUp(self) -> None:
        self.plugins: list[object] = [
            Lazy(ICommandPlugin, "hello", f"{__name__}:PLUGIN"),
            Lazy(ICommandPlugin, "gone", "no_such_module:plugin"),
        ]
        asked = lambda interface: self.plugins if interface is ICommandPlugin else []  # noqa: E731
        self.patch(Catalogue.__init__, "__defaults__", (asked,))

    def run_with(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    def test_interface(self) -> None:
        """A record of three attributes."""
        self.assertTrue(verifyObject(ICommandPlugin, PLUGIN))

    def test_run(self) -> None:
        """It is run like ours, with its arguments and help."""
        self.assertEqual(self.run_with("hello", "world").output, "hello world\n")
        self.assertIn("Greet NAME, at length.", self.run_with("hello", "--help").output)
        self.assertEqual(self.run_with("hello").exit_code, 2)

    def test_listed(self) -> None:
        """The list has the plugin's line for it; one that cannot be used is in it, with the others."""
        lines = [" ".join(line.split()) for line in self.run_with("--help").output.splitlines()]
        self.assertIn("hello greet somebody", lines)
        self.assertIn("gone (cannot be used)", lines)
        self.assertTrue(any(line.startswith("check ") for line in lines))
        self.assertIsNone(hello.short_help)

    def test_broken(self) -> None:
        """One that cannot be used says why, with 1, whatever it is called with."""
        for arguments in ((), ("exch1", "--port", "135")):
            result = self.run_with("gone", *arguments)
            self.assertEqual(result.exit_code, 1)
            self.assertIn("plugin 'gone' (no_such_module:plugin) cannot be used", result.output)
        self.assertIn("No module named", self.run_with("gone", "--help").output)

    def test_broken_in_its_own_way(self) -> None:
        """Any exception of a plugin's is that plugin's affair."""
        broken = Lazy(ICommandPlugin, "odd", "x:y")
        broken._record = Raising()
        self.plugins.append(broken)
        self.assertIn("somebody's mistake", self.run_with("odd").output)
        self.assertEqual(self.run_with("hello", "you").exit_code, 0)

    def test_ours_win(self) -> None:
        """A plugin takes none of exproxyctl's own names; two of one name are told."""
        self.plugins.append(Lazy(ICommandPlugin, "schema", "no_such_module:plugin"))
        self.plugins.append(Lazy(ICommandPlugin, "hello", "another:plugin"))
        self.assertEqual(self.run_with("schema", "--help").exit_code, 0)
        self.assertIn("two plugins call themselves command 'hello'", self.run_with("hello", "x").output)

    def test_unknown(self) -> None:
        """What is no command at all is wrong usage still."""
        self.assertEqual(self.run_with("helo").exit_code, 2)
