"""Whether somebody logs in for the whole connection, as Windows authentication does (MS-NTHT 1.3).

NTLM, Negotiate and Kerberos prove who is there once, and the server then takes everything on that
connection as said by that user: such a connection must stay with its client from the first leg on.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from protocols.http import ntlm, spnego
from protocols.http.head import RequestHead, ResponseHead

# Nego2 and other spellings of Negotiate are in use.
_SCHEMES = (b"ntlm", b"nego", b"kerberos")
_CHALLENGE = re.compile(rb"\n(?:www|proxy)-authenticate:(?:[^\r]*,)?[\t ]*(?:" + rb"|".join(_SCHEMES) + rb")")
_CONTINUED = re.compile(
    rb"\n(?:www|proxy)-authenticate:(?:[^\r]*,)?[\t ]*(?:"
    + rb"|".join(_SCHEMES)
    + rb")[a-z0-9]*[\t ]+[a-z0-9+/]{4}"
)


@dataclass(frozen=True, slots=True)
class Token:
    """What a request shows. ``mechanism``: ntlm, ntlmv1, kerberos, or negotiate where it cannot be told;
    ``message``: that of NTLM; ``hidden``: NTLM is in it, but not where it should be."""

    mechanism: str
    message: ntlm.Message | None = None
    hidden: bool = False


def logs_in(head: RequestHead) -> bool:
    """Whether the request carries a token that belongs to its connection."""
    known = head.fields.known
    found: bool | None = known.get(logs_in)
    if found is None:
        found = any(value.lower().startswith(_SCHEMES) for value in _values(head))
        known[logs_in] = found
    return found


def binds(head: ResponseHead) -> bool:
    """Whether the answer begins or continues a log-in of the connection, or says that it is done."""
    if head.status in (401, 407) and _CHALLENGE.search(head.fields.low):
        return True
    said = head.get(b"persistent-auth")
    return said is not None and said.lower() == b"true"


def goes_on(head: ResponseHead) -> bool:
    """Whether the answer asks for another leg: a challenge with a token in it."""
    return head.status in (401, 407) and _CONTINUED.search(head.fields.low) is not None


def tokens(head: RequestHead) -> list[Token]:
    """The tokens of the request: one, but for a client that wants to confuse."""
    if not logs_in(head):
        return []
    found = [value for value in _values(head) if value.lower().startswith(_SCHEMES)]
    return [_token(scheme.lower(), data) for scheme, _, data in (value.partition(b" ") for value in found)]


def _values(head: RequestHead) -> list[bytes]:
    return [*head.values(b"authorization"), *head.values(b"proxy-authorization")]


def _token(scheme: bytes, text: bytes) -> Token:
    ours = scheme == b"ntlm"
    try:
        data = base64.b64decode(text.strip(b" \t"), validate=True)
    except binascii.Error:
        return Token("ntlm" if ours else "negotiate", hidden=True)
    token = data
    if not data.startswith(ntlm.SIGNATURE):
        try:
            token = spnego.inner(data)
        except spnego.NotDER:
            return Token("ntlm" if ours else "negotiate", hidden=ours or ntlm.SIGNATURE in data)
    if token.startswith(ntlm.SIGNATURE):
        message = ntlm.parse(token)
        old = isinstance(message, ntlm.Authenticate) and message.version == 1
        return Token(
            "ntlmv1" if old else "ntlm", message, hidden=message is None or data.count(ntlm.SIGNATURE) > 1
        )
    if spnego.is_kerberos(token):
        return Token("kerberos")
    return Token("negotiate", hidden=ntlm.SIGNATURE in data)
