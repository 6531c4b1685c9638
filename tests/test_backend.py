"""Backends and their leases."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.backend import Backend, Lease
from exproxy.health import Health
from exproxy.interfaces import IBackend, ILease
from exproxy.model import ClientAddress
from tests.pools import BAD, GOOD, LEAVING, backends, key


def told(*outcomes: object, **settings: object) -> Backend:
    """A backend whose checks gave these outcomes."""
    (backend,) = backends("a", **settings)
    for outcome in outcomes:
        backend.health.told(outcome)  # type: ignore[arg-type]
    return backend


class BackendTests(SynchronousTestCase):
    """Who may come, and what people read."""

    def test_interface(self) -> None:
        """It is what sessions expect."""
        self.assertTrue(verifyObject(IBackend, told()))

    def test_usable(self) -> None:
        """UP and ready, it takes everybody."""
        backend = told(GOOD)
        self.assertTrue(backend.usable_for_new() and backend.usable_for_known())
        self.assertEqual(backend.state, "UP")

    def test_leaving(self) -> None:
        """Drained so that all leave, it takes not even those who are bound to it."""
        backend = told(GOOD)
        backend.operator, backend.leaving = "drain", True
        self.assertFalse(backend.usable_for_known())
        self.assertEqual(backend.state, "DRAIN")

    def test_drained_by_the_operator(self) -> None:
        """Drained, it takes only those that it knows."""
        backend = told(GOOD)
        backend.operator = "drain"
        self.assertEqual((backend.usable_for_new(), backend.usable_for_known()), (False, True))
        self.assertEqual(backend.state, "DRAIN")

    def test_drained_by_its_check(self) -> None:
        """A server that asks for nobody new is left to those that it knows."""
        backend = told(GOOD, LEAVING)
        self.assertEqual((backend.usable_for_new(), backend.usable_for_known()), (False, True))
        self.assertEqual(backend.state, "DRAIN")

    def test_maintenance(self) -> None:
        """In maintenance it takes nobody."""
        backend = told(GOOD)
        backend.operator = "maint"
        self.assertEqual((backend.usable_for_new(), backend.usable_for_known()), (False, False))
        self.assertEqual(backend.state, "MAINT")

    def test_down(self) -> None:
        """DOWN, it takes nobody, drained or not."""
        backend = told(BAD)
        backend.operator = "drain"
        self.assertEqual((backend.usable_for_new(), backend.usable_for_known()), (False, False))
        self.assertEqual(backend.state, "DOWN")

    def test_no_address(self) -> None:
        """Until its name is resolved it takes nobody."""
        backend = told(GOOD)
        backend.host = None
        self.assertEqual((backend.usable_for_new(), backend.usable_for_known()), (False, False))
        self.assertEqual(backend.state, "no address")

    def test_weight_0(self) -> None:
        """With a weight of 0 it is left to those that it knows."""
        backend = told(GOOD, weight=0)
        self.assertEqual((backend.usable_for_new(), backend.usable_for_known()), (False, True))

    def test_full(self) -> None:
        """Its limit counts links."""
        backend = told(limit=1)
        self.assertFalse(backend.full())
        lease = Lease(backend, lambda lease: None)
        self.assertTrue(backend.full())
        lease.release()
        self.assertFalse(backend.full())

    def test_repr(self) -> None:
        """A backend shows its name, state and counts."""
        backend = told(GOOD, BAD)
        Lease(backend, lambda lease: None)
        self.assertEqual(repr(backend), "<Backend web/a UP 2/3 links=1 load=1>")

    def test_become(self) -> None:
        """A new configuration changes the settings, and neither counts nor health nor a known address."""
        backend = told(GOOD, BAD)
        Lease(backend, lambda lease: None)
        new = Backend("web/x", "a", None, 443, weight=7, limit=9, backup=True, health=Health(5, 6))
        new.client_address = ClientAddress("v2", transparent=True)
        backend.become(new)
        self.assertEqual(backend.client_address, new.client_address)
        self.assertEqual((backend.weight, backend.limit, backend.backup, backend.name), (7, 9, True, "web/x"))
        self.assertEqual((backend.host, backend.links, backend.state), ("127.0.0.11", 1, "UP 5/6"))


class LeaseTests(SynchronousTestCase):
    """Nothing is counted twice and nothing stays."""

    def setUp(self) -> None:
        self.backend = told(GOOD)
        self.released: list[Lease] = []
        self.lease = Lease(self.backend, self.released.append)

    def counts(self) -> tuple[int, int, int]:
        """Links, load, total."""
        return self.backend.links, self.backend.load, self.backend.total

    def test_interface(self) -> None:
        """It is what sessions expect."""
        self.assertTrue(verifyObject(ILease, self.lease))

    def test_wished_before_it_is_there(self) -> None:
        """What is wished of a link that is still being made is done once it has an owner, and once."""
        heard: list[object] = []
        self.lease.leave(30.0)
        self.lease.overdue()
        self.assertEqual(heard, [])
        lease = Lease(self.backend, self.released.append)
        lease.leave(30.0)
        lease.take_over(heard.append, heard.append)
        lease.overdue()
        lease.overdue()
        lease.leave(5.0)
        self.assertEqual(heard, [30.0, 5.0])
        cut = Lease(self.backend, self.released.append)
        cut.condemn("moved")
        cut.leave(30.0)
        cut.take_over(heard.append, heard.append)
        cut.overdue()
        self.assertEqual(heard[2:], ["moved"])

    def test_counts_from_the_choice_on(self) -> None:
        """A link that is still being made counts as load, so that a slow server does not look idle."""
        self.assertEqual(self.counts(), (1, 1, 1))

    def test_first_request_is_the_link_itself(self) -> None:
        """The first request is not counted on top of the link."""
        done = self.lease.busy()
        self.assertEqual(self.backend.load, 1)
        done()
        self.assertEqual(self.counts(), (1, 0, 1))

    def test_more_requests(self) -> None:
        """Every further one counts until its end, which may be told twice."""
        first, second = self.lease.busy(), self.lease.busy()
        self.assertEqual(self.backend.load, 2)
        second()
        second()
        self.assertEqual(self.backend.load, 1)
        first()
        self.assertEqual(self.backend.load, 0)

    def test_release_ends_everything(self) -> None:
        """Released in the middle of requests, nothing is left, and late ends change nothing."""
        done, _ = self.lease.busy(), self.lease.busy()
        self.lease.release()
        done()
        self.lease.release()
        self.assertEqual(self.counts(), (0, 0, 1))
        self.assertEqual(self.released, [self.lease])

    def test_busy_after_release(self) -> None:
        """A request on a link that is gone counts nothing."""
        self.lease.release()
        self.lease.busy()()
        self.assertEqual(self.counts(), (0, 0, 1))

    def test_holds_are_let_go(self) -> None:
        """What it holds is let go with it, or at once where it is gone already."""
        gone: list[str] = []
        self.lease.hold((key("x"),), lambda: gone.append("x"))
        self.assertEqual((self.lease.keys, gone), ((key("x"),), []))
        self.lease.release()
        self.lease.hold((key("y"),), lambda: gone.append("y"))
        self.assertEqual(gone, ["x", "y"])

    def test_condemned(self) -> None:
        """Its owner is told once why the link must end."""
        told: list[str] = []
        self.lease.cut = told.append
        self.lease.condemn("server is DOWN")
        self.lease.condemn("client moved")
        self.assertEqual(told, ["server is DOWN"])

    def test_condemned_before_it_has_an_owner(self) -> None:
        """A link that is still being made finds its sentence when it is there."""
        self.lease.condemn("client moved")
        self.assertEqual(self.lease.condemned, "client moved")
