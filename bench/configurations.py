"""The proxies' configurations: the same services, one process, one thread, no access log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load.tls import NAME

PORTS = {
    "echo": 9500,
    "bulk": 9501,
    "http": 9502,
    "https": 9503,
    "tls-ec": 9504,
    "tls-rsa": 9505,
    "re-ec": 9506,
    "re-rsa": 9507,
    "rpc": 9508,
    "imap": 9509,
}
"""A service has the same port on a proxy's address and on its server's."""
SERVED = ("echo", "bulk", "http", "https", "rpc", "imap")
"""Those that the servers have; the others are TLS before ``http`` or ``https``."""
STREAMS = ("echo", "bulk", "rpc", "imap")


@dataclass(frozen=True, slots=True)
class Site:
    """What a configuration is written for. ``host``: the proxy's address, ``origin``: the server's."""

    folder: Path
    host: str
    origin: str
    ca: Path
    certificates: dict[str, Path]
    connections: int

    def tls(self, service: str) -> tuple[Path, str]:
        """The certificate that a service shows, and the service of the server behind it."""
        way, _, key = service.partition("-")
        return self.certificates[key], "https" if way == "re" else "http"


TLS = ("tls-ec", "tls-rsa", "re-ec", "re-rsa")


def exproxy(site: Site) -> str:
    """exproxy.yaml."""
    lines = [
        f"state-dir: {site.folder}/state",
        "access-log: false",
        f"servers: {{a: {site.origin}}}",
        "defaults:",
        "  check: connect",
        "  health: {interval: 1h}",
        "  timeouts: {keep-alive: 10m, backend-keep-alive: 10m}",
        "  limits: {connections: 100000, per-source: 100000}",
        "services:",
    ]
    kinds = {"echo": "tcp", "bulk": "tcp", "rpc": "rpc", "imap": "imap", "http": "http"}
    kept = {"rpc": "source-ip", "http": "{super-http: {secure: false}}"}
    for service, protocol in kinds.items():
        lines += [
            f"  {service}:",
            f"    protocol: {protocol}",
            f'    listen: "{site.host}:{PORTS[service]}"',
            f"    backend: {{port: {PORTS[service]}}}",
            f"    persistence: {kept.get(service, 'none')}",
        ]
    for service in TLS:
        pem, behind = site.tls(service)
        tls = f"{{verify: {site.ca}, server-name: {NAME}}}" if behind == "https" else "false"
        lines += [
            f"  {service}:",
            "    protocol: https",
            f"    listen: {{address: {site.host}, port: {PORTS[service]}, tls: implicit}}",
            f"    certificate: {pem}",
            f"    backend: {{port: {PORTS[behind]}, tls: {tls}}}",
            "    persistence: super-http",
            "    extended-protection: off",
        ]
    return "\n".join(lines) + "\n"


def haproxy(site: Site, tuning: str = "", options: Sequence[str] = ()) -> str:
    """haproxy.cfg; ``tuning`` is a line of ``global``, ``options`` are some of ``defaults``."""
    lines = [
        "global",
        f"  maxconn {site.connections}",
        "  maxpipes 128",
        "  nbthread 1",
        "  ssl-default-bind-options ssl-min-ver TLSv1.2",
        *([f"  {tuning}"] if tuning else []),
        "defaults",
        *(f"  {option}" for option in options),
        "  timeout connect 5s",
        "  timeout client 10m",
        "  timeout server 10m",
        "  timeout http-keep-alive 10m",
    ]
    for service in STREAMS:
        lines += [
            f"listen {service}",
            "  mode tcp",
            f"  bind {site.host}:{PORTS[service]}",
            *(["  stick-table type ip size 100k expire 2h", "  stick on src"] if service == "rpc" else []),
            f"  server a {site.origin}:{PORTS[service]}",
        ]
    for service in ("http", *TLS):
        bind = f"  bind {site.host}:{PORTS[service]}"
        server = f"  server a {site.origin}:{PORTS['http']} cookie a"
        if service in TLS:
            pem, behind = site.tls(service)
            bind += f" ssl crt {pem}"
            if behind == "https":
                server = f"  server a {site.origin}:{PORTS['https']} cookie a"
                server += f" ssl verify required ca-file {site.ca} sni str({NAME}) verifyhost {NAME}"
        lines += [
            f"listen {service}",
            "  mode http",
            "  option forwardfor",
            "  cookie exproxy insert indirect nocache",
            bind,
            server,
        ]
    return "\n".join(lines) + "\n"


def nginx(site: Site, stream: Path | None, built_in: bool) -> str:
    """nginx.conf; ``stream``: the module to load for TCP, where it is not ``built_in``."""
    lines = [
        *([f"load_module {stream};"] if stream is not None else []),
        "daemon off;",
        "master_process off;",
        f"pid {site.folder}/nginx.pid;",
        f"error_log {site.folder}/nginx.log;",
        f"events {{ worker_connections {2 * site.connections + 200}; }}",
    ]
    if stream is not None or built_in:
        lines.append("stream {")
        lines += [
            f"  server {{ listen {site.host}:{PORTS[service]} backlog=4096; "
            f"proxy_pass {site.origin}:{PORTS[service]}; }}"
            for service in STREAMS
        ]
        lines.append("}")
    lines += [
        "http {",
        "  access_log off; keepalive_timeout 10m; keepalive_requests 1000000000; client_max_body_size 0;",
        "  proxy_http_version 1.1; proxy_read_timeout 10m; proxy_max_temp_file_size 0;",
        "  proxy_request_buffering off; ssl_session_cache shared:tls:1m;",
        *(f"  {name}_temp_path {site.folder}/nginx-{name};" for name in ("client_body", "proxy", "fastcgi")),
        *(f"  {name}_temp_path {site.folder}/nginx-{name};" for name in ("uwsgi", "scgi")),
        *(
            f"  upstream {name} {{ server {site.origin}:{PORTS[name]}; keepalive 1000; "
            "keepalive_requests 1000000000; keepalive_timeout 10m; }"
            for name in ("http", "https")
        ),
    ]
    for service in ("http", *TLS):
        behind, tls, verify = "http", "", ""
        if service in TLS:
            pem, behind = site.tls(service)
            tls = f" ssl; ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3"
        if behind == "https":
            verify = (
                f" proxy_ssl_verify on; proxy_ssl_trusted_certificate {site.ca};"
                f" proxy_ssl_name {NAME}; proxy_ssl_server_name on;"
            )
        lines += [
            f"  server {{ listen {site.host}:{PORTS[service]}{tls};",
            f"    location / {{ proxy_pass {behind}://{behind}; proxy_set_header Host $host;"
            ' proxy_set_header Connection "";',
            f"      proxy_set_header X-Forwarded-For $remote_addr;{verify} }} }}",
        ]
    return "\n".join([*lines, "}"]) + "\n"
