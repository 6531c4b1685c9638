"""The name in Basic credentials (RFC 7617), which stays the same from request to request.

The password is never looked at. NTLM, Negotiate and Bearer tokens change and name nobody here.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata

from protocols.http.head import RequestHead

_LONGEST = 1024


def basic_user(head: RequestHead) -> str | None:
    """Who the request says it is by Basic credentials, in one spelling for all cases; else None."""
    known = head.fields.known
    if basic_user not in known:
        known[basic_user] = _basic_user(head.get(b"authorization"))
    user: str | None = known[basic_user]
    return user


def _basic_user(value: bytes | None) -> str | None:
    if value is None or value[:6].lower() != b"basic ":
        return None
    try:
        credentials = base64.b64decode(value[6:].strip(b" "), validate=True)
    except binascii.Error:
        return None
    name, colon, _ = credentials.partition(b":")
    if not colon or len(name) > _LONGEST:
        return None
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("latin-1")
    return unicodedata.normalize("NFKC", text).strip().casefold() or None
