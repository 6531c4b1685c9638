"""The fake is what it stands for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from exproxy.admin.plane import IPlane
from tests.admin.fakes import FakePlane


class FakePlaneTests(SynchronousTestCase):
    def test_provides(self) -> None:
        """The fake plane has every method of IPlane, with its arguments."""
        self.assertTrue(verifyObject(IPlane, FakePlane()))
