"""UP and DOWN, with rise and fall, and what the log says of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.actions import Fail, Outcome
from exproxy.health import Flip, Health, announcement
from tests.pools import BAD, GOOD, LEAVING


def asked(*outcomes: Outcome, rise: int = 2, fall: int = 3) -> Health:
    """A health that was told these."""
    health = Health(rise, fall)
    for outcome in outcomes:
        health.told(outcome)
    return health


class HealthTests(SynchronousTestCase):
    """Only flips are told."""

    def test_up_until_shown_otherwise(self) -> None:
        """Before its first check a server is UP, and said to be unchecked."""
        health = Health()
        self.assertTrue(health.up)
        self.assertEqual(health.text(), "no check")

    def test_first_answer_decides(self) -> None:
        """One failed first check takes a server down."""
        health = Health()
        self.assertIs(health.told(BAD), Flip.DOWN)
        self.assertEqual(health.text(), "DOWN")

    def test_fall(self) -> None:
        """After a good answer it takes three bad ones in a row."""
        health = asked(GOOD)
        self.assertEqual([health.told(BAD) for _ in range(4)], [None, None, Flip.DOWN, None])

    def test_rise(self) -> None:
        """A server that is down comes up with its second good answer in a row."""
        health = asked(BAD)
        self.assertEqual([health.told(GOOD) for _ in range(3)], [None, Flip.UP, None])

    def test_in_a_row(self) -> None:
        """A good answer between bad ones starts the count anew, and the other way round."""
        self.assertTrue(asked(GOOD, BAD, BAD, GOOD, BAD, BAD).up)
        self.assertFalse(asked(BAD, GOOD, BAD, GOOD).up)

    def test_words_on_the_way(self) -> None:
        """The way down and up is counted in words."""
        self.assertEqual(asked(GOOD, BAD).text(), "UP 2/3")
        self.assertEqual(asked(GOOD, BAD, BAD).text(), "UP 1/3")
        self.assertEqual(asked(BAD, GOOD).text(), "DOWN 1/2")
        self.assertEqual(asked(BAD, GOOD, GOOD).text(), "UP")

    def test_what_clients_meet_counts(self) -> None:
        """Three failed client connections take a server down as three failed checks do."""
        health = asked(GOOD)
        flips = [health.told(BAD, by_client=True) for _ in range(3)]
        self.assertEqual(flips, [None, None, Flip.DOWN])

    def test_a_client_is_no_first_check(self) -> None:
        """Before the first check one failed client connection does not decide."""
        health = Health()
        self.assertIsNone(health.told(BAD, by_client=True))
        self.assertEqual(health.text(), "no check")

    def test_draining(self) -> None:
        """A server that asks for nobody new is UP and draining, until it passes again."""
        health = asked(GOOD)
        self.assertIs(health.told(LEAVING), Flip.DRAIN)
        self.assertTrue(health.up and health.draining)
        self.assertIsNone(health.told(LEAVING))
        self.assertIs(health.told(GOOD), Flip.UNDRAIN)
        self.assertFalse(health.draining)

    def test_draining_then_down_then_up(self) -> None:
        """A draining server that dies and recovers flips down and up only."""
        health = asked(GOOD, LEAVING)
        flips = [health.told(each) for each in (BAD, BAD, BAD, GOOD, GOOD)]
        self.assertEqual(flips, [None, None, Flip.DOWN, None, Flip.UP])

    def test_down_then_draining(self) -> None:
        """A server that recovers only to ask for nobody new comes back draining, not UP."""
        health = asked(BAD)
        self.assertEqual([health.told(LEAVING) for _ in range(2)], [None, Flip.DRAIN])

    def test_restart(self) -> None:
        """Restarted, it is as at the start: UP, and the next answer decides."""
        health = asked(BAD)
        health.restart()
        self.assertTrue(health.up)
        self.assertIs(health.told(BAD), Flip.DOWN)

    def test_retune(self) -> None:
        """A new fall counts from the next answer on."""
        health = asked(GOOD)
        health.retune(Health(1, 1))
        self.assertIs(health.told(BAD), Flip.DOWN)
        self.assertIs(health.told(GOOD), Flip.UP)


class AnnouncementTests(SynchronousTestCase):
    """HAProxy's words, which administrators search their logs for."""

    def test_down(self) -> None:
        """The code's meaning, the reason, the time it took, who is left."""
        self.assertEqual(
            announcement("exchange-https/l12ex1", Flip.DOWN, BAD, 0.003, 1, 0),
            "Server exchange-https/l12ex1 is DOWN, reason: Layer4 connection problem, "
            'info: "Connection refused", check duration: 3ms. 1 active and 0 backup servers left.',
        )

    def test_phase(self) -> None:
        """After the connect the phase is named."""
        text = announcement("smtp/a", Flip.DOWN, Fail("L7TOUT", "greeting", "no answer in 5 s"), 5.0, 0, 1)
        self.assertIn('reason: Layer7 timeout, info: "greeting: no answer in 5 s"', text)

    def test_unknown_code(self) -> None:
        """A plugin's own code stands for itself."""
        self.assertIn("reason: L9ODD,", announcement("smtp/a", Flip.DOWN, Fail("L9ODD", "x", "y"), 0, 0, 0))

    def test_up(self) -> None:
        """Coming up is told with who is online."""
        self.assertEqual(
            announcement("smtp/a", Flip.UP, GOOD, 0.001, 2, 0),
            "Server smtp/a is UP, reason: check passed, check duration: 1ms. "
            "2 active and 0 backup servers online.",
        )

    def test_draining(self) -> None:
        """A server that asks for nobody new says why."""
        self.assertIn('is DRAIN, reason: "404"', announcement("web/a", Flip.DRAIN, LEAVING, 0, 1, 0))
