"""Mutated PDUs of real exchanges, a few of them: ``make fuzz`` plays a million."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc import tower
from tests.msrpc.fuzz import Broken, Fuzz


class FuzzTests(SynchronousTestCase):
    def test_mutated(self) -> None:
        """40,000 mutated PDUs: nothing raises, goes on after its end, or outlives its connections."""
        for seed in (1, 2):
            fuzz = Fuzz(seed)
            fuzz.run(20_000)
            self.assertEqual(set(fuzz.ends), {"open", "malformed", "hung up", "relayed", "Pass", "Fail"})

    def test_repeatable(self) -> None:
        """A seed's rounds are always the same."""
        runs = [Fuzz(7), Fuzz(7), Fuzz(8)]
        for fuzz in runs:
            fuzz.run(500)
        found = [(fuzz.rounds, fuzz.fed, fuzz.ends) for fuzz in runs]
        self.assertEqual(found[0], found[1])
        self.assertNotEqual(found[0], found[2])

    def test_errors_are_found(self) -> None:
        """Whatever is raised is told, with how to play that round again; and it shows the error again."""

        def careless(octets: bytes, at: int) -> tuple[bytes, int]:
            length = int.from_bytes(octets[at : at + 2], "little")
            octets[at + 1 + length]  # raises IndexError where a tower is cut short
            return octets[at + 2 : at + 2 + length], at + 2 + length

        self.patch(tower, "_side", careless)
        with self.assertRaisesRegex(Broken, r"IndexError.*--seed 3 --round \d+$") as caught:
            Fuzz(3).run(20_000)
        with self.assertRaises(Broken):
            Fuzz(3).play(int(str(caught.exception).split()[-1]))
