"""The records of http and https."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from exproxy.model import TLS
from exproxy.testing import check_protocol_plugin
from protocols.http.head import RequestHead
from protocols.http.plugin import http, https
from protocols.http.request_ids import RequestIds
from protocols.http.super_http import plugin as super_http
from tests.http.support import GET, post


class RecordTests(SynchronousTestCase):
    """What the configuration sees."""

    def test_contract(self) -> None:
        """Both keep what the framework counts on."""
        for plugin in (http, https):
            for opening in (GET, post(b"hello"), b"OPTIONS * HTTP/1.0\r\n\r\n"):
                check_protocol_plugin(plugin, opening=opening)

    def test_tls(self) -> None:
        """https ends TLS and speaks HTTP/1.1 only; http knows no TLS."""
        self.assertEqual((https.tls_modes, https.alpn), (("implicit",), (b"http/1.1",)))
        self.assertEqual((http.tls_modes, http.alpn), (("none",), ()))
        self.assertIn(TLS, https.gives)

    def test_gives_what_super_http_needs(self) -> None:
        """super-http goes with both."""
        for plugin in (http, https):
            self.assertLessEqual(set(super_http.needs), set(plugin.gives))
            self.assertIn(RequestHead, plugin.gives)


class RequestIdTests(SynchronousTestCase):
    """Names for requests."""

    def test_different(self) -> None:
        """No two are alike, and two processes have different ones."""
        one, two = RequestIds(), RequestIds()
        self.assertEqual(len({source() for source in (one, two) for _ in range(100)}), 200)

    def test_form(self) -> None:
        """A prefix and a count."""
        ids = RequestIds(b"here")
        self.assertEqual([ids() for _ in range(11)][-1], b"here-b")
