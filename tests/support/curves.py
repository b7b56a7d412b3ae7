"""
Curves over logarithmic axes as SVG: small multiples with direct labels, readable in light and in dark mode.

Pure: the same panels are the same text. `drawing` lays panels out in rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 300, 210
#: Room of a panel around its plot: left, right, top, bottom.
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 76, 30, 36
_LINE = 12
_STYLE = """
text { font: 11px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; fill: #1f2328 }
.grid { stroke: #8b949e; stroke-opacity: .3 }
.line { fill: none; stroke-width: 2 } .dashed { stroke-dasharray: 4 3 }
.c0 { stroke: #0969da } .c1 { stroke: #1a7f37 } .c2 { stroke: #bc4c00 } .c3 { stroke: #8250df }
text.c0 { fill: #0969da; stroke: none } text.c1 { fill: #1a7f37; stroke: none }
text.c2 { fill: #bc4c00; stroke: none } text.c3 { fill: #8250df; stroke: none }
circle { fill: #fff }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .title { fill: #f0f6fc } circle { fill: #0d1117 }
.c0 { stroke: #58a6ff } .c1 { stroke: #3fb950 } .c2 { stroke: #f0883e } .c3 { stroke: #bc8cff }
text.c0 { fill: #58a6ff } text.c1 { fill: #3fb950 } text.c2 { fill: #f0883e } text.c3 { fill: #bc8cff }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points joined by a line; *label* stands at its end, nothing when empty."""

    label: str
    colour: int
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One plot: its title says the unit of the values, *ticks* are those of the horizontal axis."""

    title: str
    axis: str
    ticks: Sequence[float]
    curves: Sequence[Curve]


def drawing(rows: Sequence[Sequence[Panel]], *, title: str, description: str) -> str:
    """Return the SVG of *rows* of panels."""
    width = _WIDTH * max(map(len, rows))
    height = _HEIGHT * len(rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f"<style>{_STYLE}</style>",
    ]
    for row, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            lines.append(f'<g transform="translate({column * _WIDTH} {row * _HEIGHT})">')
            lines += _Plot(panel).lines()
            lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


class _Plot:
    """Lays one panel out."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        values = [y for curve in panel.curves for _, y in curve.points]
        self._ticks = ticks_of(min(values), max(values))
        self._low, self._high = self._ticks[0], self._ticks[-1]
        self._first, self._last = min(panel.ticks), max(panel.ticks)
        self._right = _WIDTH - _RIGHT
        self._bottom = _HEIGHT - _BOTTOM

    def lines(self) -> Iterator[str]:
        """Return the elements."""
        panel = self._panel
        yield _text(_LEFT - 40, 16, panel.title, "title")
        for value in self._ticks:
            y = self._y(value)
            yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{self._right}"/>'
            yield _text(_LEFT - 6, y + 4, short(value), anchor="end")
        for value in panel.ticks:
            x = self._x(value)
            yield f'<path class="grid" d="M{x:.1f} {_TOP}V{self._bottom}"/>'
            yield _text(x, self._bottom + 15, short(value), anchor="middle")
        yield _text((_LEFT + self._right) / 2, self._bottom + 29, panel.axis, anchor="middle")
        for curve in panel.curves:
            yield from self._curve(curve)
        labelled = [curve for curve in panel.curves if curve.label]
        for curve, y in self._apart([curve for curve in labelled if curve.points[-1][0] == self._last]):
            yield _text(self._right + 7, y + 4, curve.label, f"c{curve.colour}")
        for curve in (curve for curve in labelled if curve.points[-1][0] < self._last):
            x, y = curve.points[-1]
            yield _text(self._x(x) - 7, self._y(y) + 2, curve.label, f"c{curve.colour}", anchor="end")

    def _curve(self, curve: Curve) -> Iterator[str]:
        places = [(self._x(x), self._y(y)) for x, y in curve.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dashed = " dashed" if curve.dashed else ""
        yield f'<path class="line c{curve.colour}{dashed}" d="M{path}"/>'
        for x, y in places:
            yield f'<circle class="c{curve.colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'

    def _apart(self, curves: Sequence[Curve]) -> Iterator[tuple[Curve, float]]:
        """Return the heights of the labels at the right edge, pushed apart where curves end close together."""
        ends = sorted(((self._y(curve.points[-1][1]), curve) for curve in curves), key=lambda end: end[0])
        heights: list[float] = []
        for y, _ in ends:
            heights.append(max(y, heights[-1] + _LINE) if heights else y)
        surplus = max(0.0, heights[-1] - self._bottom) if heights else 0.0
        for (_, curve), y in zip(ends, heights, strict=True):
            yield curve, y - surplus

    def _x(self, value: float) -> float:
        part = math.log(value / self._first) / math.log(self._last / self._first)
        return _LEFT + part * (self._right - _LEFT)

    def _y(self, value: float) -> float:
        part = math.log(value / self._low) / math.log(self._high / self._low)
        return self._bottom - part * (self._bottom - _TOP)


def _text(x: float, y: float, words: str, name: str = "", *, anchor: str = "start") -> str:
    kind = f' class="{name}"' if name else ""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}"{where}>{escape(words)}</text>'


def ticks_of(low: float, high: float) -> list[float]:
    """Return round numbers that enclose the values, a decade at least: powers of ten, or 1-2-5 where those are few."""
    steps = (1, 2, 5) if high / low < 50 else (1,)
    candidates = [step * 10.0**power for power in range(-6, 13) for step in steps]
    first = max(index for index, value in enumerate(candidates) if value <= low)
    last = max(first + 1, min(index for index, value in enumerate(candidates) if value >= high))
    while candidates[last] / candidates[first] < 9.99:
        first -= 1
    return candidates[first : last + 1]


def short(value: float) -> str:
    """Return a number as axes show it."""
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 1 else f"{value:.6f}".rstrip("0")
