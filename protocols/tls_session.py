"""Persistence ``tls-session``: a client that resumes a TLS session goes to the server that has it.

Only servers of TLS 1.2 and before give out session ids (RFC 5246 7.4.1.2). Where TLS 1.3 is offered
the id may be a random one, which is never remembered; such clients are known by their source address
beside, and the log says so once.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from exproxy.interfaces import IKeys, ILearner, IPersistence, IPersistencePlugin
from exproxy.model import Facts, Key, Named, Source, TLSSessionId
from exproxy.persistence.source_ip import SourceIp, SourceIpOptions
from protocols.tls_hello import ClientHello


class TlsSessionOptions(SourceIpOptions):
    """Options of ``tls-session``; the masks are for clients that are known by their source address."""


@implementer(IPersistence, ILearner)
class TlsSession:
    """See the module."""

    log = Logger()
    lifetime: float | None = None

    def __init__(self, options: TlsSessionOptions, keys: IKeys) -> None:
        self._keys = keys
        self._source = SourceIp(options, keys)
        self._told = False

    def candidates(self, facts: Facts) -> tuple[Named | Key, ...]:
        """See IPersistence. A made-up id is looked up in vain: only those that a server gave out are held."""
        hello = facts.get(ClientHello)
        session = (self._session(hello.session_id),) if hello is not None and hello.session_id else ()
        return (*session, *self.remember(facts))

    def remember(self, facts: Facts) -> tuple[Key, ...]:
        """See IPersistence: the source address, where the session id cannot be relied upon."""
        hello = facts.get(ClientHello)
        if hello is not None and not hello.offers_tls13:
            return ()
        if hello is not None and not self._told:
            self._told = True
            self.log.info(
                "{group}: clients offer TLS 1.3, whose session ids mean nothing; tls-session knows them by "
                "their source address",
                group=self._keys.group,
            )
        return self._source.remember(facts)

    def observe(self, facts: Facts, observation: object) -> tuple[Key, ...]:
        """See ILearner."""
        if isinstance(observation, TLSSessionId) and observation.value:
            return (self._session(observation.value),)
        return ()

    def _session(self, value: bytes) -> Key:
        return self._keys.digest("tls-session", value)


@implementer(IPersistencePlugin)
class _Plugin:
    name = "tls-session"
    summary = "one TLS session, one server; by source address where TLS 1.3 is offered"
    options = TlsSessionOptions
    needs: tuple[type, ...] = (ClientHello,)
    uses: tuple[type, ...] = (Source,)

    def strategy(self, options: Any, keys: IKeys) -> IPersistence:
        """See IPersistencePlugin."""
        return TlsSession(options, keys)


plugin = _Plugin()
