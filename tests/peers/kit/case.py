"""The base of test classes with real servers."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from .needs import skip_unless
from .site import Site

_SERVERS = ("dovecot", "postfix", "nginx", "samba", "roaming", "mapper", "windows", "kerberos", "apache")


class PeerCase(SynchronousTestCase):
    """`needs` names servers and clients; each test finds the servers running, two of each.

    `self.site` is the same for all tests of a class, so that servers start once; a test may kill or
    freeze them, the next one finds them well again.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    site: Site

    def setUp(self) -> None:
        """Skip, or have everything running."""
        skip_unless(*self.needs)
        self.site = Site.of(type(self))
        self.site.ensure(*(need for need in self.needs if need in _SERVERS))

    @classmethod
    def tearDownClass(cls) -> None:
        """Where the runner calls this (trial does not), nothing waits for the next class."""
        Site.leave()
        super().tearDownClass()
