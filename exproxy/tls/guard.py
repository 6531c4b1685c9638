"""Extended Protection guard: does each backend show the certificate that clients are shown here?

With Extended Protection Windows authentication is bound to the certificate that the client saw
(RFC 5929 tls-server-end-point). Where the servers have another one, logins fail; the typical sign
is that OWA works while Outlook and phones do not. Nobody but a proxy on the way can see both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, TypeAlias

from twisted.logger import Logger

from exproxy import actions
from exproxy.model import TLS
from exproxy.tls.material import fingerprint

Policy: TypeAlias = Literal["require", "warn", "off"]


class Guard:
    """Looks at what the servers of one service show, at each check.

    ``shown()`` gives the SHA-256 fingerprints of the certificates that clients are shown now.
    """

    log = Logger()

    def __init__(self, service: str, policy: Policy, shown: Callable[[], Collection[bytes]]) -> None:
        self._service = service
        self._policy = policy
        self._shown = shown
        self._objections: dict[str, str | None] = {}
        # By backend: (server, TLS version).
        self._versions: dict[str, tuple[str, str]] = {}
        self._told: frozenset[str] = frozenset()

    @property
    def requires(self) -> bool:
        """Whether a server with another certificate is no server of this service."""
        return self._policy == "require"

    def met(self, backend: str, server: str, tls: TLS) -> actions.Fail | None:
        """A check finished a TLS handshake with that server; Fail where it may not be used for it.

        ``backend``: its name for people; ``server``: the real server's.
        """
        self._version(backend, server, tls.version)
        objection = self._objection(tls)
        if objection != self._objections.get(backend):
            self._objections[backend] = objection
            self._tell(backend, objection)
        if objection is None or not self.requires:
            return None
        return actions.Fail("L6RSP", "extended protection", objection)

    def _objection(self, tls: TLS) -> str | None:
        if tls.certificate is None:
            return "shows no certificate"
        served = fingerprint(tls.certificate)
        if served in self._shown():
            return None
        return f"shows the certificate sha256:{served.hex()}, clients are shown another one"

    def _tell(self, backend: str, objection: str | None) -> None:
        if objection is None:
            self.log.info("{backend} shows the certificate that clients are shown", backend=backend)
        elif self.requires:
            self.log.critical(
                "ALARM: {backend} {objection}; extended-protection: require takes it out",
                backend=backend,
                objection=objection,
            )
        else:
            self.log.warn(
                "{backend} {objection}: Windows authentication with Extended Protection fails there",
                backend=backend,
                objection=objection,
            )

    def _version(self, backend: str, server: str, version: str) -> None:
        self._versions[backend] = (server, version)
        spoken = frozenset(version for _, version in self._versions.values())
        if spoken == self._told:
            return
        self._told = spoken
        if len(spoken) > 1:
            self.log.warn(
                "the servers of {service} speak different TLS versions: {versions}; Extended Protection "
                "wants them to be set up alike",
                service=self._service,
                versions=", ".join(f"{name} {found}" for name, found in sorted(set(self._versions.values()))),
            )
