"""The columns of services, backends, servers and the rest, as tables and CSV have them."""

from __future__ import annotations

from typing import Any

from exproxy.ctl.output import Column, lasting, size


def _errors(row: Any) -> int:
    return sum(row["errors"].values())


def _wish(row: Any) -> str:
    wish = row["operator"]
    if not wish or wish["state"] == "ready":
        return ""
    parts = [each for each in (wish["reason"], wish["who"] and f"by {wish['who']}") if each]
    if wish["until"]:
        parts.append(f"until {wish['until']}")
    return ", ".join(parts)


def _check(row: Any) -> str:
    check = row["check"]
    if not check["code"]:
        return "-"
    took = f" {check['duration_ms']:.0f}ms" if check["duration_ms"] is not None else ""
    return f"{check['code']}{took}"


def _limit(row: Any) -> str:
    current, limit = row["sessions"]["current"], row["limit"]
    return f"{current}/{limit}" if limit else str(current)


SERVICES = (
    Column("SERVICE", lambda r: r["name"]),
    Column("PROTOCOL", lambda r: r["protocol"]),
    Column("STATE", lambda r: r["state"], state=True),
    Column("LISTEN", lambda r: r["listen"]),
    Column("SESSIONS", lambda r: r["sessions"]["current"], number=True),
    Column("NEW/S", lambda r: r["sessions"]["rate"], number=True),
    Column("REQ/S", lambda r: r["requests"]["rate"], number=True),
    Column("TOTAL", lambda r: r["sessions"]["total"], number=True),
    Column("IN", lambda r: r["bytes_in"], lambda r: size(r["bytes_in"]), number=True),
    Column("OUT", lambda r: r["bytes_out"], lambda r: size(r["bytes_out"]), number=True),
    Column("ERRORS", _errors, number=True),
    Column("P95 MS", lambda r: r["latency"]["p95"], number=True),
)

BACKENDS = (
    Column("BACKEND", lambda r: r["name"]),
    Column("STATE", lambda r: r["state"], state=True),
    Column("ADDRESS", lambda r: f"{r['host']}:{r['port']}" if r["host"] else None),
    Column("WEIGHT", lambda r: r["weight"], number=True),
    Column("SESSIONS", lambda r: r["sessions"]["current"], _limit, number=True),
    Column("TOTAL", lambda r: r["sessions"]["total"], number=True),
    Column("REQ/S", lambda r: r["requests"]["rate"], number=True),
    Column("IN", lambda r: r["bytes_in"], lambda r: size(r["bytes_in"]), number=True),
    Column("OUT", lambda r: r["bytes_out"], lambda r: size(r["bytes_out"]), number=True),
    Column("ERRORS", _errors, number=True),
    Column("CHECK", lambda r: r["check"]["code"], _check),
    Column("DOWN", lambda r: r["down"]["count"], number=True),
    Column("NOTE", _wish),
)

SERVERS = (
    Column("SERVER", lambda r: r["name"]),
    Column("ADDRESS", lambda r: r["address"]),
    Column("STATE", lambda r: r["state"], state=True),
    Column("WEIGHT", lambda r: r["weight"], number=True),
    Column("SESSIONS", lambda r: r["sessions"], number=True),
    Column("BACKENDS", lambda r: r["backends"]),
    Column("NOTE", _wish),
)

GROUPS = (
    Column("TABLE", lambda r: r["name"]),
    Column("SERVICES", lambda r: r["services"]),
    Column("ENTRIES", lambda r: r["entries"], number=True),
    Column("LIMIT", lambda r: r["limit"], number=True),
    Column("HELD", lambda r: r["held"], number=True),
    Column("BY SERVER", lambda r: r["by_server"]),
)

CERTIFICATES = (
    Column("SERVICE", lambda r: r["service"]),
    Column("SUBJECT", lambda r: r["subject"]),
    Column("NAMES", lambda r: r["names"]),
    Column("ENDS", lambda r: r["not_after"]),
    Column("DAYS", lambda r: int(r["days_left"]), number=True),
    Column("KEY", lambda r: r["key"]),
    Column("FILE", lambda r: r["file"]),
)

SESSIONS = (
    Column("ID", lambda r: r["id"]),
    Column("SERVICE", lambda r: r["service"]),
    Column("CLIENT", lambda r: r["client"]),
    Column("SERVER", lambda r: r["servers"]),
    Column("STATE", lambda r: r["state"]),
    Column("AGE", lambda r: r["age"], lambda r: lasting(r["age"]), number=True),
    Column("TLS", lambda r: r["tls"]),
    Column("REQUESTS", lambda r: r["requests"], number=True),
    Column("IN", lambda r: r["bytes_in"], lambda r: size(r["bytes_in"]), number=True),
    Column("OUT", lambda r: r["bytes_out"], lambda r: size(r["bytes_out"]), number=True),
    Column("KNOWN", lambda r: r["fields"]),
)

ENTRIES = (
    Column("KEY", lambda r: r["key"]),
    Column("SERVER", lambda r: r["server"]),
    Column("HELD", lambda r: r["held"], number=True),
    Column(
        "EXPIRES", lambda r: r["expires_in"], lambda r: "held" if r["held"] else lasting(r["expires_in"]),
        number=True,
    ),
)  # fmt: skip

EVENTS = (
    Column("TIME", lambda r: r["time"]),
    Column("LEVEL", lambda r: r["level"], state=True),
    Column("TEXT", lambda r: r["text"]),
)
