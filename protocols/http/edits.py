"""What changes in a head on its way (RFC 9110 7.6): pure functions from a head to bytes.

The block stays as it came but for small cuts: hop-by-hop fields go, what only a proxy may claim
is replaced, and framing fields in an unusual spelling are written in the plain one, so that no
backend reads them otherwise than we did. Both directions speak HTTP/1.1 onward (RFC 9110 2.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from protocols.http.fields import CERTIFICATE, CLAIM, FIELD, Fields, Mark, value_of
from protocols.http.framing import CHUNKED, Framing, Kind
from protocols.http.head import RequestHead, ResponseHead

Pairs: TypeAlias = Iterable[tuple[bytes, bytes]]
_Cut: TypeAlias = tuple[int, int, bytes]

REQUEST_LINE = b"%b %b HTTP/1.1\r\n"
REQUEST_NAME = b"X-Request-ID: %b\r\n"
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"))
# CGI turns a field "Proxy" into the variable HTTP_PROXY.
_REQUEST_HOPS = _HOP_BY_HOP | {b"proxy"}
_NONE: frozenset[bytes] = frozenset()
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
# Connection options that are no field to cut, or that are cut anyway.
_WORDS = _REQUEST_HOPS | {b"close"}
# Connection cannot name these away: who asks, for what, with which rights, and how it is framed.
_KEPT = frozenset(
    b"authorization cache-control content-encoding content-length content-range content-type cookie date "
    b"expect host location proxy-authenticate proxy-authorization set-cookie trailer transfer-encoding "
    b"user-agent www-authenticate".split()
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a client's requests come from, told to the backend in X-Forwarded-*.

    ``trusted``: the peer is a proxy of ours, so its own claims stay and are added to. ``host``
    stands in where an HTTP/1.0 request names none. ``certificate``: field lines that say who the
    client is by its certificate.
    """

    address: str
    proto: str = "https"
    trusted: bool = False
    host: bytes = b""
    certificate: bytes = field(default=b"", repr=False)


def forward_request(
    head: RequestHead,
    origin: Origin,
    request_id: bytes,
    *,
    upgrade: bool = False,
    keep_alive: bool = True,
    without_cookies: frozenset[bytes] = frozenset(),
    expect: bool = True,
    extra: Pairs = (),
) -> bytes:
    """The head that goes to the backend.

    ``upgrade``: pass Upgrade on (ask ``head.upgrade`` first; never for h2c). ``keep_alive``
    False tells the backend to close. ``without_cookies``: names of the cookie pairs to take out.
    ``expect`` False: 100 was said already, and is not expected of the backend any more.
    ``extra`` fields are added; ValueError for one that is not well-formed.
    """
    rest = request_rest(head, origin, upgrade, keep_alive, without_cookies, expect)
    return request_line(head) + rest + request_name(head, origin, request_id) + render(extra) + b"\r\n"


def request_line(head: RequestHead) -> bytes:
    """What of the forwarded head depends on method and target."""
    return REQUEST_LINE % (head.method, head.target)


def request_name(head: RequestHead, origin: Origin, request_id: bytes) -> bytes:
    """The field that names the request, where no trusted proxy has given it a name."""
    if origin.trusted and b"x-request-id" in head.fields.marked:
        return b""
    return REQUEST_NAME % request_id


def request_rest(
    head: RequestHead,
    origin: Origin,
    upgrade: bool = False,
    keep_alive: bool = True,
    without_cookies: frozenset[bytes] = frozenset(),
    expect: bool = True,
) -> bytes:
    """The forwarded field lines, without the request's name: in HTTP/1.1 they depend on the field lines
    alone, of all that is in the head."""
    cuts: list[_Cut] = []
    for mark in head.fields.marks:
        if mark[0] == b"expect" and not expect:
            cuts.append((mark[1], mark[3], b""))
        elif mark[0] != b"host" and (cut := _request_cut(head, mark, origin, upgrade, without_cookies)):
            cuts.append(cut)
    parts: list[bytes] = []
    if head.version < (1, 1) and b"host" not in head.fields.marked:
        parts += b"Host: ", head.host or origin.host, b"\r\n"
    parts += _uncut(head.fields, cuts)
    parts.append(_hops(head, upgrade, keep_alive))
    parts.append(_claims(head, origin))
    parts.append(origin.certificate)
    return b"".join(parts)


def forward_response(
    head: ResponseHead,
    method: bytes,
    *,
    version: tuple[int, int] = (1, 1),
    keep_alive: bool = True,
    upgrade: bool = False,
    extra: Pairs = (),
) -> bytes:
    """The head that goes to a client of ``version``, answering its ``method``.

    The connection is announced as kept or closed; closed in any case where only that ends the
    body (``ends_by_close``). ``upgrade``: this is the 101 to an Upgrade that was passed on.
    ``extra`` fields (Set-Cookie) are added; ValueError for one that is not well-formed.
    """
    framing = head.framing(method)
    cuts = [cut for mark in head.fields.marks if (cut := _response_cut(head, mark, version, upgrade))]
    parts = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason), *_uncut(head.fields, cuts)]
    if upgrade:
        parts.append(b"Connection: Upgrade\r\n")
    elif head.status >= 200:
        if not keep_alive or ends_by_close(framing, version):
            parts.append(b"Connection: close\r\n")
        elif version < (1, 1):
            parts.append(b"Connection: keep-alive\r\n")
    parts.append(render(extra))
    parts.append(b"\r\n")
    return b"".join(parts)


