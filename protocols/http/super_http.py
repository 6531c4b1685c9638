"""Persistence ``super-http``: a cookie of ours where the client may be given one, else a fingerprint.

Browsers get the cookie, so that each of them is one client however many sit behind one address.
Outlook, ActiveSync, EWS and their kin must not be given cookies they did not ask for; there the
user of Basic credentials is the client, else its User-Agent together with its source address,
else the source address alone. The cookie's value is a keyed token that names no server, and
nothing but keyed digests gets into a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from zope.interface import implementer

from exproxy.interfaces import IKeys, IMarker, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named, Source
from exproxy.persistence.source_ip import network_of
from exproxy.units import Size, Wait
from protocols.http.credentials import basic_user
from protocols.http.head import RequestHead
from protocols.http.peer import Scheme

PURPOSE = "super-http"
NO_COOKIE_PATHS = ("/Microsoft-Server-ActiveSync", "/EWS", "/rpc", "/Autodiscover", "/mapi", "/OAB")
NO_COOKIE_AGENTS = (
    "Outlook",
    "Microsoft Office",
    "MSRPC",
    "MAPI",
    "ActiveSync",
    "Apple-i",
    "Android-Mail",
    "ExchangeServicesClient",
)
_COOKIE_NAME = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"
_UNFIT = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
# Bytes of a User-Agent that are looked at; the same few come again and again.
_AGENT = 512
_PREFIXES = ("__Host-", "__Secure-")
Text: TypeAlias = Annotated[str, Field(min_length=1)]


class SuperHttpOptions(BaseModel):
    """Options of ``super-http``."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    cookie: str | None = Field(
        default=None,
        pattern=_COOKIE_NAME,
        max_length=128,
        description="The cookie's name; default __Host-exproxy-GROUP, or exproxy-GROUP where not secure.",
    )
    secure: bool = Field(
        default=True,
        description="Give the cookie over https only; false: over http too, without Secure and __Host-.",
    )
    same_site: Literal["Lax", "Strict", "None"] = Field(
        default="Lax", description="The cookie's SameSite attribute; None needs secure."
    )
    no_cookie_paths: tuple[Text, ...] = Field(
        default=NO_COOKIE_PATHS,
        description="Paths, with all below them, whose clients are given no cookie; case does not matter.",
    )
    no_cookie_agents: tuple[Text, ...] = Field(
        default=NO_COOKIE_AGENTS,
        description="Parts of a User-Agent whose clients are given no cookie; case does not matter.",
    )
    mask_v4: int = Field(
        default=32,
        ge=0,
        le=32,
        strict=True,
        description="Bits of an IPv4 source that count in a fingerprint.",
    )
    mask_v6: int = Field(
        default=128,
        ge=0,
        le=128,
        strict=True,
        description="Bits of an IPv6 source that count in a fingerprint.",
    )
    timeout: Wait = Field(
        default=7200.0,
        description="How long a fingerprint is remembered after its last use; a group's own wins.",
    )
    limit: Size = Field(
        default=100_000,
        description="Fingerprints remembered at most, the oldest go first; a group's own wins.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> SuperHttpOptions:
        if not self.secure and self.same_site == "None":
            raise ValueError("same-site: None needs secure: true, browsers refuse such a cookie otherwise")
        if not self.secure and (self.cookie or "").startswith(_PREFIXES):
            raise ValueError("a cookie named __Host- or __Secure- needs secure: true")
        return self

    def cookie_name(self, group: str) -> bytes:
        """The name of the cookie for that group; one per group."""
        prefix = "__Host-" if self.secure else ""
        return (self.cookie or f"{prefix}exproxy-{_UNFIT.sub('-', group)}").encode("ascii")


@implementer(IPersistence, IMarker)
class SuperHttp:
    """See the module. ``cookie``: the name of our cookie."""

    def __init__(self, options: SuperHttpOptions, keys: IKeys) -> None:
        self._options = options
        self._keys = keys
        self._servers = dict(keys.tokens(PURPOSE))
        self._tokens = {server: keys.token(PURPOSE, server) for server in keys.servers}
        self.cookie = options.cookie_name(keys.group)
        self._ours = re.compile(rb"(?:^|;)[\t ]*" + re.escape(self.cookie) + rb"[\t ]*=[\t ]*\"?([^;\"\t ]*)")
        self._no_path = _any_of(options.no_cookie_paths, r"(?:{})(?:[/;]|$)", strip="/")
        no_agent = _any_of(options.no_cookie_agents, "{}")
        self._no_cookie_agent: Callable[[bytes], bool] = lru_cache(maxsize=1024)(
            lambda agent: no_agent is not None and no_agent.search(agent) is not None
        )
        secure = b"; Secure" if options.secure else b""
        same_site = options.same_site.encode("ascii")
        self._attributes = b"; Path=/; HttpOnly; SameSite=" + same_site + secure

    def __repr__(self) -> str:
        return f"<super-http {self.cookie.decode()}>"

    # -- IPersistence ----------------------------------------------------------------

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence: the cookie's server first, then the fingerprint."""
        head = facts.get(RequestHead)
        if head is None:
            return ()
        shown = self._shown(head)
        named = tuple([Named(self._servers[token]) for token in shown])
        return named + self._fingerprint(facts, head, shown)

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence."""
        head = facts.get(RequestHead)
        return () if head is None else self._fingerprint(facts, head, self._shown(head))

    # -- IMarker ---------------------------------------------------------------------

    def mark(self, facts: Facts, server: str) -> bytes | None:
        """See IMarker: a session cookie, new where the client has none, a forged one or another server's."""
        head = facts.get(RequestHead)
        token = self._tokens.get(server)
        if head is None or token is None or token in self._shown(head):
            return None
        if not self._may_have_cookie(facts, head):
            return None
        return self.cookie + b"=" + token + self._attributes

    # -- what a request shows --------------------------------------------------------

    def _shown(self, head: RequestHead) -> list[bytes]:
        """The tokens of ours that it brings; anything else in our cookie is as good as nothing."""
        return [
            token
            for value in head.values(b"cookie")
            for token in self._ours.findall(value)
            if token in self._servers
        ]

    def _may_have_cookie(self, facts: Facts, head: RequestHead) -> bool:
        if self._options.secure:
            scheme = facts.get(Scheme)
            if scheme is None or scheme.name != "https":
                return False
        agent = head.get(b"user-agent")
        if not agent or self._no_cookie_agent(agent[:_AGENT]):
            return False
        return self._no_path is None or self._no_path.match(head.path) is None

    def _fingerprint(self, facts: Facts, head: RequestHead, shown: list[bytes]) -> tuple[Key, ...]:
        """What tells a client without our cookie from others; nothing where it can be given one."""
        user = basic_user(head)
        if user is not None:
            return (self._keys.digest("user", user.encode()),)
        if shown or self._may_have_cookie(facts, head):
            return ()
        source = facts.get(Source)
        host = "" if source is None else source.host
        network = network_of(host, self._options.mask_v4, self._options.mask_v6)
        agent = head.get(b"user-agent")
        return (
            self._keys.digest("agent", agent, network) if agent else self._keys.digest("source", network),
        )


def _any_of(words: tuple[str, ...], form: str, strip: str = "") -> re.Pattern[bytes] | None:
    fit = [re.escape(word.rstrip(strip) if strip else word) for word in words]
    if not fit:
        return None
    return re.compile(form.format("|".join(fit)).encode(), re.IGNORECASE)


@implementer(IPersistencePlugin)
class _Plugin:
    name = "super-http"
    summary = "a cookie for browsers, else the Basic user, else User-Agent and source address"
    options = SuperHttpOptions
    needs: tuple[type, ...] = (RequestHead,)
    uses: tuple[type, ...] = (Scheme, Source)

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        return SuperHttp(options, keys)


plugin = _Plugin()
