"""Several processes: one supervises and decides, the others carry traffic. See docs/workers.md.

Pure: ``messages``, ``codec``, ``owner``, ``replica``, ``lending``, ``places``, ``standing``, ``shares``,
``reports``, ``hearing``, ``respawning``. ``channel`` and ``process`` meet the system; ``supervisor`` and
``worker`` are the two ends.
"""
