"""Message heads (RFC 9112 2 to 5): found, validated strictly as one block, and read.

A head that one regex accepts needs no second look: no folded line, no bare CR or LF, no control
character but HTAB in a value, no blank before a colon, nothing but visible ASCII in the target.
Any token is a method: RPC over HTTP, WebDAV and ActiveSync bring their own.
"""

from __future__ import annotations

import re
from dataclasses import field

from exproxy.model import BACKEND, CLIENT, Side
from exproxy.values import value
from protocols.http.faults import BadMessage, HeadTooLarge, TargetTooLong
from protocols.http.fields import (
    LINE,
    NEVER,
    TOKEN,
    VALUE,
    Fields,
    field_complaint,
    request_marks,
    response_marks,
    value_of,
)
from protocols.http.framing import NO_BODY, UNTIL_CLOSE, Framing, declared
from protocols.http.limits import DEFAULT_LIMITS, MessageLimits

_END = b"\r\n\r\n"
# Room for a method and a version beside the longest target.
_LINE_ROOM = 256
_UNKNOWN = object()
HTTP_1_1 = (1, 1)
_VERSIONS = {b"1.1": HTTP_1_1, b"1.0": (1, 0)}

# Visible ASCII without "#": a fragment never travels (RFC 9112 3.2).
_TARGET = rb"[!\"$-~]+"
# The first line with its CR, and all others with the LF before them: the second part of a connection's
# heads is often the same.
_REQUEST = re.compile(rb"((" + TOKEN + rb") (" + _TARGET + rb") HTTP/(1\.[01])\r)\n")
_AGAIN = re.compile(rb"((" + TOKEN + rb") (/[!\"$-~]*) HTTP/1\.1\r)(?=\n)")
_LINES = re.compile(rb"\n(?:" + LINE + rb")*\r\n")
_REQUEST_LINE = re.compile(TOKEN + rb" " + _TARGET + rb" HTTP/([0-9](?:\.[0-9])?)")
_RESPONSE = re.compile(
    rb"HTTP/(1\.[01]) ([1-5][0-9][0-9])(?: (" + VALUE + rb"))?\r(\n(?:" + LINE + rb")*\r\n)",
)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: " + VALUE + rb")?")
# RFC 3986 3.2.2 without user information, and without the list separator; never empty.
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:(https?)://)([^/?]*)(.*)")
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
# RFC 9110 9.2.2, and those of the method registry that WebDAV clients use to read.
IDEMPOTENT = frozenset(b"GET HEAD OPTIONS TRACE PUT DELETE PROPFIND REPORT SEARCH".split())


def find_head(
    buffer: bytes | bytearray,
    limits: MessageLimits = DEFAULT_LIMITS,
    searched: int = 0,
    side: Side = CLIENT,
) -> int | None:
    """Where the head at the begin of ``buffer`` ends; None: need more.

    ``searched``: length of the buffer at the last call, so that nothing is searched twice.
    What can never become a head is refused at once: HeadTooLarge, TargetTooLong, or BadMessage
    for bytes that no head holds. At most ``limits.head`` bytes are looked at.
    """
    at = buffer.find(_END, max(searched - 3, 0), limits.head)
    if at >= 0:
        return at + 4
    room = limits.target + _LINE_ROOM
    if side is CLIENT and searched <= room < len(buffer) and buffer.find(b"\r\n", 2, room) < 0:
        raise TargetTooLong
    if len(buffer) >= limits.head:
        raise HeadTooLarge("head too large", side)
    if NEVER.search(buffer, max(searched - 1, 0)):
        raise BadMessage(400, "control character or bare line end in a head", side)
    return None


