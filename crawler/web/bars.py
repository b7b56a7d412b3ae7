"""
Bars of time as SVG, made here and not in the browser: who was there when, and when nobody knew. Pure.

Every place and length is a part of the width, so that a bar fits any screen and its hatching is never stretched. No
element has a style of its own: the colours are the page's (`page.css`), or those of `FILE_STYLE` in a file that stands
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from markupsafe import Markup, escape

from crawler.domain.text import plain, width

HEIGHT = 18
_DAY = timedelta(days=1)
#: Narrower ones would not be seen.
_NARROWEST = 0.25


class Axis(NamedTuple):
    """The time that a bar shows."""

    begin: datetime
    end: datetime

    def part(self, moment: datetime) -> float:
        """Return where *moment* lies, in percent of the width."""
        whole = (self.end - self.begin).total_seconds()
        return min(100.0, max(0.0, 100 * (moment - self.begin).total_seconds() / whole))


class Segment(NamedTuple):
    """A part of a bar."""

    #: What it is: `a` and `b` are images by turns, `u` a time in which nobody knew, `d` a day not known as a whole.
    kind: str
    begin: datetime
    end: datetime
    #: Said when one points at it.
    title: str = ""
    #: How much of the height it takes, from below.
    share: float = 1.0


class Tick(NamedTuple):
    """A mark below a bar."""

    at: float
    label: str


def rectangles(axis: Axis, segments: Iterable[Segment]) -> Markup:
    """Return *segments* as elements of a picture that is `HEIGHT` high."""
    return Markup("".join(_rectangle(axis, segment) for segment in segments))  # noqa: S704 - of escaped parts


def _rectangle(axis: Axis, segment: Segment) -> str:
    # not by `Markup.format`, which takes ten times as long: pages have thousands of these
    left, right = axis.part(segment.begin), axis.part(segment.end)
    if right <= left and not axis.begin <= segment.begin <= axis.end:
        return ""
    wide = max(right - left, _NARROWEST)
    left = min(left, 100 - wide)
    high = max(2.0, HEIGHT * segment.share) if segment.share else 0.0
    top = f' y="{_number(HEIGHT - high)}"' if high < HEIGHT else ""
    place = f'x="{_number(left)}%"{top} width="{_number(wide)}%" height="{_number(high)}"'
    start = f'<rect class="{escape(segment.kind)}" {place}'
    return f"{start}><title>{escape(segment.title)}</title></rect>" if segment.title else f"{start}/>"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def ticks(axis: Axis, zone: tzinfo, *, most: int = 7) -> list[Tick]:
    """Return a few midnights of *zone*, evenly apart, as month and day, or times of one day; years where it is long."""
    if axis.end - axis.begin <= 2 * _DAY:
        return _hours(axis, zone, most)
    days = max(1, (axis.end - axis.begin).days)
    step = next((step for step in (1, 2, 7, 14, 30, 91, 182, 365, 730) if days / step <= most), 1825)
    first = axis.begin.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    marks = []
    for number in range(days // step + 1):
        moment = first + timedelta(days=number * step)
        if moment > axis.end:
            break
        at = axis.part(moment)
        if 2 <= at <= 98:
            marks.append(Tick(round(at, 2), f"{moment:%Y-%m}" if days > 400 else f"{moment:%m-%d}"))
    return marks


def _hours(axis: Axis, zone: tzinfo, most: int) -> list[Tick]:
    length = axis.end - axis.begin
    step = next(step for step in (1, 2, 3, 6, 12) if length / timedelta(hours=step) <= most)
    midnight = axis.begin.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    marks = []
    for number in range(72 // step):
        moment = midnight + timedelta(hours=number * step)
        at = axis.part(moment)
        if axis.begin <= moment <= axis.end and 2 <= at <= 98:
            marks.append(Tick(round(at, 2), f"{moment:%m-%d}" if moment.hour == 0 else f"{moment:%H:%M}"))
    return marks


# --- a file that stands alone ----------------------------------------------------------------------------------------

#: The page's colours; a program that shows the file need not know any style sheet.
FILE_STYLE = Markup("""\
svg{font:13px system-ui,sans-serif;background:#fff;color:#1b222b}text{fill:#1b222b}
.a{fill:#17785f}.b{fill:#5fb39b}.u{fill:url(#hatch)}.d{fill:url(#hatch)}.t{fill:#e9edf2}.line{stroke:#6b7683}
.m{fill:#57626e;font-size:11px}.mono{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px}
@media(prefers-color-scheme:dark){svg{background:#12161b;color:#e6eaef}text{fill:#e6eaef}.a{fill:#4fb797}
.b{fill:#2f7f68}.t{fill:#222932}.m{fill:#9aa6b2}}
""")
HATCH = Markup(
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="hatch-ground" width="6" height="6" fill="#eceff3"/>'
    '<rect class="hatch-line" width="2.4" height="6" fill="#6b7683"/></pattern></defs>'
)


class PictureRow(NamedTuple):
    """One bar of a picture, with the words at its ends."""

    label: str
    segments: Sequence[Segment]
    note: str


def picture(title: str, axis: Axis, rows: Sequence[PictureRow], legend: Sequence[tuple[str, str]], zone: tzinfo) -> str:
    """Return a whole SVG file: a bar for each of *rows* over *axis*, and what its colours mean."""
    left = 24 + round(7.2 * max((width(plain(row.label)) for row in rows), default=0))
    right = 24 + round(7.6 * max((width(plain(row.note)) for row in rows), default=0))
    wide = 640
    total, high = left + wide + right, 64 + 26 * len(rows) + 46
    body = Markup("").join(_picture(axis, rows, legend, left, wide, zone))
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">'
            "<title>{title}</title><style>{style}</style>{hatch}"
            '<text x="16" y="28" font-size="16" font-weight="600">{title}</text>{body}</svg>\n'
        ).format(w=total, h=high, title=plain(title, 120), style=FILE_STYLE, hatch=HATCH, body=body)
    )


def _picture(
    axis: Axis, rows: Sequence[PictureRow], legend: Sequence[tuple[str, str]], left: int, wide: int, zone: tzinfo
) -> Iterator[Markup]:
    for number, row in enumerate(rows):
        y = 46 + 26 * number
        yield Markup('<text x="16" y="{}">{}</text>').format(y + 13, plain(row.label))
        yield Markup('<svg x="{}" y="{}" width="{}" height="{}"><rect class="t" width="100%" height="{}"/>').format(
            left, y, wide, HEIGHT, HEIGHT
        )
        yield rectangles(axis, row.segments) + Markup("</svg>")
        yield Markup('<text class="mono" x="{}" y="{}">{}</text>').format(left + wide + 10, y + 13, plain(row.note))
    below = 46 + 26 * len(rows)
    for tick in ticks(axis, zone):
        x = left + wide * tick.at / 100
        yield Markup('<text class="m" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            _number(x), below + 10, tick.label
        )
    x = left
    for kind, words in legend:
        yield Markup(
            '<rect class="{}" x="{}" y="{}" width="14" height="14"/><text class="m" x="{}" y="{}">{}</text>'
        ).format(kind, x, below + 26, x + 20, below + 37, words)
        x += 40 + round(6.5 * width(str(escape(words))))
