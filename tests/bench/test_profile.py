"""The profile of one session: it serves, whatever its options."""

from __future__ import annotations

import contextlib
import io
import itertools

from twisted.trial.unittest import SynchronousTestCase

from bench.profile import main


class ProfileTests(SynchronousTestCase):
    """A few requests."""

    def test_options(self) -> None:
        """With each combination of its options it says what a request costs, and where that goes."""
        words = ("--varied", "--routes", "--log")
        for chosen in itertools.product((False, True), repeat=len(words)):
            options = [word for word, wanted in zip(words, chosen, strict=True) if wanted]
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                code = main(["--requests", "20", "--rounds", "1", "--lines", "5", *options])
            self.assertEqual(code, 0, options)
            self.assertIn("µs for each request", out.getvalue())
            self.assertIn("function calls", out.getvalue())
