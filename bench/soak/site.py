"""Where everything is, and exproxy's configuration: two pools with the same services.

*shaky* has the servers that get the faults, *steady* has none of them: no client of *steady* may notice
anything at all. A run has a network of its own in 127.0.0.0/8, so that two of them can go on side by side.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

NAME = "mail.soak.test"
POOLS = {"shaky": ("a", "b", "c"), "steady": ("d", "e")}
"""Pools and their servers."""

PORTS = {
    "tcp": 9600,
    "tcp-tls": 9601,
    "pass": 9602,
    "http": 9603,
    "https": 9604,
    "again": 9605,
    "proxied": 9606,
    "rpc": 9607,
    "imap": 9608,
    "pop": 9609,
    "smtp": 9610,
    "relayed-smtp": 9611,
    "few": 9612,
}
"""exproxy's, the same for both pools: they have addresses of their own."""

BEHIND = {
    "tcp": 9600,
    "tls": 9602,
    "http": 9603,
    "https": 9605,
    "rpc": 9607,
    "imap": 9608,
    "pop": 9609,
    "smtp": 9610,
}
"""The servers'."""

# A busy machine must not take a server of *steady* for ill.
_HEALTH = {
    "shaky": "health: {interval: 1s, timeout: 1s, rise: 1, fall: 2}",
    "steady": "health: {interval: 3s, timeout: 3s, rise: 1, fall: 4}",
}
# Connections that one address may have to the service ``few``.
FEW = 3
# Seconds that a silent connection lasts, by name; the soak waits for these, so they are short.
WAITS = {
    "connect": 2.0,
    "greeting": 3.0,
    "tls-handshake": 4.0,
    "client-hello": 4.0,
    "proxy-header": 2.0,
    "request-head": 3.0,
    "request-body": 4.0,
    "first-pdu": 4.0,
    "auth": 6.0,
    "keep-alive": 12.0,
    "backend-keep-alive": 12.0,
    "answer": 15.0,
    "idle": 12.0,
    "tunnel": 12.0,
    "grace": 10.0,
}


@dataclass(frozen=True, slots=True)
class Site:
    """One run's folder, network (three bytes of an address), certificates, and processes of exproxy."""

    folder: Path
    network: str
    ca: Path
    pem: Path
    workers: str = ""

    def front(self, pool: str) -> str:
        """exproxy's address for that pool."""
        return f"{self.network}.{1 + list(POOLS).index(pool)}"

    def server(self, name: str) -> str:
        """A server's address."""
        return f"{self.network}.{11 + ord(name) - ord('a')}"

    def client(self, number: int) -> str:
        """An address for a client: 100 of them."""
        return f"{self.network}.{100 + number % 100}"


def own_network() -> str:
    """A network that no other run has, unless it had this one's number long ago."""
    number = os.getpid()
    return f"127.{64 + number % 128}.{number // 128 % 256}"


def configuration(site: Site) -> str:
    """exproxy.yaml."""
    waits = ", ".join(f"{name}: {int(seconds * 1000)}ms" for name, seconds in WAITS.items())
    servers = ", ".join(f"{name}: {site.server(name)}" for names in POOLS.values() for name in names)
    lines = [
        f"state-dir: {site.folder}/state",
        f"access-log: {site.folder}/access.log",
        *([f"workers: {site.workers}"] if site.workers else []),
        f"host-name: {NAME}",
        f"servers: {{{servers}}}",
        "defaults:",
        f"  certificate: {site.pem}",
        "  extended-protection: off",
        f"  timeouts: {{{waits}}}",
        "  limits: {connections: 5000, per-source: 5000, body-rate: 200}",
        "services:",
    ]
    for pool in POOLS:
        lines += _services(site, pool)
    return "\n".join(lines) + "\n"


def _services(site: Site, pool: str) -> list[str]:
    verified = f"{{verify: {site.ca}, server-name: {NAME}}}"
    web = "check: {http: {path: /health}}, persistence: super-http"
    plain_web = "check: {http: {path: /health}}, persistence: {super-http: {secure: false}}"
    upgraded = f"{{mode: starttls, verify: {site.ca}, server-name: {NAME}}}"
    made = {
        "tcp": "protocol: tcp, backend: {port: 9600}",
        "tcp-tls": "protocol: tcp, backend: {port: 9600, tls: false}",
        "pass": "protocol: tls, backend: {port: 9602}",
        "http": f"protocol: http, backend: {{port: 9603}}, {plain_web}",
        "https": f"protocol: https, backend: {{port: 9603, tls: false}}, {web}",
        "again": f"protocol: https, backend: {{port: 9605, tls: {verified}}}, {web}",
        "proxied": f"protocol: http, backend: {{port: 9603}}, trusted-proxies: 127.0.0.0/8, {plain_web}",
        "rpc": "protocol: rpc, backend: {port: 9607}, check: connect, persistence: source-ip",
        "imap": "protocol: {imap: {routing: user}}, backend: {port: 9608, tls: false}, persistence: user",
        "pop": "protocol: pop, backend: {port: 9609, tls: false}",
        "smtp": f"protocol: smtp, backend: {{port: 9610, tls: {upgraded}}}",
        "relayed-smtp": "protocol: smtp, backend: {port: 9610}",
        "few": f"protocol: tcp, backend: {{port: 9600}}, limits: {{per-source: {FEW}}}",
    }
    ways = {
        "tcp-tls": "tls: implicit",
        "pass": "tls: passthrough",
        "https": "tls: implicit",
        "again": "tls: implicit",
        "proxied": "accept-proxy: true",
        "imap": "tls: starttls",
        "pop": "tls: starttls",
        "smtp": "tls: starttls",
    }
    names, health = ", ".join(POOLS[pool]), _HEALTH[pool]
    lines = []
    for service, text in made.items():
        where = f"address: {site.front(pool)}, port: {PORTS[service]}, {ways.get(service, 'tls: none')}"
        lines.append(f"  {pool}-{service}: {{servers: [{names}], listen: {{{where}}}, {health}, {text}}}")
    return lines