def ends_by_close(framing: Framing, version: tuple[int, int]) -> bool:
    """Whether a client of ``version`` can see the end of such a body only by a close."""
    return framing.kind is Kind.UNTIL_CLOSE or (framing is CHUNKED and version < (1, 1))


def render(pairs: Pairs) -> bytes:
    """Field lines; ValueError where a name or a value is not well-formed."""
    lines = b""
    for name, value in pairs:
        line = b"%b: %b\r\n" % (name, value)
        if not FIELD.fullmatch(line):
            raise ValueError(f"not a field: {name!r}")
        lines += line
    return lines


def _request_cut(
    head: RequestHead, mark: Mark, origin: Origin, upgrade: bool, without_cookies: frozenset[bytes]
) -> _Cut | None:
    name, start, _, end = mark
    if name in _REQUEST_HOPS:
        return None if upgrade and name == b"upgrade" else (start, end, b"")
    if name == b"cookie":
        return _cookie_cut(head, mark, without_cookies) if without_cookies else None
    if name in _FRAMING:
        return _plain_framing(head.fields, mark, head.framing)
    if name == b"expect":
        return (start, end, b"") if head.version < (1, 1) else None
    # Even of a trusted proxy: it knows nothing of spellings with "_", so its client may have sent them.
    believed = origin.trusted and name != b"x-forwarded-for" and b"_" not in name
    believed = believed and not CERTIFICATE.match(name)
    return None if believed else (start, end, b"")


def _response_cut(head: ResponseHead, mark: Mark, version: tuple[int, int], upgrade: bool) -> _Cut | None:
    name, start, _, end = mark
    if name in _HOP_BY_HOP:
        return None if upgrade and name == b"upgrade" else (start, end, b"")
    if version < (1, 1) and name in (b"trailer", b"transfer-encoding"):
        return start, end, b""
    if name in _FRAMING:
        # RFC 9110 8.6, RFC 9112 6.1: neither belongs to these, and some clients would believe it.
        if head.status < 200 or head.status == 204:
            return start, end, b""
        return _plain_framing(head.fields, mark, head.declared)
    return None


def _plain_framing(fields: Fields, mark: Mark, framing: Framing | None) -> _Cut | None:
    value = fields.text[mark[2] : mark[3] - 2]
    if framing is CHUNKED:
        plain = None if value == b"chunked" else b"Transfer-Encoding: chunked\r\n"
    elif framing is not None and value != b"%d" % framing.length:
        plain = b"Content-Length: %d\r\n" % framing.length
    else:
        plain = None
    return None if plain is None else (mark[1], mark[3], plain)


def _cookie_cut(head: RequestHead, mark: Mark, names: frozenset[bytes]) -> _Cut | None:
    value = value_of(head.fields.text, mark)
    kept = _cookies(names).sub(b"", value)
    if len(kept) == len(value):
        return None
    kept = kept.lstrip(b"; \t")
    return mark[1], mark[3], b"Cookie: %b\r\n" % kept if kept else b""


@lru_cache(maxsize=64)
def _cookies(names: frozenset[bytes]) -> re.Pattern[bytes]:
    wanted = b"|".join(re.escape(name) for name in sorted(names))
    return re.compile(rb"(?:^|;)[\t ]*(?:" + wanted + rb")[\t ]*(?:=[^;]*)?(?=;|$)")


def _uncut(fields: Fields, cuts: list[_Cut]) -> list[bytes]:
    """The field lines of ``head`` (without the empty line) with ``cuts`` made."""
    options = fields.options
    named = _NONE if options <= _WORDS else _named_away(options)
    if named:
        cuts = sorted([*cuts, *((start, end, b"") for start, end in fields.named(named))])
    text = fields.text
    at = 1
    parts: list[bytes] = []
    for start, end, instead in cuts:
        parts.append(text[at:start])
        parts.append(instead)
        at = end
    parts.append(text[at:-2])
    return parts


def _named_away(options: frozenset[bytes]) -> frozenset[bytes]:
    return frozenset(name for name in options - _WORDS - _KEPT if not CLAIM.fullmatch(name))


def _hops(head: RequestHead, upgrade: bool, keep_alive: bool) -> bytes:
    """Connection and TE for the next hop; trailers go on because chunked bodies do."""
    trailers = b"te" in head.fields.options and b"trailers" in head.fields.list(b"te").lower()
    options = [
        *((b"Upgrade",) if upgrade else ()),
        *((b"TE",) if trailers else ()),
        *(() if keep_alive else (b"close",)),
    ]
    lines = b"TE: trailers\r\n" if trailers else b""
    return b"Connection: " + b", ".join(options) + b"\r\n" + lines if options else lines


def _claims(head: RequestHead, origin: Origin) -> bytes:
    address = origin.address.encode("ascii")
    proto = origin.proto.encode("ascii")
    if not origin.trusted:
        # HTTP/1.0 may ask for no host at all; an empty one would be a claim too.
        host = b"X-Forwarded-Host: %b\r\n" % head.host if head.host else b""
        return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (address, proto) + host
    before = head.fields.list(b"x-forwarded-for")
    lines = b"X-Forwarded-For: %b\r\n" % (before + b", " + address if before else address)
    present = head.fields.marked
    for name, shown, value in (
        (b"x-forwarded-proto", b"X-Forwarded-Proto", proto),
        (b"x-forwarded-host", b"X-Forwarded-Host", head.host),
    ):
        if value and name not in present:
            lines += b"%b: %b\r\n" % (shown, value)
    return lines