@value(frozen=True, slots=True)
class RequestHead:
    """A valid request head.

    ``line``: its first line as it came, with the CR. ``target`` is what goes to the backend: origin-form or
    ``*`` (an absolute-form is reduced). ``host``: the authority asked for, empty only in HTTP/1.0.
    ``framing``: of its body. Field names are asked for in lower case.
    """

    line: bytes = field(repr=False)
    fields: Fields = field(repr=False)
    method: bytes
    target: bytes
    version: tuple[int, int]
    host: bytes
    framing: Framing

    def get(self, name: bytes) -> bytes | None:
        """See Fields."""
        return self.fields.get(name)

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """See Fields."""
        return self.fields.values(name)

    @property
    def raw(self) -> bytes:
        """The whole head as it came."""
        return self.line + self.fields.text

    @property
    def size(self) -> int:
        """Bytes of the whole head."""
        return len(self.line) + len(self.fields.text)

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants the connection kept (RFC 9112 9.3)."""
        return _stays(self)

    @property
    def path(self) -> bytes:
        """The target up to its query, as it came (not normalised)."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes | None:
        """What follows the first ``?``; None without one."""
        _, mark, query = self.target.partition(b"?")
        return query if mark else None

    @property
    def idempotent(self) -> bool:
        """Whether it may be sent once more when nobody knows if it was executed."""
        return self.method in IDEMPOTENT

    @property
    def expects_continue(self) -> bool:
        """The client waits for 100 before it sends the body (RFC 9110 10.1.1; not in HTTP/1.0)."""
        fields = self.fields
        if b"expect" not in fields.marked or self.version < (1, 1):
            return False
        return (fields.get(b"expect") or b"").lower() == b"100-continue"

    @property
    def upgrade(self) -> bytes | None:
        """The protocols offered by Upgrade where Connection says so too, lower case (RFC 9110 7.8)."""
        fields = self.fields
        if b"upgrade" not in fields.options or self.version < (1, 1):
            return None
        return b", ".join(fields.values(b"upgrade")).lower() or None


@value(frozen=True, slots=True)
class ResponseHead:
    """A valid response head. ``raw``: the whole of it; ``declared``: what its fields say of the body, None
    where nothing. Field names are asked for in lower case."""

    raw: bytes = field(repr=False)
    fields: Fields = field(repr=False)
    status: int
    reason: bytes
    version: tuple[int, int]
    declared: Framing | None

    def get(self, name: bytes) -> bytes | None:
        """See Fields."""
        return self.fields.get(name)

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """See Fields."""
        return self.fields.values(name)

    @property
    def keep_alive(self) -> bool:
        """Whether the backend keeps the connection, once the body has ended (RFC 9112 9.3)."""
        return _stays(self)

    def framing(self, method: bytes) -> Framing:
        """The body's framing, being the answer to ``method`` (RFC 9112 6.3)."""
        if method == b"HEAD" or self.status < 200 or self.status in (204, 304):
            return NO_BODY
        if method == b"CONNECT" and self.status < 300:
            return NO_BODY
        return self.declared or UNTIL_CLOSE


def parse_request(
    head: bytes, limits: MessageLimits = DEFAULT_LIMITS, before: RequestHead | None = None
) -> RequestHead:
    """The request whose head (up to where ``find_head`` said) this is; one CRLF may precede it.

    ``before``: an earlier head of the same connection and limits. Where all lines but the first are the
    same, byte for byte, they were found valid, and what they say is known.
    Raises BadMessage: 400; 414; 431; 501 for CONNECT and unknown transfer codings; 505.
    """
    if head.startswith(b"\r\n"):
        head = head[2:]
    found = _REQUEST.match(head)
    if found is None:
        raise _request_complaint(head)
    line, method, target, digits = found.groups()
    if len(target) > limits.target:
        raise TargetTooLong
    version = _VERSIONS[digits]
    text = head[len(line) :]
    if before is not None and before.fields.text == text and before.version is version:
        host, resource = _authority(method, target, before.fields, version)
        return RequestHead(line, before.fields, method, resource, version, host, before.framing)
    fields = _fields(head, text, limits)
    host, resource = _authority(method, target, fields, version)
    framing = declared(fields.marked, text, fields.marks, version, CLIENT) or NO_BODY
    return RequestHead(line, fields, method, resource, version, host, framing)


