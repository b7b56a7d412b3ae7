"""The intervals of images as one SVG file: a bar for each zone, as on the page, for a wiki or a mail. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from crawler.domain.models import ImageKey, Target
from crawler.domain.rows import Gap
from crawler.domain.subscriptions import Language
from crawler.domain.text import plain
from crawler.queries.history import HistoryRow, overlay
from crawler.queries.overview import ListedSpan, place_of
from crawler.queries.publish import RegionZone
from crawler.web.bars import Axis, PictureRow, Segment, picture
from crawler.web.name_page import segments_of
from crawler.web.wording import Wording, wording


def history_picture(
    rows: Sequence[HistoryRow],
    title: str,
    *,
    now: datetime,
    zone: ZoneInfo,
    language: Language,
    longest: timedelta | None = None,
    kept_from: datetime | None = None,
) -> str:
    """
    Return a picture of *rows* (at least one) up to *now*, of the *longest* time before it at most.

    Of the time before *kept_from* nobody can tell any more when it was not known.
    """
    first = min(row.valid_from for row in rows)
    begin = max(first, now - longest) if longest else first
    begin = max(begin, kept_from or begin)
    axis = Axis(min(begin, now - timedelta(hours=6)), now)
    words = wording(language, zone, now)
    legend = (("a", words("bar_ids")), ("u", words("bar_gaps")))
    return picture(title, axis, list(_bars(rows, axis, words)), legend, zone)


def _bars(rows: Sequence[HistoryRow], axis: Axis, words: Wording) -> Iterable[PictureRow]:
    by_target: dict[Target, list[HistoryRow]] = {}
    for row in rows:
        by_target.setdefault(row.target, []).append(row)
    by_zone: dict[str, dict[Target, tuple[list[Segment], str]]] = {}
    for target, own in sorted(by_target.items(), key=lambda item: (place_of(item[0]), item[0])):
        by_zone.setdefault(target.zone, {})[target] = _bar(own, axis, words)
    for zone, bars in by_zone.items():
        first = next(iter(bars.values()))
        if all(bar == first for bar in bars.values()):
            yield PictureRow(zone, *first)
            continue
        for target, bar in bars.items():
            yield PictureRow(f"{zone} {target.project}", *bar)


def _bar(rows: Sequence[HistoryRow], axis: Axis, words: Wording) -> tuple[list[Segment], str]:
    """Return the bar of one target, and the id that is there at its end, or why there is none."""
    stays: dict[tuple[datetime, str], ListedSpan] = {}
    gaps: list[Sequence[Gap]] = []
    held: dict[tuple[RegionZone, ImageKey], list[Gap]] = {}
    rows = [replace(row, valid_to=None) if row.valid_to and row.valid_to > axis.end else row for row in rows]
    for row in sorted(rows, key=lambda row: (row.valid_from, row.image_id)):
        begins = (row.present_since, row.image_id)
        stays[begins] = ListedSpan(
            place_of(row.target), row.image_set, row.image_name, row.image_id, row.present_since, row.valid_to,
            row.baseline,
        )  # fmt: skip
        # beside an image on hold another of the name may be there for sure
        gaps += [row.gaps_before, [gap for gap in row.gaps if gap.reason != "held"]]
        own = held.setdefault((place_of(row.target), ImageKey(row.image_set, row.image_id)), [])
        own += [gap for gap in row.gaps if gap.reason == "held"]
    last = max(rows, key=lambda row: (row.valid_to is None, row.valid_to or row.valid_from, row.valid_from))
    note = plain(last.image_id) if last.valid_to is None else words("withdrawn")
    if last.state == "unknown":
        note = f"{note} {words('unknown')}"
    return segments_of(list(stays.values()), overlay(*gaps), axis, words, held), note
