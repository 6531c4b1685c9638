"""What changes in a head between client and backend, and what must not."""

from __future__ import annotations

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from protocols.http.edits import Origin, ends_by_close, forward_request, forward_response, render
from protocols.http.faults import BadMessage
from protocols.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, Framing, Kind
from protocols.http.head import find_head, parse_request, parse_response
from tests.http.test_head import heads, ours, request, response

CLIENT_ORIGIN = Origin("192.0.2.7")
PROXY_ORIGIN = Origin("192.0.2.8", trusted=True)
ADDED = [
    (b"x-forwarded-for", b"192.0.2.7"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"a"),
    (b"x-request-id", b"id1"),
]


def sent(*fields: bytes, line: bytes = b"GET / HTTP/1.1", **options: object) -> list[tuple[bytes, bytes]]:
    """The fields, but Host, that a backend gets of a request with ``fields``."""
    origin = options.pop("origin", CLIENT_ORIGIN)
    head = forward_request(parse_request(request(line, *fields)), origin, b"id1", **options)  # type: ignore[arg-type]
    return [pair for pair in ours(parse_request(head)) if pair[0] != b"host"]


def answered(
    *fields: bytes, line: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET", **options: object
) -> bytes:
    return forward_response(parse_response(response(line, *fields)), method, **options)  # type: ignore[arg-type]


