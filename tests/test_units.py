"""Durations and sizes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from exproxy.units import duration, size


class DurationTests(SynchronousTestCase):
    def test_units(self) -> None:
        """Every unit, a fraction and a sum are seconds."""
        table = {
            "500ms": 0.5,
            "10s": 10,
            "5m": 300,
            "2h": 7200,
            "1d": 86400,
            "1.5s": 1.5,
            "2h10m": 7800,
            "0s": 0,
        }
        for text, seconds in table.items():
            self.assertEqual(duration(text), seconds, text)
        self.assertEqual(duration(0), 0)

    def test_a_number_needs_a_unit(self) -> None:
        """A bare number is refused, and the likely spellings are shown."""
        for written in (300, "300", 1.5):
            error = self.assertRaises(ValueError, duration, written)
            self.assertIn("a duration needs a unit", str(error))

    def test_nonsense(self) -> None:
        """Anything else is refused with examples, booleans too."""
        for written in ("", "s", "-5s", "5 s", "5y", "5s ", "1h2", True, [], {}, None, "99999d"):
            self.assertRaises(ValueError, duration, written)

    @given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "m"]))
    @settings(max_examples=50)
    def test_any_number(self, number: int, unit: str) -> None:
        """Any number of small units is that number times the unit."""
        factor = {"ms": 0.001, "s": 1, "m": 60}[unit]
        if number * factor <= 31_536_000:
            self.assertAlmostEqual(duration(f"{number}{unit}"), number * factor)


class SizeTests(SynchronousTestCase):
    def test_units(self) -> None:
        """Sizes are bytes, in steps of 1024."""
        table = {"64k": 65536, "10m": 10 * 1024**2, "1g": 1024**3, "512": 512, 512: 512, "4M": 4 * 1024**2}
        for written, count in table.items():
            self.assertEqual(size(written), count)

    def test_nonsense(self) -> None:
        """What is no size is refused."""
        for written in ("", "k", "-1", "1.5k", "1t", True, 1.5, [], "9" * 30):
            self.assertRaises(ValueError, size, written)
