"""protocols.msrpc.associations: connections that belong together."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protocols.msrpc.associations import Associations


class Connection:
    """A member that is busy or not."""

    def __init__(self, busy: bool = False) -> None:
        self.busy = busy


class AssociationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.all = Associations()

    def test_busy(self) -> None:
        """An association is busy as long as one of its connections is."""
        quiet, busy = Connection(), Connection(True)
        self.all.join(("exch1", 7), quiet)
        self.assertFalse(self.all.busy(("exch1", 7)))
        self.all.join(("exch1", 7), busy)
        self.assertTrue(self.all.busy(("exch1", 7)))
        busy.busy = False
        self.assertFalse(self.all.busy(("exch1", 7)))

    def test_one_id_of_two_servers(self) -> None:
        """The same id of another server is another association."""
        self.all.join(("exch1", 7), Connection(True))
        self.all.join(("exch2", 7), Connection())
        self.assertFalse(self.all.busy(("exch2", 7)))
        self.assertEqual(len(self.all), 2)

    def test_leave(self) -> None:
        """Nothing is kept of an association without connections; leaving twice is no matter."""
        first, second = Connection(True), Connection()
        for member in (first, second):
            self.all.join(("exch1", 7), member)
        self.all.leave(("exch1", 7), first)
        self.all.leave(("exch1", 7), first)
        self.assertFalse(self.all.busy(("exch1", 7)))
        self.assertEqual(len(self.all), 1)
        self.all.leave(("exch1", 7), second)
        self.all.leave(("exch1", 7), second)
        self.assertEqual(len(self.all), 0)
        self.assertFalse(self.all.busy(("exch1", 7)))
