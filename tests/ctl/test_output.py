"""What exproxyctl prints, and how it reads what people write; without any process."""

from __future__ import annotations

import json
from typing import Any

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from exproxy.ctl import main, operate, output
from exproxy.ctl.client import Failed, Place, Refused, usual_sockets
from exproxy.ctl.explain import lines as explained
from exproxy.ctl.operate import moment, path_of, place, wait_until_empty
from exproxy.ctl.output import Column, Output, clean, lasting, size, table
from exproxy.ctl.top import drawn

COLUMNS = (
    Column("NAME", lambda r: r["name"]),
    Column("STATE", lambda r: r["state"], state=True),
    Column("REQ/S", lambda r: r["count"], number=True),
)
ROWS = [{"name": "ex1", "state": "UP", "count": 5}, {"name": "exchange2", "state": "DOWN 1/2", "count": None}]


class TableTests(SynchronousTestCase):
    def test_aligned(self) -> None:
        """Columns are as wide as their widest cell; numbers stand on the right; None is a dash."""
        self.assertEqual(
            table(ROWS, COLUMNS, False),
            ["NAME       STATE     REQ/S", "ex1        UP            5", "exchange2  DOWN 1/2      -"],
        )

    def test_colour(self) -> None:
        """With colour the words are the same, and so is their place."""
        plain, coloured = table(ROWS, COLUMNS, False), table(ROWS, COLUMNS, True)
        self.assertEqual([click.unstyle(line) for line in coloured], plain)
        self.assertIn("\033[31mDOWN 1/2", coloured[2])

    def test_when_coloured(self) -> None:
        """Only on a terminal, and not where NO_COLOR or a dumb terminal speak against it."""
        out = type("Out", (), {"isatty": staticmethod(lambda: True)})
        self.patch(output.sys, "stdout", out)
        for environment, wanted in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            self.patch(output.os, "environ", environment)
            self.assertEqual(output.coloured(), wanted)
        out.isatty = staticmethod(lambda: False)
        self.patch(output.os, "environ", {})
        self.assertFalse(output.coloured())

    def test_clean(self) -> None:
        """What a client said cannot speak to the terminal."""
        row = {"name": "\033]0;x\07\n", "state": "UP", "count": 1}
        self.assertNotIn("\033", table([row], COLUMNS, False)[1])
        self.assertEqual(clean("a\033[2Jb\r\nc\u202e"), "a?[2Jb??c?")

    def show(self, form: str, rows: list[Any]) -> str:
        """What is printed in that form."""
        command = click.Command("x", callback=lambda: Output(form).rows(rows, COLUMNS, "Nobody."))
        return CliRunner().invoke(command).output

    def test_forms(self) -> None:
        """JSON has all that there is; CSV has the columns; an empty table says so."""
        self.assertEqual(json.loads(self.show("json", ROWS)), ROWS)
        self.assertEqual(self.show("csv", ROWS).splitlines()[:2], ["name,state,req_per_second", "ex1,UP,5"])
        self.assertEqual(self.show("table", []), "Nobody.\n")
        self.assertEqual(self.show("csv", []), "name,state,req_per_second\n")

    def test_formulas(self) -> None:
        """A sheet does not calculate with what a client said."""
        row = {"name": "=cmd()", "state": "UP", "count": 1}
        self.assertIn("'=cmd()", self.show("csv", [row]))

    def test_units(self) -> None:
        """Sizes and durations are short."""
        self.assertEqual([size(n) for n in (0, 999, 1440, 15000, 2.5e9)], ["0", "999", "1.4k", "15k", "2.5G"])
        self.assertEqual(
            [lasting(n) for n in (None, 5, 75, 3900, 187200)], ["-", "5s", "1m15s", "1h05m", "2d4h"]
        )

    def test_screen(self) -> None:
        """top draws no more than the terminal has, and says what is below; colours do not count."""
        screen = drawn(["\033[32mabcdef\033[0m", "b", "c", "d"], 3, 4)
        self.assertEqual(screen.count("\r\n"), 3)
        self.assertIn("\033[32mabc\033[0m", screen)
        self.assertIn("… ", screen)
        self.assertNotIn("d", click.unstyle(screen).replace("\033[K", ""))


