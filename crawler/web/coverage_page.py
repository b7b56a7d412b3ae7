"""How well each zone was observed on each of the last finished days. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crawler.domain.models import END_OF_TIME
from crawler.domain.rows import Gap, Reason
from crawler.queries.overview import ZoneState
from crawler.queries.publish import RegionZone
from crawler.web.bars import Axis, Segment
from crawler.web.wording import Wording

DAYS = 90
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRow:
    """One zone."""

    place: RegionZone
    is_first: bool
    segments: Sequence[Segment]
    #: Before it was first observed.
    blank: Sequence[Segment]
    #: How much of the time since it was first observed it was known, in percent.
    share: float
    state: ZoneState | None


def finished_days(now: datetime, days: int = DAYS) -> Axis:
    """Return the last *days* finished days, in UTC."""
    end = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Axis(end - days * _DAY, end)


def no_days(
    zones: Sequence[ZoneState],
    first: datetime | None,
    kept_from: datetime | None,
    axis: Axis,
    words: Wording,
    *,
    is_begun: bool,
) -> str:
    """
    Return why there are no rows of *zones*.

    *first* is the end of the first run that observed anything; *is_begun*: one has ended. What came before *kept_from*
    was pruned.
    """
    if first is not None and not zones:
        return words("nothing_asked")
    if kept_from is not None and kept_from >= axis.end:
        return words("pruned", at=words.at(kept_from))
    is_new = not is_begun or (first is not None and first >= axis.end)
    return words("no_days" if is_new else "no_days_known")


def coverage_rows(
    axis: Axis, gaps: Mapping[RegionZone, Sequence[Gap]], zones: Sequence[ZoneState], words: Wording
) -> list[CoverageRow]:
    """Return a row for each zone of *gaps*, which lie within *axis*; *zones* are as they are known now."""
    states = {zone.place: zone for zone in zones}
    rows = []
    region = ""
    for place, own in gaps.items():
        later = [gap for gap in own if gap.reason != "never_observed"]
        before = [gap for gap in own if gap.reason == "never_observed"]
        asked = axis.end - axis.begin - _length(before)
        if not asked:
            continue
        rows.append(
            CoverageRow(
                place=place,
                is_first=place.region != region,
                segments=_segments(axis, later, words),
                blank=[Segment("t", gap.unknown_from, gap.unknown_to or axis.end) for gap in before],
                share=100 * (1 - _length(later) / asked),
                state=states.get(place),
            )
        )
        region = place.region
    return rows


def _length(gaps: Sequence[Gap]) -> timedelta:
    return sum(((gap.unknown_to or END_OF_TIME) - gap.unknown_from for gap in gaps), timedelta())


def _segments(axis: Axis, gaps: Sequence[Gap], words: Wording) -> list[Segment]:
    """Return the days on which not all was known, as columns; whole days that follow each other are one."""
    lengths: dict[datetime, timedelta] = {}
    reasons: dict[datetime, Reason] = {}
    for gap in gaps:
        begin, end = gap.unknown_from, gap.unknown_to or axis.end
        day = axis.begin + ((begin - axis.begin) // _DAY) * _DAY
        while day < end:
            lengths[day] = lengths.get(day, timedelta()) + min(end, day + _DAY) - max(begin, day)
            reasons.setdefault(day, gap.reason)
            day += _DAY
    segments: list[Segment] = []
    for day, length in sorted(lengths.items()):
        found = _segment(day, length, reasons[day], words)
        last = segments[-1] if segments else None
        if last and last.share == found.share == 1 and last.end == day and reasons[last.begin] == reasons[day]:
            title = words(
                "days_whole", day=f"{last.begin:%m-%d}", last=f"{day:%m-%d}", reason=words.reason(reasons[day])
            )
            segments[-1] = last._replace(end=found.end, title=title)
        else:
            segments.append(found)
    return segments


def _segment(day: datetime, length: timedelta, reason: Reason, words: Wording) -> Segment:
    told = {"day": f"{day:%m-%d}", "reason": words.reason(reason)}
    if length >= _DAY:
        return Segment("d", day, day + _DAY, words("day_whole", **told))
    hours = f"{length / timedelta(hours=1):.1f}".removesuffix(".0")
    share = max(0.15, length / _DAY)
    return Segment("d", day, day + _DAY, words("day_gap", hours=hours, **told), share)
