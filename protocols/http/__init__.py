"""HTTP/1.0 and HTTP/1.1 between clients and Exchange: heads, bodies, what is changed on the way, refusals.

Everything here is sans-I/O. A message is its bytes: a head stays one block that is validated as a
whole (``head``), passed on with small cuts (``edits``), and its body is measured while it goes
through (``framing``), never collected.
"""