def parse_again(
    data: bytes, before: RequestHead, limits: MessageLimits = DEFAULT_LIMITS
) -> RequestHead | None:
    """The head that ``data`` is, where it is one without a body and says the same as ``before`` (of the same
    connection) but for method and target; None where a closer look is needed, whatever the reason.

    It comes to the same as ``find_head`` and ``parse_request``, by a comparison and one short regex.
    """
    text = before.fields.text
    if not data.endswith(text) or before.framing is not NO_BODY or len(data) > limits.head:
        return None
    found = _AGAIN.match(data)
    if found is None or found.end() != len(data) - len(text) or before.version is not HTTP_1_1:
        return None
    line, method, target = found.groups()
    if len(target) > limits.target or method == b"CONNECT":
        return None
    return RequestHead(line, before.fields, method, target, HTTP_1_1, before.host, NO_BODY)


def _fields(head: bytes, text: bytes, limits: MessageLimits) -> Fields:
    if not _LINES.fullmatch(text):
        raise _request_complaint(head)
    _check_count(head, limits, CLIENT)
    low = text.lower()
    return Fields(text, low, request_marks(low), CLIENT)


def parse_response(head: bytes, limits: MessageLimits = DEFAULT_LIMITS) -> ResponseHead:
    """The response whose head (up to where ``find_head`` said) this is; raises BadMessage (502)."""
    found = _RESPONSE.fullmatch(head)
    if found is None:
        raise _response_complaint(head)
    digits, status, reason, text = found.groups(b"")
    version = _VERSIONS[digits]
    _check_count(head, limits, BACKEND)
    low = text.lower()
    fields = Fields(text, low, response_marks(low), BACKEND)
    framing = declared(fields.marked, text, fields.marks, version, BACKEND)
    return ResponseHead(head, fields, int(status), reason, version, framing)


def _check_count(raw: bytes, limits: MessageLimits, side: Side) -> None:
    # No field line is shorter than four bytes: most heads need no counting.
    if len(raw) > 4 * limits.fields and raw.count(b"\n") - 2 > limits.fields:
        raise HeadTooLarge("too many fields", side)


def _stays(head: RequestHead | ResponseHead) -> bool:
    fields = head.fields
    return not fields.closes and (head.version >= HTTP_1_1 or b"keep-alive" in fields.options)


def _authority(method: bytes, target: bytes, fields: Fields, version: tuple[int, int]) -> tuple[bytes, bytes]:
    """Who is asked for, and the target in origin-form (RFC 9112 3.2, 3.3).

    An absolute-form must name the same authority as Host, though RFC 9112 3.2.2 would prefer it
    silently: two names in one request serve nobody but those who play one against the other.
    """
    host = fields.known.get(_HOST, _UNKNOWN)
    if host is _UNKNOWN:
        host = fields.known[_HOST] = _host(fields)
    if host is None and version >= (1, 1):
        raise BadMessage(400, "no Host")
    if method == b"CONNECT":
        raise BadMessage(501, "CONNECT")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return host or b"", target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise BadMessage(400, "no known form of target")
    scheme, authority, rest = absolute.groups()
    if not _HOST.fullmatch(authority):
        raise BadMessage(400, "invalid authority in the target")
    port = _DEFAULT_PORTS[scheme.lower()]
    if host is not None and _bare(host, port) != _bare(authority, port):
        raise BadMessage(400, "target and Host name different authorities")
    if not rest.startswith(b"/"):
        rest = b"*" if method == b"OPTIONS" and not rest else b"/" + rest
    return host or authority, rest


def _host(fields: Fields) -> bytes | None:
    mark = fields.marked.get(b"host")
    if mark is None:
        return None
    host = value_of(fields.text, mark)
    if not _HOST.fullmatch(host):
        raise BadMessage(400, "invalid Host")
    return host


def _bare(authority: bytes, port: bytes) -> bytes:
    return authority.lower().removesuffix(port).removesuffix(b":")


def _request_complaint(raw: bytes) -> BadMessage:
    line, _, fields = raw.partition(b"\r\n")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        return BadMessage(400, "malformed request line")
    if found[1] not in _VERSIONS:
        return BadMessage(505, "unsupported HTTP version")
    return field_complaint(fields, CLIENT)


def _response_complaint(raw: bytes) -> BadMessage:
    line, _, fields = raw.partition(b"\r\n")
    if not _STATUS_LINE.fullmatch(line):
        return BadMessage(502, "malformed status line", BACKEND)
    return field_complaint(fields, BACKEND)
