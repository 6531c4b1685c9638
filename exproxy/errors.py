"""What can go wrong, each saying whose fault it was. Clients never see these words: the session
logs them and answers in the protocol's own generic ones."""

from __future__ import annotations


class ExproxyError(Exception):
    """The root of our own errors."""


class NoBackend(ExproxyError):
    """Nothing in the pool may be chosen. ``reason`` says why: down, full, drained, refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConnectFailed(ExproxyError):
    """No connection: HAProxy's ``code`` (L4CON, L4TOUT, L6RSP, L6TOUT), the phase, the reason.

    ``ours``: it never came to asking the server, which is not to be blamed.
    """

    def __init__(self, code: str, phase: str, reason: str, ours: bool = False) -> None:
        super().__init__(f"{phase}: {reason}")
        self.code = code
        self.phase = phase
        self.reason = reason
        self.ours = ours


class ProtocolViolation(ExproxyError):
    """The client broke its protocol; the conversation says what to answer."""


class BackendFault(ExproxyError):
    """The backend broke its protocol, or ended where it must not."""


class ConfigurationError(ExproxyError):
    """The configuration cannot be used; the text is ready for the administrator."""
