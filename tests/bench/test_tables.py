"""Tables for a terminal and for a page."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench import tables
from bench.figures import Goal
from tests.bench.rows import row


class NumberTests(SynchronousTestCase):
    """Figures as they are read."""

    def test_digits(self) -> None:
        """Three significant digits, thousands with commas, no exponents."""
        shown = [tables.number(value) for value in (0.0123, 0.456, 1.5, 16.44, 166.2, 60912.4, 0.0, None)]
        self.assertEqual(shown, ["0.0123", "0.456", "1.50", "16.4", "166", "60,912", "0", "-"])


class MarkdownTests(SynchronousTestCase):
    """The form of a table."""

    def test_aligned(self) -> None:
        """Columns are as wide as their widest cell; figures stand at the right."""
        self.assertEqual(
            tables.markdown(["a", "bb"], [["long", "1"]]),
            "| a    | bb |\n| ---- | -: |\n| long |  1 |",
        )


class CostsTests(SynchronousTestCase):
    """The table that counts."""

    def cells(self, text: str) -> list[str]:
        """Those of the first row."""
        return [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]

    def test_row(self) -> None:
        """Workload, what exproxy does with it, unit, costs, ratio, goals, and which of them is reached."""
        text = tables.costs([row(exproxy=21.0, haproxy=20.0)], ["exproxy", "haproxy", "nginx"])
        self.assertEqual(
            self.cells(text),
            ["ping-pong", "relayed", "µs/exchange", "21.0", "20.0", "", "1.05", "1.10", "1.00", "reach"],
        )

    def test_no_goal(self) -> None:
        """A workload without a goal has a ratio all the same."""
        text = tables.costs([row(goal=Goal(), exproxy=10.0, haproxy=20.0)], ["exproxy", "haproxy"])
        self.assertEqual(self.cells(text)[-4:], ["0.500", "", "", ""])

    def test_without_haproxy(self) -> None:
        """Without haproxy there is no ratio and no verdict."""
        text = tables.costs([row(exproxy=10.0, nginx=20.0)], ["exproxy", "nginx"])
        self.assertEqual(self.cells(text)[-4:], ["-", "1.10", "1.00", ""])

    def test_failed(self) -> None:
        """A peer that failed has no figure, even where it had good rounds before, and the remarks say why."""
        made = row(exproxy=10.0, haproxy=20.0)
        made.outcomes["haproxy"].problem = "connection refused"
        self.assertEqual(
            self.cells(tables.costs([made], ["exproxy", "haproxy"]))[3:6], ["10.0", "failed", "-"]
        )
        self.assertEqual(tables.remarks([made]), ["ping-pong, haproxy: connection refused"])


class OthersTests(SynchronousTestCase):
    """Rates, memory, remarks."""

    def test_rates(self) -> None:
        """Each peer has its rate, its latencies and its spread."""
        text = tables.rates([row(exproxy=21.0, haproxy_256k=20.0)])
        self.assertIn("1,000 exchanges |   1.00 |   2.00 |   2% |      1 |    21.0 to 21.0 µs", text)
        self.assertIn("haproxy 256k", text)

    def test_memory(self) -> None:
        """KiB for each idle connection, where it was measured."""
        made = row(exproxy=1.0, haproxy=1.0)
        self.assertEqual(tables.memory([made], ["exproxy"]), "")
        made.outcomes["exproxy"].memory, made.outcomes["haproxy"].memory = 4096.0, 8192.0
        text = tables.memory([made], ["exproxy", "haproxy"])
        self.assertIn("|       1,000 |    4.00 |    8.00 | 0.500 |", text)

    def test_resumption(self) -> None:
        """Handshakes that were to be resumed and were not are told of."""
        made = row(exproxy=1.0)
        made.workload.options["resumed"] = True
        made.outcomes["exproxy"].notes["resumed"] = 0.25
        self.assertEqual(tables.remarks([made]), ["ping-pong, exproxy: 25% were resumed, the rest full"])

    def test_ciphers(self) -> None:
        """Peers that spoke different ciphers are not comparable, which is said."""
        made = row(exproxy=1.0, nginx=1.0)
        made.outcomes["exproxy"].notes["cipher"] = "A"
        made.outcomes["nginx"].notes["cipher"] = "A"
        self.assertEqual(tables.remarks([made]), [])
        made.outcomes["nginx"].notes["cipher"] = "B"
        self.assertEqual(tables.remarks([made]), ["ping-pong: not one cipher: exproxy A, nginx B"])