class RequestTests(SynchronousTestCase):
    """Requests on their way to a backend."""

    def test_untouched(self) -> None:
        """Fields that steer nothing stay byte for byte and in order; ours follow."""
        fields = [
            b"X-a:  b ",
            b"ACCEPT:*/*",
            b"Authorization: Basic Og==",
            b"User-Agent:",
            b"cookie: a=1;b=2",
        ]
        raw = request(b"POST /x?y HTTP/1.1", *fields, b"Content-Length: 3")
        self.assertEqual(
            forward_request(parse_request(raw), CLIENT_ORIGIN, b"id1"),
            raw[:-2]
            + b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
            + b"X-Forwarded-Host: a\r\nX-Request-ID: id1\r\n\r\n",
        )

    def test_hop_by_hop(self) -> None:
        """Connection, what it names, and the fields of one hop do not go on."""
        fields = [
            b"Connection: keep-alive, X-Hop", b"X-Hop: 1", b"x-hop: 2", b"X-Hop-Not: 3", b"Keep-Alive: 5",
            b"Proxy-Connection: close", b"Proxy: http://evil", b"TE: gzip", b"Upgrade: h2c",
            b"Connection: other", b"Other: x",
        ]  # fmt: skip
        self.assertEqual(sent(*fields), [(b"x-hop-not", b"3"), *ADDED])

    def test_connection_cannot_name_what_matters(self) -> None:
        """Host, framing, credentials and our own fields stay though Connection names them."""
        names = [b"Content-Length", b"Authorization", b"Cookie", b"Content-Type", b"Expect", b"User-Agent"]
        fields = [name + b": 5" for name in names]
        kept = [(name.lower(), b"5") for name in names]
        naming = b"Connection: Host, X-Forwarded-For, X-Forwarded-Proto, X-Request-ID, " + b", ".join(names)
        self.assertEqual(sent(naming, *fields, line=b"POST / HTTP/1.1"), [*kept, *ADDED])
        naming = b"Connection: close, transfer-encoding, Trailer"
        kept = [(b"transfer-encoding", b"chunked"), (b"trailer", b"x")]
        self.assertEqual(
            sent(naming, b"Transfer-Encoding: chunked", b"Trailer: x", line=b"POST / HTTP/1.1"),
            [*kept, *ADDED],
        )

    def test_many_options(self) -> None:
        """Thousands of options and fields are cut in one pass."""
        names = [b"n%d" % number for number in range(400)]
        options = b"Connection: " + b",".join(names * 5)
        self.assertEqual(sent(options, *[name + b": x" for name in names]), ADDED)

    def test_trailers(self) -> None:
        """TE: trailers goes on as a hop of our own."""
        self.assertEqual(
            sent(b"TE: trailers, deflate;q=0.5", b"Connection: TE"),
            [(b"connection", b"TE"), (b"te", b"trailers"), *ADDED],
        )
        self.assertEqual(sent(b"TE: trailers"), ADDED)

    def test_upgrade(self) -> None:
        """Upgrade is passed on where that is asked for, with its Connection option."""
        fields = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: websocket", b"HTTP2-Settings: x")
        self.assertEqual(
            sent(*fields, upgrade=True), [(b"upgrade", b"websocket"), (b"connection", b"Upgrade"), *ADDED]
        )
        self.assertEqual(sent(*fields), ADDED)

    def test_close(self) -> None:
        """The backend is told when its connection will not be used again."""
        self.assertEqual(sent(keep_alive=False), [(b"connection", b"close"), *ADDED])

    def test_claims_of_clients(self) -> None:
        """What a client says of its origin or of another path is replaced or dropped, in any spelling."""
        fields = [
            b"X-Forwarded-For: 10.0.0.1", b"x_forwarded_for: 10.0.0.1", b"X-Forwarded_For: 10.0.0.1",
            b"X-Forwarded-Proto: ftp", b"X-Forwarded-Host: evil", b"X-Forwarded-Port: 1",
            b"X-Forwarded-Any: x", b"Forwarded: for=10.0.0.1", b"X-Real-IP: 10.0.0.1", b"X_Real_IP: 10.0.0.1",
            b"X-Request-ID: mine", b"X-Original-URL: /ecp", b"X-Rewrite-URL: /ecp",
        ]  # fmt: skip
        self.assertEqual(sent(*fields), ADDED)

    def test_claims_of_trusted_proxies(self) -> None:
        """A trusted proxy's word stays, its address is added; spellings it knows nothing of go."""
        fields = [
            b"X-Forwarded-For: 10.0.0.1", b"X_Forwarded_For: 6.6.6.6", b"X-Forwarded-Proto: http",
            b"X-Forwarded-For: 10.0.0.2, 10.0.0.3", b"Forwarded: for=10.0.0.1", b"X-Real-IP: 10.0.0.1",
            b"X-Request-ID: theirs",
        ]  # fmt: skip
        self.assertEqual(
            sent(*fields, origin=PROXY_ORIGIN),
            [
                (b"x-forwarded-proto", b"http"),
                (b"forwarded", b"for=10.0.0.1"),
                (b"x-real-ip", b"10.0.0.1"),
                (b"x-request-id", b"theirs"),
                (b"x-forwarded-for", b"10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.8"),
                (b"x-forwarded-host", b"a"),
            ],
        )
        self.assertEqual(sent(origin=PROXY_ORIGIN)[0], (b"x-forwarded-for", b"192.0.2.8"))

    def test_cookies(self) -> None:
        """The named pairs go from every Cookie field, the others stay as they are, an empty field goes."""
        names = frozenset((b"__Host-x", b"y"))
        for value, left in (
            (b"__Host-x=1", None),
            (b"__Host-x=1; y=2;y", None),
            (b"a=1; __Host-x=1; b=2", b"a=1; b=2"),
            (b"__Host-x=1; a=1", b"a=1"),
            (b"a=1;__Host-x = 1", b"a=1"),
            (b"a=y; yy=y; xy=1;  b", b"a=y; yy=y; xy=1;  b"),
            (b"__host-x=1", b"__host-x=1"),
        ):
            pairs = sent(b"Cookie: " + value, b"Cookie: y=3", without_cookies=names)
            self.assertEqual(pairs, [*([(b"cookie", left)] if left else []), *ADDED])

    def test_plain_framing(self) -> None:
        """Unusual spellings of the framing go on in the plain one."""
        for field, plain in (
            (b"Content-Length: 007", b"Content-Length: 7\r\n"),
            (b"content-length:\t7 ", b"Content-Length: 7\r\n"),
            (b"Transfer-Encoding: CHUNKED", b"Transfer-Encoding: chunked\r\n"),
            (b"transfer-encoding:chunked", b"transfer-encoding:chunked\r\n"),
        ):
            head = parse_request(request(b"POST / HTTP/1.1", field))
            self.assertIn(b"\r\n" + plain, forward_request(head, CLIENT_ORIGIN, b"id1"))

    def test_absolute_form(self) -> None:
        """The backend gets the origin-form, in HTTP/1.1."""
        head = parse_request(request(b"GET http://a/x?y HTTP/1.1"))
        self.assertTrue(
            forward_request(head, CLIENT_ORIGIN, b"").startswith(b"GET /x?y HTTP/1.1\r\nHost: a\r\n")
        )

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 request goes on as 1.1, with a Host and without an expectation."""
        raw = request(b"POST /x HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 3", host=None)
        out = forward_request(parse_request(raw), Origin("192.0.2.7", host=b"ex1"), b"")
        self.assertTrue(
            out.startswith(b"POST /x HTTP/1.1\r\nHost: ex1\r\nContent-Length: 3\r\nX-Forwarded-For")
        )
        raw = request(b"GET http://b/x HTTP/1.0", host=None)
        self.assertIn(b"\r\nHost: b\r\n", forward_request(parse_request(raw), CLIENT_ORIGIN, b""))
        raw = request(b"GET /x HTTP/1.0")
        self.assertEqual(forward_request(parse_request(raw), CLIENT_ORIGIN, b"").count(b"Host: a\r\n"), 2)

    def test_no_host(self) -> None:
        """Who asked for no host is not said to have asked for an empty one."""
        head = parse_request(request(b"GET /x HTTP/1.0", host=None))
        for trusted in (False, True):
            origin = Origin("192.0.2.7", host=b"ex1", trusted=trusted)
            out = forward_request(head, origin, b"id1")
            self.assertNotIn(b"X-Forwarded-Host", out)
            self.assertIn(b"X-Forwarded-Proto: https\r\nX-Request-ID: id1\r\n", out)

    def test_extra(self) -> None:
        """Fields can be added, and never more than fields."""
        self.assertEqual(sent(extra=[(b"X-A", b"b")]), [*ADDED, (b"x-a", b"b")])
        for pair in ((b"X", b"a\r\nY: b"), (b"X Y", b""), (b"", b"a"), (b"X", b"\0")):
            self.assertRaises(ValueError, render, [pair])

    @settings(max_examples=100, deadline=None)
    @given(heads())
    def test_what_goes_on_is_valid(self, data: bytes) -> None:
        """Whatever is accepted goes on as a valid head of the same method, target, host and framing."""
        try:
            head = parse_request(data) if find_head(data) == len(data) else None
        except BadMessage:
            return
        if head is None:
            return
        again = parse_request(
            forward_request(head, CLIENT_ORIGIN, b"id1", without_cookies=frozenset((b"a",)))
        )
        self.assertEqual(
            (again.method, again.target, again.host, again.framing),
            (head.method, head.target, head.host, head.framing),
        )
        self.assertEqual(again.values(b"x-forwarded-for"), (b"192.0.2.7",))


class ResponseTests(SynchronousTestCase):
    """Responses on their way to a client."""

    def test_untouched(self) -> None:
        """Fields that steer nothing stay byte for byte; a kept connection needs no word in HTTP/1.1."""
        raw = response(
            b"HTTP/1.1 401 Unauthorized", b"WWW-Authenticate: NTLM", b"server:  x ", b"Content-Length: 0"
        )
        self.assertEqual(forward_response(parse_response(raw), b"GET"), raw)

    def test_hop_by_hop(self) -> None:
        """The backend's hop ends here, whatever it names."""
        out = answered(
            b"Connection: Upgrade, X-Hop, Set-Cookie", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"Upgrade: h2",
            b"Proxy-Connection: x", b"TE: x", b"Set-Cookie: a=b", b"Content-Length: 0",
        )  # fmt: skip
        self.assertEqual(out, response(b"HTTP/1.1 200 OK", b"Set-Cookie: a=b", b"Content-Length: 0"))

    def test_connection(self) -> None:
        """Close and keep-alive are said as the client's version and the framing need it."""
        length, chunked = b"Content-Length: 3", b"Transfer-Encoding: chunked"
        for fields, options, said in (
            ([length], {}, None),
            ([length], {"keep_alive": False}, b"close"),
            ([length], {"version": (1, 0)}, b"keep-alive"),
            ([length], {"version": (1, 0), "keep_alive": False}, b"close"),
            ([], {}, b"close"),
            ([], {"method": b"HEAD"}, None),
            ([chunked], {}, None),
            ([chunked], {"version": (1, 0)}, b"close"),
        ):
            head = parse_response(answered(*fields, **options))  # type: ignore[arg-type]
            self.assertEqual((fields, options, head.get(b"connection")), (fields, options, said))

    def test_version(self) -> None:
        """The status line is ours: HTTP/1.1, with the blank before a missing reason."""
        self.assertTrue(answered(line=b"HTTP/1.0 404 Not Found").startswith(b"HTTP/1.1 404 Not Found\r\n"))
        self.assertTrue(answered(line=b"HTTP/1.1 301").startswith(b"HTTP/1.1 301 \r\n"))

    def test_trailers_stay(self) -> None:
        """Chunks and the announcement of trailers go on to a client of HTTP/1.1."""
        fields = (b"Transfer-Encoding: chunked", b"Trailer: X")
        self.assertEqual(answered(*fields), response(b"HTTP/1.1 200 OK", *fields))

    def test_chunks_for_http_1_0(self) -> None:
        """A client of HTTP/1.0 is told neither of chunks nor of trailers."""
        out = answered(b"Transfer-Encoding: chunked", b"Trailer: X", b"A: b", version=(1, 0))
        self.assertEqual(out, response(b"HTTP/1.1 200 OK", b"A: b", b"Connection: close"))

    def test_no_framing_where_no_body_may_be(self) -> None:
        """1xx and 204 go on without framing fields; 304 and answers to HEAD keep theirs."""
        length = b"Content-Length: 3"
        for line in (b"HTTP/1.1 204 No", b"HTTP/1.1 100 Go", b"HTTP/1.1 103 Early"):
            self.assertEqual(answered(length, line=line), response(line))
        self.assertEqual(answered(length, line=b"HTTP/1.1 304 No"), response(b"HTTP/1.1 304 No", length))
        self.assertEqual(answered(length, method=b"HEAD"), response(b"HTTP/1.1 200 OK", length))

    def test_interim_says_nothing_of_the_connection(self) -> None:
        """A 100 goes on without Connection, even where the connection will close."""
        line = b"HTTP/1.1 100 Continue"
        self.assertEqual(answered(line=line, keep_alive=False, version=(1, 0)), response(line))

    def test_upgrade(self) -> None:
        """A 101 keeps its Upgrade and says so in Connection."""
        line = b"HTTP/1.1 101 Switching Protocols"
        fields = (b"Upgrade: websocket", b"Connection: upgrade", b"Sec-WebSocket-Accept: x")
        self.assertEqual(
            answered(*fields, line=line, upgrade=True),
            response(line, fields[0], fields[2], b"Connection: Upgrade"),
        )

    def test_plain_framing(self) -> None:
        """A backend's unusual spelling of the length is made plain for the client too."""
        out = answered(b"Content-Length:\t007 ")
        self.assertEqual(out, response(b"HTTP/1.1 200 OK", b"Content-Length: 7"))

    def test_extra(self) -> None:
        """A cookie is added without touching the backend's own."""
        out = answered(
            b"Set-Cookie: a=b", b"Content-Length: 0", extra=[(b"Set-Cookie", b"__Host-x=1; Secure")]
        )
        self.assertEqual(parse_response(out).values(b"set-cookie"), (b"a=b", b"__Host-x=1; Secure"))

    def test_ends_by_close(self) -> None:
        """Only a length, or chunks in HTTP/1.1, show the end of a body while the connection stays."""
        for framing, in_1_1, in_1_0 in (
            (NO_BODY, False, False),
            (Framing(Kind.LENGTH, 3), False, False),
            (CHUNKED, False, True),
            (UNTIL_CLOSE, True, True),
        ):
            self.assertEqual(
                (ends_by_close(framing, (1, 1)), ends_by_close(framing, (1, 0))), (in_1_1, in_1_0)
            )
