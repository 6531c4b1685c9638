"""What epoll reports: Linux's numbers, since other systems' ``select`` has no such names."""

from __future__ import annotations

IN, PRI, OUT, ERR, HUP, RDHUP, ET = 0x1, 0x2, 0x4, 0x8, 0x10, 0x2000, 1 << 31
# Each socket is registered once, for everything, edge-triggered.
ALL = IN | PRI | OUT | RDHUP | ET
# A read that brings less than was asked for leaves nothing behind, but for an end, an error, and urgent
# data, at whose mark reads stop.
REST = ERR | HUP | RDHUP | PRI
BROKEN = ERR | HUP
