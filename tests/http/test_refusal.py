"""The pages of refusals."""

from __future__ import annotations

import h11
from twisted.trial.unittest import SynchronousTestCase

from protocols.http.head import find_head, parse_response
from protocols.http.refusal import refusal

STATUSES = (400, 403, 404, 408, 413, 414, 431, 500, 501, 502, 503, 504, 505)


class RefusalTests(SynchronousTestCase):
    """Whole responses from a status."""

    def test_every_status(self) -> None:
        """Each is a valid response with an exact length, never cached, and closes unless told otherwise."""
        for status in STATUSES:
            data = refusal(status)
            end = find_head(data)
            assert end is not None
            head = parse_response(data[:end])
            self.assertEqual(head.status, status)
            self.assertEqual(head.get(b"content-length"), b"%d" % (len(data) - end))
            self.assertEqual(head.get(b"cache-control"), b"no-store")
            self.assertFalse(head.keep_alive)
            self.assertTrue(parse_response(refusal(status, close=False)[: end + 5]).keep_alive)

    def test_h11_reads_it(self) -> None:
        """h11 reads the same page."""
        peer = h11.Connection(h11.CLIENT)
        peer.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        peer.send(h11.EndOfMessage())
        data = refusal(503, retry_after=30, date=b"Mon, 23 Nov 2026 12:00:00 GMT")
        peer.receive_data(data)
        head = peer.next_event()
        assert isinstance(head, h11.Response)
        self.assertEqual(head.status_code, 503)
        self.assertIn((b"retry-after", b"30"), list(head.headers))
        self.assertIn((b"date", b"Mon, 23 Nov 2026 12:00:00 GMT"), list(head.headers))
        page = peer.next_event()
        assert isinstance(page, h11.Data)
        self.assertTrue(data.endswith(bytes(page.data)))

    def test_head_only(self) -> None:
        """To HEAD the same head goes, with the page's length and without the page."""
        self.assertTrue(refusal(404).startswith(refusal(404, head_only=True)))
        self.assertTrue(refusal(404, head_only=True).endswith(b"\r\n\r\n"))

    def test_reason(self) -> None:
        """Another phrase is shown escaped; one that would break the head is refused."""
        data = refusal(503, reason="Draining <soon>")
        self.assertIn(b"HTTP/1.1 503 Draining <soon>\r\n", data)
        self.assertIn(b"503 Draining &lt;soon&gt;", data)
        for reason in ("", "a\r\nb", "\x00", "ä"):
            self.assertRaises(ValueError, refusal, 503, reason)

    def test_unknown_status(self) -> None:
        """A status without a page is a mistake of ours."""
        self.assertRaises(ValueError, refusal, 200)
