"""Words for states, from the best to the worst."""

from __future__ import annotations

from collections.abc import Iterable

# Of backends; a count behind one ("UP 2/3") is on the way. What is not here is in between.
_WORDS = ("UP", "no check", "UP 1", "DRAIN", "MAINT", "no port", "no address", "DOWN 1", "DOWN")


def worst(words: Iterable[str]) -> str:
    """The worst word of several backends' states; "unused" of none."""
    return max(words, key=_badness, default="unused")


def _badness(word: str) -> int:
    name, _, count = word.partition(" ")
    known = f"{name} 1" if count[:1].isdigit() else word
    return _WORDS.index(known) if known in _WORDS else len(_WORDS) // 2
