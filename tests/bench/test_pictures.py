"""Charts."""

from __future__ import annotations

from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from bench.pictures import pictures
from bench.svg import Group, chart
from tests.bench.rows import row

SVG = "{http://www.w3.org/2000/svg}"


class ChartTests(SynchronousTestCase):
    """Bars."""

    def bars(self, text: str) -> list[float]:
        """Their lengths."""
        rects = ElementTree.fromstring(text).findall(f"{SVG}rect")
        return [float(each.attrib["width"]) for each in rects if each.attrib["height"] == "12"]

    def test_scale(self) -> None:
        """All bars have one scale that begins at 0; the longest takes the width that there is."""
        text = chart(
            "t", [Group("a", [("exproxy", 1.0, ""), ("nginx", 4.0, "")]), Group("b", [("x", 2.0, "")])]
        )
        self.assertEqual(self.bars(text), [127.5, 510.0, 255.0])

    def test_marks_fit(self) -> None:
        """A goal beyond all bars is inside the picture."""
        text = chart("t", [Group("a", [("exproxy", 1.0, "")], [(2.0, "goal")])])
        self.assertEqual(self.bars(text), [255.0])
        (line,) = ElementTree.fromstring(text).findall(f"{SVG}line")
        self.assertEqual(line.attrib["x1"], "810.0")

    def test_escaped(self) -> None:
        """Texts may have any character."""
        text = chart('a < b & "c"', [Group("<x>", [("exproxy", 0.0, "&")])])
        self.assertEqual(ElementTree.fromstring(text).attrib["aria-label"], 'a < b & "c"')


class PicturesTests(SynchronousTestCase):
    """Which there are."""

    def test_only_what_was_measured(self) -> None:
        """A picture without any figure is not drawn."""
        self.assertEqual(sorted(pictures([row(exproxy=1.0, haproxy=2.0)])), ["ratio", "tcp"])
        self.assertEqual(pictures([]), {})

    def test_memory(self) -> None:
        """Memory has one of its own."""
        made = row(exproxy=1.0)
        made.outcomes["exproxy"].memory = 2048.0
        drawn = pictures([made])
        self.assertEqual(sorted(drawn), ["memory", "tcp"])
        self.assertIn("2.00 KiB", drawn["memory"])
