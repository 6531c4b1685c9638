"""Several processes: one supervises and decides, the others carry traffic. See docs/workers.md.

``messages``, ``codec``, ``owner``, ``replica``, ``lending``, ``places``, ``standing``, ``shares`` and
``reports`` are pure; ``channel`` and ``process`` meet the system; ``supervisor`` and ``worker`` are the two ends.
"""
