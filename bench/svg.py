"""Bar charts as SVG, without any library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

COLOURS = {
    "exproxy": "#1b6ca8",
    "haproxy": "#d1495b",
    "haproxy 256k": "#e58a96",
    "haproxy splice": "#f3c1c8",
    "nginx": "#66a182",
}
_OTHER = "#888888"
_WIDTH, _LABELS, _VALUES = 900, 300, 90
_BAR, _GAP, _TOP, _LEGEND = 14, 14, 46, 26


@dataclass(frozen=True, slots=True)
class Group:
    """Bars that belong together: (name, length, text), and marks across them: (length, text)."""

    label: str
    bars: Sequence[tuple[str, float, str]]
    marks: Sequence[tuple[float, str]] = ()


def chart(title: str, groups: Sequence[Group]) -> str:
    """Groups of horizontal bars, one below the other; all lengths to one scale that begins at 0."""
    longest = max((length for group in groups for _, length, _ in group.bars), default=0.0)
    longest = max([longest, *(mark for group in groups for mark, _ in group.marks)]) or 1.0
    scale = (_WIDTH - _LABELS - _VALUES) / longest
    body: list[str] = []
    y = _TOP
    for group in groups:
        body += _group(group, y, scale)
        y += len(group.bars) * _BAR + _GAP
    names = list(dict.fromkeys(name for group in groups for name, _, _ in group.bars))
    body += _legend(names, y)
    height = y + _LEGEND
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
            f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label={quoteattr(title)} '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            _text(12, 24, title, size=15),
            *body,
            "</svg>\n",
        ]
    )


def _group(group: Group, y: float, scale: float) -> list[str]:
    height = len(group.bars) * _BAR
    drawn = [_text(_LABELS - 10, y + height / 2 + 4, group.label, anchor="end")]
    for at, (name, length, text) in enumerate(group.bars):
        top = y + at * _BAR
        width = max(1.0, length * scale)
        drawn.append(
            f'<rect x="{_LABELS}" y="{top}" width="{width:.1f}" height="{_BAR - 2}" fill="{_colour(name)}"/>'
        )
        drawn.append(_text(_LABELS + width + 5, top + _BAR - 4, text, size=11))
    for mark, text in group.marks:
        x = _LABELS + mark * scale
        drawn.append(
            f'<line x1="{x:.1f}" y1="{y - 4}" x2="{x:.1f}" y2="{y + height + 2}" '
            f'stroke="#222222" stroke-width="1.5"><title>{escape(text)}</title></line>'
        )
    return drawn


def _legend(names: Sequence[str], y: float) -> list[str]:
    drawn, x = [], float(_LABELS)
    for name in names:
        drawn.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{_colour(name)}"/>')
        drawn.append(_text(x + 15, y + 9, name, size=11))
        x += 35 + 7 * len(name)
    return drawn


def _colour(name: str) -> str:
    return COLOURS.get(name, _OTHER)


def _text(x: float, y: float, text: str, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="#222222">'
        f"{escape(text)}</text>"
    )
