"""What a protocol sees of its own service and of the others: listenings() and siblings."""

from __future__ import annotations

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from exproxy.interfaces import IBackend, IService
from exproxy.virtual import VirtualService
from tests.loopback.configured import running

TWO = """
servers: {{a: 127.0.0.1, b: 127.0.0.2}}
services:
  one:
    protocol: tcp
    listen: ["127.0.0.1:0", {{address: 127.0.0.2, port: 0}}]
    backend: {{port: 9}}
    health: {{interval: 1h}}
  web:
    protocol: http
    listen: "127.0.0.1:0"
    backend: {{port: 9}}
    status: 404
"""


class SiblingsTests(TestCase):
    """A whole exproxy with two services."""

    timeout = 20

    async def services(self) -> tuple[VirtualService, VirtualService]:
        one, web = (built.service for built in (await running(self, TWO)).built)
        return one, web

    async def test_siblings(self) -> None:
        """Each service finds all of them by name, itself included, and their protocols."""
        one, web = await self.services()
        self.assertTrue(verifyObject(IService, one))
        self.assertEqual(dict(one.siblings), {"one": one, "web": web})
        self.assertEqual(one.siblings, web.siblings)
        self.assertEqual([each.protocol for each in (one, web)], ["tcp", "http"])
        self.assertFalse(hasattr(one.siblings, "__setitem__"))

    async def test_listenings(self) -> None:
        """The real ports are told, in the file's order, with the backends of the pool behind each."""
        one, _ = await self.services()
        first, second = one.listenings()
        self.assertEqual([first.host, second.host], ["127.0.0.1", "127.0.0.2"])
        self.assertEqual([first.port, second.port], list(one.ports))
        self.assertNotIn(0, one.ports)
        self.assertEqual([each.server for each in first.backends], ["a", "b"])
        self.assertTrue(all(verifyObject(IBackend, each) for each in first.backends))

    async def test_usable(self) -> None:
        """A backend says itself whether a client that is bound to it could come."""
        one, _ = await self.services()
        backend = one.listenings()[0].backends[0]
        self.assertTrue(backend.usable)
        backend.operator = "drain"
        self.assertTrue(backend.usable)
        backend.operator = "maint"
        self.assertFalse(backend.usable)

    async def test_no_pool(self) -> None:
        """A service that answers by itself has no backends behind its port."""
        _, web = await self.services()
        self.assertEqual([each.backends for each in web.listenings()], [()])
