"""Put before everything else of a process of exproxy (PYTHONPATH): tells a unix socket what is alive in it.

Python imports this by itself, so the process is started by its own command and is what it always is; so are
those that it starts. The word ``sizes`` to ``$EXPROXY_SOAK_INSIDE/PID`` is answered with what is allocated;
``all`` with ``objects`` (instances by class), ``timers`` (the reactor's, by what they call), ``sessions`` by
service, ``links`` and ``load`` by backend as well, counted in the reactor's thread after the collector ran.
Answers are JSON.
"""

import ctypes
import gc
import json
import os
import socket
import sys
import threading
from collections import Counter
from contextlib import suppress

_PACKAGES = ("exproxy.", "protocols.", "twisted.internet.", "twisted.protocols.", "OpenSSL.")
# Seconds for the reactor to come to it.
_PATIENCE = 20.0


def _name(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def _called(call):
    function = getattr(call.func, "func", call.func)
    return getattr(function, "__qualname__", _name(type(function)))


class _Mallinfo2(ctypes.Structure):
    # Of the C structure.
    _arena = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")
    _used = ("uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in (*_arena, *_used)]


def _sizes():
    """Blocks (up to 512 bytes) that Python has, and bytes that malloc has given out; not what is free."""
    sizes = {"blocks of Python": sys.getallocatedblocks()}
    with suppress(AttributeError):
        # Of glibc alone.
        mallinfo2 = ctypes.CDLL(None).mallinfo2
        mallinfo2.restype = _Mallinfo2
        now = mallinfo2()
        sizes["bytes of malloc"] = now.uordblks + now.hblkhd
    return sizes


def _look():
    gc.collect()
    gc.collect()
    sizes = _sizes()
    every = [each for each in gc.get_objects() if _name_of(each).startswith(_PACKAGES)]
    services = [each for each in every if type(each).__name__ == "VirtualService"]
    backends = [each for each in every if type(each).__name__ == "Backend"]
    reactor = sys.modules.get("twisted.internet.reactor")
    timers = reactor.getDelayedCalls() if reactor is not None else []
    return {
        "objects": Counter(_name(type(each)) for each in every),
        "timers": Counter(map(_called, timers)),
        "sessions": {each.name: len(each.sessions) for each in services},
        "links": {each.name: each.links for each in backends},
        "load": {each.name: each.load for each in backends},
        "sizes": sizes,
        "collected": sum(each["collected"] for each in gc.get_stats()),
    }


def _name_of(each):
    kind = type(each)
    module = kind.__module__
    # A class may have made a property of that name.
    return _name(kind) if isinstance(module, str) else ""


def _asked():
    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is None or not reactor.running:
        # A process that is prepared and does nothing yet.
        return _look()
    found, done = {}, threading.Event()

    def look():
        try:
            found.update(_look())
        except Exception as error:
            found["error"] = repr(error)
        done.set()

    reactor.callFromThread(look)
    return found if done.wait(_PATIENCE) else {"error": f"the reactor has not come to it in {_PATIENCE:g} s"}


def _answer(door):
    while True:
        with suppress(OSError):
            line = door.accept()[0]
            with line:
                word = line.recv(16)
                line.sendall(json.dumps({"sizes": _sizes()} if word == b"sizes" else _asked()).encode())


def _open(folder):
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(OSError):
        door.bind(os.path.join(folder, str(os.getpid())))
        door.listen()
        threading.Thread(target=_answer, args=(door,), daemon=True).start()


if "EXPROXY_SOAK_INSIDE" in os.environ:
    _open(os.environ["EXPROXY_SOAK_INSIDE"])
