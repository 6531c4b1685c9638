"""Whether somebody logs in for the whole connection, as Windows authentication does (MS-NTHT 1.3).

NTLM, Negotiate and Kerberos prove who is there once, and the server then takes everything on that
connection as said by that user: such a connection must stay with its client from the first leg on.
"""

from __future__ import annotations

import re

from protocols.http.head import RequestHead, ResponseHead

# Nego2 and other spellings of Negotiate are in use.
_SCHEMES = (b"ntlm", b"nego", b"kerberos")
_CHALLENGE = re.compile(rb"\n(?:www|proxy)-authenticate:(?:[^\r]*,)?[\t ]*(?:" + rb"|".join(_SCHEMES) + rb")")


def logs_in(head: RequestHead) -> bool:
    """Whether the request carries a token that belongs to its connection."""
    if b"authorization:" not in head.low:
        return False
    values = head.values(b"authorization") + head.values(b"proxy-authorization")
    return any(value.lower().startswith(_SCHEMES) for value in values)


def binds(head: ResponseHead) -> bool:
    """Whether the answer begins or continues a log-in of the connection, or says that it is done."""
    if head.status in (401, 407) and _CHALLENGE.search(head.low):
        return True
    said = head.get(b"persistent-auth")
    return said is not None and said.lower() == b"true"
