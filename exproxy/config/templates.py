"""Templates: configurations in the package that a file begins with and overrides key by key.

What the file does not say stands, for all errors, in the line of its ``template:``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from exproxy.config.document import Document, Spot
from exproxy.config.errors import Invalid, Where
from exproxy.config.models import TemplateName
from exproxy.config.nodes import read
from exproxy.config.validation import hint

KEY = ("template",)
NAMES: tuple[str, ...] = get_args(TemplateName)

_FOLDER = Path(__file__).resolve().parent.parent / "templates"
# Values that name a plugin: another name in the file brings none of the template's options.
_PLUGINS = ("protocol", "persistence", "fallback", "scheduling", "check")
# Sections that may stand without a value, which overrides nothing.
_SECTIONS = ("servers", "groups", "defaults", "services", "lab")
# Written out; a key whose lines were all commented out takes nothing away.
_NOTHING = ("~", "null", "Null", "NULL")
# A route that answers itself has no pool; of the template's route it keeps what it matches.
_ANSWERS = frozenset(("redirect", "status"))
_MATCHING = ("path", "exact", "host", "allow", "deny")


def path_of(name: str) -> Path:
    """The file of that template."""
    return _FOLDER / f"{name}.yaml"


def apply(document: Document) -> None:
    """Put the template that the document names under it; raises Invalid where there is none of that
    name, since all else would be missing."""
    if "template" not in document.data:
        return
    name = document.data["template"]
    if not isinstance(name, str) or name not in NAMES:
        word = name if isinstance(name, str) else ""
        document.error(KEY, f"must be the name of a template; {hint(word, NAMES)}")
        raise Invalid(document.shown, document.lines, document.problems)
    template = read(path_of(name))
    document.data = _Graft(document).merged(document.data, template.data, ())


class _Graft:
    """One merge. Mappings are merged, everything else is replaced; ``~`` takes out."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._spot = document.values[KEY]

    def merged(self, mine: Any, theirs: Any, where: Where) -> Any:
        """``mine``, what the file says there, over ``theirs``, what the template says.

        Keys that only the file has come first: of routes the first match wins.
        """
        if (
            not isinstance(mine, dict)
            or not isinstance(theirs, dict)
            or self._other_plugin(mine, theirs, where)
        ):
            return mine
        if where[2:3] == ("routes",) and len(where) == 4 and _ANSWERS & mine.keys():
            theirs = {key: value for key, value in theirs.items() if key in (*_MATCHING, *_ANSWERS)}
        kept = {key: value for key, value in mine.items() if key not in theirs}
        for key, value in theirs.items():
            below = (*where, key)
            if key not in mine or (mine[key] is None and self._left_empty(below)):
                self._place(value, below, self._spot)
                kept[key] = value
            elif mine[key] is None and self._says_nothing(below):
                self._document.values.pop(below)
            else:
                kept[key] = self.merged(mine[key], value, below)
        return kept

    def _other_plugin(self, mine: dict[str, Any], theirs: dict[str, Any], where: Where) -> bool:
        return bool(where) and where[-1] in _PLUGINS and mine.keys() != theirs.keys()

    def _left_empty(self, where: Where) -> bool:
        """A section, or a group, that has a key and nothing else."""
        may = (len(where) == 1 and where[0] in _SECTIONS) or (len(where) == 2 and where[0] == "groups")
        return may and not self._says_nothing(where)

    def _says_nothing(self, where: Where) -> bool:
        """``~`` or ``null`` stands there."""
        spot = self._document.values[where]
        return self._document.lines[spot.line - 1][spot.column - 1 :].startswith(_NOTHING)

    def _place(self, value: Any, where: Where, spot: Spot) -> None:
        self._document.values[where] = self._document.keys[where] = spot
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, each in inner:
            self._place(each, (*where, key), spot)
