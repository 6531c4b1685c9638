"""Who may do what: tokens, sessions of browsers, and where a request may come from. Pure.

A browser sends what it has wherever a page of anybody's leads it. So: no name but ours in Host (DNS
rebinding), no origin but ours on anything of the API, a second word (X-CSRF-Token) with each change that a
cookie speaks for, and nothing changes by GET.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus

from exproxy.admin.api.attempts import Attempts
from exproxy.admin.api.problem import Problem
from exproxy.admin.api.route import SAFE, Needs
from exproxy.admin.api.sessions import BrowserSession, BrowserSessions
from exproxy.config.resolved import AdminToken, Role

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/?#\s]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Door:
    """How a request came in. ``local``: the unix socket, whose file mode says who may; ``loopback``: an
    address that only this machine reaches; ``secure``: over TLS. ``names``: host names that it may be
    called by."""

    local: bool = False
    loopback: bool = False
    secure: bool = False
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides. Header fields as text, None where they are not there; ``peer``: the client's
    address, or for the unix socket its user; ``where``: the same for people; ``to``: our address there."""

    method: str
    peer: str
    where: str
    host: str | None = None
    origin: str | None = None
    fetch_site: str | None = None
    authorization: str | None = None
    cookie: str | None = None
    csrf: str | None = None
    to: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``role`` None: nobody that is known; ``csrf``: of a browser's session."""

    name: str
    role: Role | None
    where: str
    csrf: str | None = None


@dataclass(slots=True)
class Access:
    """One for all doors. ``tokens`` empty: everybody who reaches a door may operate (the configuration sees
    to it that these are loopback doors)."""

    clock: Callable[[], float]
    tokens: tuple[AdminToken, ...] = ()
    origins: tuple[str, ...] = ()
    sessions: BrowserSessions = field(init=False)
    attempts: Attempts = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = BrowserSessions(self.clock)
        self.attempts = Attempts(self.clock)

    def renew(self, tokens: tuple[AdminToken, ...], origins: tuple[str, ...]) -> None:
        """Have others from now on; the sessions of tokens that are gone, or mean less or more now, end."""
        kept = {(each.name, each.role) for each in tokens if each in self.tokens}
        self.tokens, self.origins = tokens, origins
        self.sessions.keep(lambda session: (session.name, session.role) in kept)

    # -- where it comes from ---------------------------------------------------------

    def welcome(self, door: Door, asked: Asked) -> None:
        """Raises Problem for a Host that is not ours and for an origin that is not ours."""
        if door.local:
            return
        host = _host(asked.host)
        if host is None:
            raise Problem(HTTPStatus.BAD_REQUEST, "malformed", "the Host field is missing or malformed")
        if not self._known(door, host, asked.to):
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "host",
                f"{host!r} is no name of this administration: use its address, or add the origin under "
                "which browsers see it to admin.origins",
            )
        if not self._same_origin(door, asked):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "origin",
                "the request comes from a page of another origin; if that is a proxy of yours, add its "
                "origin to admin.origins",
            )

    def _known(self, door: Door, host: str, to: str) -> bool:
        if host in door.names or host == to or any(_host_of(origin) == host for origin in self.origins):
            return True
        if door.loopback:
            return host in LOOPBACK
        # Who rebinds a name has to call us by it; an address is nobody's name.
        return _is_address(host)

    def _same_origin(self, door: Door, asked: Asked) -> bool:
        if asked.origin is not None:
            scheme = "https" if door.secure else "http"
            own = f"{scheme}://{_without_usual_port(asked.host or '', scheme)}"
            return asked.origin.lower() in (own, *self.origins)
        return asked.fetch_site in (None, "same-origin", "none")

    # -- who it is -------------------------------------------------------------------

    def caller(self, door: Door, asked: Asked) -> Caller:
        """Who asks; a Caller without a role where nothing was shown. Raises Problem for what is wrong."""
        if door.local:
            return Caller(asked.peer, "operate", asked.where)
        if asked.authorization is not None:
            return self._bearer(asked)
        session = self.sessions.find(asked.cookie) if asked.cookie else None
        if session is not None:
            if asked.method not in SAFE and not _same(asked.csrf or "", session.csrf):
                detail = "changes need the field X-CSRF-Token of your session; load the page again"
                raise Problem(HTTPStatus.FORBIDDEN, "csrf", detail)
            return Caller(session.name, session.role, asked.where, session.csrf)
        if not self.tokens and door.loopback:
            return Caller("somebody on this machine", "operate", asked.where)
        return Caller("nobody", None, asked.where)

    def _bearer(self, asked: Asked) -> Caller:
        scheme, _, word = (asked.authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("only tokens are taken: Authorization: Bearer TOKEN")
        token = self.token(word.strip(), asked.peer)
        return Caller(token.name, token.role, asked.where)

    def token(self, word: str, peer: str) -> AdminToken:
        """The token that the word is, in the same time whichever it is and whether it is one. Raises
        Problem: 401, or 429 where that peer has tried too often."""
        wait = self.attempts.wait(peer)
        if wait:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "attempts",
                f"too many wrong tokens from {peer}; wait {wait:.0f} s",
                headers={"Retry-After": f"{wait:.0f}"},
            )
        found = None
        for each in self.tokens:
            if _same_bytes(word.encode("utf-8", "surrogateescape"), each.secret):
                found = each
        if found is None:
            self.attempts.failed(peer)
            raise _unauthorized("that is no token of this administration")
        return found

    def login(self, word: str, peer: str) -> tuple[str, BrowserSession]:
        """A new session for whoever has that token: (the cookie's value, the session)."""
        token = self.token(word, peer)
        return self.sessions.begin(token.name, token.role)

    # -- what it may do --------------------------------------------------------------

    def allow(self, needs: Needs, caller: Caller) -> None:
        """Raises Problem where that caller may not do what needs that role."""
        if needs == "anyone":
            return
        if caller.role is None:
            raise _unauthorized("a token is needed: Authorization: Bearer TOKEN, or log in")
        if needs == "operate" and caller.role != "operate":
            detail = f"{caller.name} may look and not change anything: its token has the role {caller.role}"
            raise Problem(HTTPStatus.FORBIDDEN, "role", detail)


def _unauthorized(detail: str) -> Problem:
    challenge = {"WWW-Authenticate": 'Bearer realm="exproxy"'}
    return Problem(HTTPStatus.UNAUTHORIZED, "token", detail, headers=challenge)


def _same(one: str, other: str) -> bool:
    return _same_bytes(one.encode("utf-8", "surrogateescape"), other.encode())


def _same_bytes(one: bytes, other: bytes) -> bool:
    # Of equal length, so that the comparison tells nothing of it.
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())


def _host(field_value: str | None) -> str | None:
    found = _HOST.fullmatch(field_value or "")
    return found[1].strip("[]").lower().rstrip(".") if found else None


def _host_of(origin: str) -> str | None:
    return _host(origin.partition("://")[2])


def _without_usual_port(host: str, scheme: str) -> str:
    usual = ":443" if scheme == "https" else ":80"
    return host.lower().removesuffix(usual)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def names_of(hosts: Iterable[str]) -> frozenset[str]:
    """Host names as they are compared: lower case, without a dot at the end; wildcards stand for no name."""
    return frozenset(each.lower().rstrip(".") for each in hosts if each and "*" not in each)
