"""Message heads (RFC 9112 2 to 5): found, validated strictly as one block, and read.

A head that one regex accepts needs no second look: no folded line, no bare CR or LF, no control
character but HTAB in a value, no blank before a colon, nothing but visible ASCII in the target.
Any token is a method: RPC over HTTP, WebDAV and ActiveSync bring their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from exproxy.model import BACKEND, CLIENT, Side
from protocols.http.faults import BadMessage, HeadTooLarge, TargetTooLong
from protocols.http.fields import (
    LINE,
    NEVER,
    TOKEN,
    VALUE,
    Fields,
    Mark,
    by_name,
    connection_options,
    field_complaint,
    list_of,
    request_marks,
    response_marks,
    value_of,
)
from protocols.http.framing import NO_BODY, UNTIL_CLOSE, Framing, declared
from protocols.http.limits import DEFAULT_LIMITS, MessageLimits

_END = b"\r\n\r\n"
# Room for a method and a version beside the longest target.
_LINE_ROOM = 256
_NO_OPTIONS: frozenset[bytes] = frozenset()
_VERSIONS = {b"1.1": (1, 1), b"1.0": (1, 0)}

# Visible ASCII without "#": a fragment never travels (RFC 9112 3.2).
_TARGET = rb"[!\"$-~]+"
_REQUEST = re.compile(
    rb"(" + TOKEN + rb") (" + _TARGET + rb") HTTP/(1\.[01])\r\n(?:" + LINE + rb")*\r\n",
)
_REQUEST_LINE = re.compile(TOKEN + rb" " + _TARGET + rb" HTTP/([0-9](?:\.[0-9])?)")
_RESPONSE = re.compile(
    rb"HTTP/(1\.[01]) ([1-5][0-9][0-9])(?: (" + VALUE + rb"))?\r\n(?:" + LINE + rb")*\r\n",
)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: " + VALUE + rb")?")
# RFC 3986 3.2.2 without user information, and without the list separator; never empty.
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"(?i:(https?)://)([^/?]*)(.*)")
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}
# RFC 9110 9.2.2, and those of the method registry that WebDAV clients use to read.
_IDEMPOTENT = frozenset(b"GET HEAD OPTIONS TRACE PUT DELETE PROPFIND REPORT SEARCH".split())


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


@dataclass(frozen=True, slots=True)
class RequestHead(Fields):
    """A valid request head.

    ``target`` is what goes to the backend: origin-form or ``*`` (an absolute-form is reduced).
    ``host``: the authority asked for, empty only in HTTP/1.0. ``framing``: of its body.
    """

    method: bytes
    target: bytes
    version: tuple[int, int]
    host: bytes
    framing: Framing

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
        return self.method in _IDEMPOTENT

    @property
    def expects_continue(self) -> bool:
        """The client waits for 100 before it sends the body (RFC 9110 10.1.1; not in HTTP/1.0)."""
        return self.version >= (1, 1) and (self.get(b"expect") or b"").lower() == b"100-continue"

    @property
    def upgrade(self) -> bytes | None:
        """The protocols offered by Upgrade where Connection says so too, lower case (RFC 9110 7.8)."""
        if self.version < (1, 1) or b"upgrade" not in self.options:
            return None
        return b", ".join(self.values(b"upgrade")).lower() or None


@dataclass(frozen=True, slots=True)
class ResponseHead(Fields):
    """A valid response head. ``declared``: what its fields say of the body, None where nothing."""

    status: int
    reason: bytes
    version: tuple[int, int]
    declared: Framing | None

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


def parse_request(head: bytes, limits: MessageLimits = DEFAULT_LIMITS) -> RequestHead:
    """The request whose head (up to where ``find_head`` said) this is; one CRLF may precede it.

    Raises BadMessage: 400; 414; 431; 501 for CONNECT and unknown transfer codings; 505.
    """
    raw = head[2:] if head.startswith(b"\r\n") else head
    found = _REQUEST.fullmatch(raw)
    if found is None:
        raise _request_complaint(raw)
    method, target, digits = found.groups()
    version = _VERSIONS[digits]
    if len(target) > limits.target:
        raise TargetTooLong
    _check_count(raw, limits, CLIENT)
    low = raw.lower()
    marks = request_marks(low)
    fields = by_name(marks, CLIENT)
    mark = fields.get(b"host")
    host, resource = _authority(method, target, None if mark is None else value_of(raw, mark), version)
    framing = declared(fields, raw, marks, version, CLIENT) or NO_BODY
    options = _options(raw, marks, fields)
    return RequestHead(raw, low, marks, options, method, resource, version, host, framing)


def parse_response(head: bytes, limits: MessageLimits = DEFAULT_LIMITS) -> ResponseHead:
    """The response whose head (up to where ``find_head`` said) this is; raises BadMessage (502)."""
    found = _RESPONSE.fullmatch(head)
    if found is None:
        raise _response_complaint(head)
    digits, status, reason = found.groups(b"")
    version = _VERSIONS[digits]
    _check_count(head, limits, BACKEND)
    low = head.lower()
    marks = response_marks(low)
    fields = by_name(marks, BACKEND)
    framing = declared(fields, head, marks, version, BACKEND)
    options = _options(head, marks, fields)
    return ResponseHead(head, low, marks, options, int(status), reason, version, framing)


def _check_count(raw: bytes, limits: MessageLimits, side: Side) -> None:
    # No field line is shorter than four bytes: most heads need no counting.
    if len(raw) > 4 * limits.fields and raw.count(b"\n") - 2 > limits.fields:
        raise HeadTooLarge("too many fields", side)


def _options(raw: bytes, marks: tuple[Mark, ...], fields: dict[bytes, Mark]) -> frozenset[bytes]:
    mark = fields.get(b"connection")
    if mark is None:
        return _NO_OPTIONS
    once = len(fields) == len(marks)
    return connection_options(value_of(raw, mark) if once else list_of(raw, marks, b"connection"))


def _stays(head: RequestHead | ResponseHead) -> bool:
    return b"close" not in head.options and (head.version >= (1, 1) or b"keep-alive" in head.options)


def _authority(
    method: bytes, target: bytes, host: bytes | None, version: tuple[int, int]
) -> tuple[bytes, bytes]:
    """Who is asked for, and the target in origin-form (RFC 9112 3.2, 3.3).

    An absolute-form must name the same authority as Host, though RFC 9112 3.2.2 would prefer it
    silently: two names in one request serve nobody but those who play one against the other.
    """
    if host is None and version >= (1, 1):
        raise BadMessage(400, "no Host")
    if host is not None and not _HOST.fullmatch(host):
        raise BadMessage(400, "invalid Host")
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