class WordTests(SynchronousTestCase):
    def test_places(self) -> None:
        """A server is meant everywhere, SERVICE/SERVER there; routes are not for themselves."""
        self.assertEqual(place("ex1"), (None, "ex1"))
        self.assertEqual(path_of("https/ex1", "state"), "/backends/https/ex1/state")
        self.assertEqual(path_of("a b", "weight"), "/servers/a%20b/weight")
        self.assertRaises(click.BadParameter, place, "https/owa/ex1")

    def test_moments(self) -> None:
        """--until takes a duration, or a time with or without a zone; the past is refused."""
        import datetime

        now = 1_800_000_000.0
        seen = lambda text: datetime.datetime.fromisoformat(moment(text, now)).timestamp()  # noqa: E731
        self.assertEqual(seen("2h"), now + 7200)
        self.assertEqual(seen("2027-01-16T08:00:00Z"), 1800086400.0)
        self.assertEqual(seen("2027-01-16T08:00:00+01:00"), 1800082800.0)
        self.assertRaises(click.BadParameter, moment, "2020-01-01", now)
        self.assertRaises(click.BadParameter, moment, "soon", now)

    def test_sockets(self) -> None:
        """The socket is looked for where exproxy keeps its state."""
        self.patch(__import__("os"), "environ", {"HOME": "/home/x", "STATE_DIRECTORY": "/s:/t"})
        self.assertEqual(
            [str(each) for each in usual_sockets()],
            ["/s/exproxy.sock", "/var/lib/exproxy/exproxy.sock", "/home/x/.local/state/exproxy/exproxy.sock"],
        )

    def test_refusal(self) -> None:
        """A refused configuration is told with its places."""
        error = {"file": "/e.yaml", "line": 3, "column": 5, "path": "services.x", "message": "unknown"}
        text = Refused({"detail": "no", "errors": [error]}, 422).message
        self.assertEqual(text, "no\n/e.yaml:3:5: services.x: unknown")
        self.assertIn("EXPROXY_TOKEN", Refused({"detail": "no"}, 401).message)

    def test_no_token_shown(self) -> None:
        """There is no option that takes a token itself, and none is in a repr."""
        options = {
            option
            for command in main.commands.values()
            for parameter in command.params
            for option in parameter.opts
        }
        self.assertIn("--token-file", options)
        self.assertNotIn("--token", options)
        self.assertNotIn("secret", repr(Place()))

    def test_explained(self) -> None:
        """An explanation for people marks what decides, and is clean of what clients said."""
        backend = {
            "name": "s/a", "server": "a", "state": "UP", "weight": 1, "ramp": 1.0, "links": 0, "load": 0,
            "limit": None, "backup": False, "place": 1, "taken": True, "why": "first",
        }  # fmt: skip
        found = {
            "service": "s", "route": None, "target": "s", "table": "s", "facts": {"Head": "\033[2J"},
            "known": [], "claims": ["k:1"], "backends": [backend], "server": "a", "persistence": "new",
            "reason": "first",
            "answer": None, "notes": [], "record": None,
        }  # fmt: skip
        text = explained(found, False)
        self.assertTrue(any(line.startswith("*  s/a") for line in text))
        self.assertIn("It gets a (new): first", text)
        self.assertNotIn("\033", "".join(text))


class FakeClient:
    """Answers with those counts, one at a time; ``wish`` is the operator's state."""

    def __init__(self, *counts: int, wish: str = "drain") -> None:
        self.counts = list(counts)
        self.wish = wish

    def get(self, path: str, **query: Any) -> Any:
        row = {"sessions": {"current": self.counts.pop(0)}, "operator": {"state": self.wish}}
        return [row, {"sessions": {"current": 0}, "operator": None}]


class WaitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.slept: list[float] = []
        self.patch(operate.time, "sleep", self.slept.append)

    def wait(self, client: FakeClient) -> tuple[int, str]:
        """(what is left, what was said on stderr)."""
        left: list[int] = []
        command = click.Command("x", callback=lambda: left.append(wait_until_empty(client, "ex1")))  # type: ignore[arg-type]
        result = CliRunner().invoke(command)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return (left[0] if left else -1), result.output

    def test_until_empty(self) -> None:
        """It ends when nobody is left, and says each change meanwhile."""
        left, said = self.wait(FakeClient(3, 3, 1, 0))
        self.assertEqual((left, len(self.slept)), (0, 3))
        self.assertEqual([line.split(" after")[0] for line in said.splitlines()],
                         ["ex1: 3 left", "ex1: 1 left", "ex1: 0 left"])  # fmt: skip

    def test_ready_again(self) -> None:
        """It ends with an error when somebody has the server ready again."""
        self.assertIn("ready again", self.wait(FakeClient(3, wish="ready"))[1])
        self.assertEqual(Failed("x").exit_code, 1)
