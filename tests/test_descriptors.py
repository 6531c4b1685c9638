"""Open files: raised to what is allowed, and counted against the connections that are configured."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from exproxy.descriptors import raise_limit, shortage


class DescriptorTests(SynchronousTestCase):
    """The limit of open files."""

    def test_raised(self) -> None:
        """The soft limit becomes the hard one, and is told."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        self.assertEqual(raise_limit(), before[1])
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (before[1], before[1]))

    def test_shortage(self) -> None:
        """Two descriptors a client, and some for the rest."""
        self.assertIsNone(shortage(20_200, 10_000))
        self.assertIsNone(shortage(resource.RLIM_INFINITY, 10_000))
        self.assertIn("need 20200 open files, and the system allows 1024", shortage(1024, 10_000) or "")
