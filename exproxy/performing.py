"""What each action does to a session: the one table from :mod:`exproxy.actions` to deeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from exproxy import actions, events
from exproxy.end import End
from exproxy.model import CLIENT, Side, TLSOptions
from exproxy.relay import join, lend

if TYPE_CHECKING:
    from exproxy.session import Session


def pick(session: Session, action: actions.Pick) -> None:
    """Choose and connect, unless the session is at its end."""
    if not session.closing:
        session.links.pick(action)


def retry(session: Session, action: actions.Retry) -> None:
    """Choose again."""
    if not session.closing:
        session.links.retry(action)


def to_client(session: Session, action: actions.ToClient) -> None:
    """Send to the client."""
    session.client.sent += len(action.data)
    session.client.wire.write(action.data)


def to_backend(session: Session, action: actions.ToBackend) -> None:
    """Send over a link; what is for a link that is gone is dropped, Lost has been told or is queued."""
    end = session.links.find(action.link)
    if end is not None:
        if not end.occupied:
            end.busy()
        end.sent += len(action.data)
        end.wire.write(action.data)


def handshake_of(side: Side) -> str:
    """The name of the deadline of a handshake with that side."""
    return "tls-handshake" if side is CLIENT else "backend-tls-handshake"


def start_tls(session: Session, action: actions.StartTLS) -> None:
    """Begin TLS; plain text that came before it is dropped, counted and logged."""
    end = session.client if action.side is CLIENT else session.links.current
    if end is None or session.closing:
        return
    service = session.service
    context: Any
    if action.side is CLIENT:
        context = service.server_tls
    else:
        server = end.link.server if end.link is not None else ""
        context = service.client_tls(action.options or service.backend_tls or TLSOptions("none"), server)
    end.holds.add("tls")
    session.deadlines.set(handshake_of(action.side), service.timeouts.tls_handshake)
    # It reads on, whatever stopped the wire: the handshake must come in.
    end.stops.discard("held")
    dropped = end.wire.start_tls(context) + len(end.hand_over())
    if dropped:
        session.record.merge({"plaintext_dropped": dropped})
        service.log.warn(
            "{service}: {side} {peer} sent {count} bytes of plain text before its TLS handshake; dropped",
            service=service.name,
            side=end.side.value,
            peer=end.wire.peer.host,
            count=dropped,
        )


def relay(session: Session, action: actions.Relay) -> None:
    """Join the wires, or lend one of them out for so many bytes."""
    end = session.links.current
    if session.closing:
        return
    if end is None:
        session.close("server closed")
    elif action.limit is not None:
        _lend(session, action.sides[0], end, action.limit)
    else:
        _join(session, end, action.idle or session.service.timeouts.idle)


def _join(session: Session, end: End, idle: float) -> None:
    client = session.client
    for other in session.links:
        if other is not end:
            session.links.close(other)
    session.deadlines.clear()
    for here, there in ((client, end), (end, client)):
        if here.held:
            data = here.hand_over()
            there.sent += len(data)
            there.wire.write(data)
        here.stops.clear()
    session.relay = join(
        client.wire,
        end.wire,
        session,
        session.service.sweep,
        idle=idle,
        ended=[each.side for each in (client, end) if each.unheard_end and not each.gone],
        poller=session.service.poller,
    )


def _lend(session: Session, side: Side, end: End, limit: int) -> None:
    here, there = (session.client, end) if side is CLIENT else (end, session.client)
    held = here.hand_over()
    moved = held[:limit]
    here.held += held[limit:]
    if moved:
        there.sent += len(moved)
        there.wire.write(moved)

    def done(count: int) -> None:
        session.bounded.pop(side, None)
        here.received += count
        there.sent += count
        session.tell(events.Relayed(side, count + len(moved)))

    if limit == len(moved):
        session.tell(events.Relayed(side, limit))
        session.unhold(here)
    else:
        session.bounded[side] = lend(here.wire, there.wire, limit - len(moved), session, done)
    if not here.held:
        here.go("held")


def stop_relay(session: Session, action: actions.StopRelay) -> None:
    """Take a lent wire back."""
    bounded = session.bounded.get(action.side)
    if bounded is not None:
        bounded.stop()


def hold(session: Session, action: actions.Hold) -> None:
    """Keep a side's bytes."""
    for end in _of(session, action.side):
        end.holds.add("hold")


def release(session: Session, action: actions.Release) -> None:
    """Tell what was kept."""
    for end in _of(session, action.side):
        end.holds.discard("hold")
        session.unhold(end)


def idle(session: Session, action: actions.Idle) -> None:
    """The link carries no request now."""
    end = session.links.find(action.link)
    if end is not None:
        end.idle()


def pin(session: Session, action: actions.Pin) -> None:
    """This link or none."""
    session.links.pinned = action.link


def learn(session: Session, action: actions.Learn) -> None:
    """Bind keys to the present server."""
    session.links.learn(action.observation)


def set_deadline(session: Session, action: actions.SetDeadline) -> None:
    """A named deadline."""
    if not session.closing:
        session.deadlines.set(action.name, action.seconds)


def record(session: Session, action: actions.Record) -> None:
    """Fields for the access log, and the line itself where the record closes."""
    session.record.merge(action.fields)
    if action.close:
        session.record.write(session.client.received, session.client.sent)


def count(session: Session, action: actions.Count) -> None:
    """So many more of that name."""
    session.service.counts[action.name] += action.times


def close(session: Session, action: actions.Close) -> None:
    """Close one side, or one direction of it."""
    end = session.client if action.side is CLIENT else session.links.find(action.link)
    if end is None:
        return
    if action.half:
        end.wire.close(half=True)
    elif end is session.client:
        session.close("done")
    else:
        session.links.close(end)


def hangup(session: Session, action: actions.Hangup) -> None:
    """Close everything."""
    if action.abort:
        session.cut(action.reason)
    else:
        session.close(action.reason or "refused")


def _of(session: Session, side: Side) -> list[End]:
    return [session.client] if side is CLIENT else list(session.links)


PERFORM: dict[type, Callable[[Session, Any], None]] = {
    actions.Pick: pick,
    actions.Retry: retry,
    actions.ToClient: to_client,
    actions.ToBackend: to_backend,
    actions.StartTLS: start_tls,
    actions.Relay: relay,
    actions.StopRelay: stop_relay,
    actions.Hold: hold,
    actions.Release: release,
    actions.Idle: idle,
    actions.Pin: pin,
    actions.Learn: learn,
    actions.SetDeadline: set_deadline,
    actions.Record: record,
    actions.Count: count,
    actions.Close: close,
    actions.Hangup: hangup,
}
