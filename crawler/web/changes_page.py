"""What changed, by day, folded as in the mail: the same lines in the same words. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import chain, repeat
from typing import Literal, NamedTuple

from crawler.domain.models import EVENT_WORDS, SCHEMA, TARGET_EVENTS, EventWord, Outcome, Target
from crawler.domain.rows import ChangeRow, StatusRow
from crawler.domain.subscriptions import Watch
from crawler.notifications.grouping import Successors, fold
from crawler.notifications.i18n import WORDS
from crawler.notifications.models import DigestFacts, Topic, WatchedZones
from crawler.notifications.rendering.lines import LineLimits, LineRow, Writer
from crawler.queries.overview import ZoneState
from crawler.queries.publish import RegionZone
from crawler.web.wording import Wording

#: Days in the strip: thirteen weeks.
STRIP_DAYS = 91
#: Lines of one page.
MOST_LINES = 80
#: Days of one page.
MOST_DAYS = 31
#: Changes that are folded, the newest: what is beyond is a flood, told by the commands.
MOST_CHANGES = 5_000
_DAY = timedelta(days=1)
#: How far back more changes are looked for at once.
_FURTHEST = timedelta(days=64)
_LIMITS = LineLimits(rows=MOST_LINES, details=8, items=20)

LineTone = Literal["bad", "warn", "good", "plain"]
TONES: Mapping[Topic, LineTone] = {
    "withdrawn": "bad", "reissued": "warn", "gpu_lost": "bad", "closed": "warn", "ended": "warn",
    "appeared": "good", "returned": "good", "modified": "plain", "opened": "good", "offered": "good",
    "flapped": "plain",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine:
    """One thing that happened."""

    #: The number of its first change: its place in the page, and its evidence.
    number: int
    topic: Topic
    tone: LineTone
    title: str
    #: The image's name where it is one.
    name: str
    row: LineRow
    #: It was withdrawn while another of its name is there.
    is_replaced: bool


class FoundChanges(NamedTuple):
    """Changes of a span of time, by their cursors."""

    rows: Sequence[ChangeRow] = ()
    #: They were a flood: older ones are left out.
    is_cut: bool = False


class ChangeDay(NamedTuple):
    """The changes of one day."""

    day: str
    lines: Sequence[ChangeLine]
    #: There are more lines.
    is_cut: bool
    #: They tell of its newest changes alone.
    is_flood: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StripDay:
    """One day of the strip."""

    day: str
    count: int
    #: From 0 (none) to 4.
    level: int
    #: From 0 to 6, Monday first.
    weekday: int
    week: int


def told_events(*, is_private: bool) -> list[EventWord]:
    """Return what may be asked for: `schema` is told by no line, and what happens to targets is private."""
    hidden = (SCHEMA,) if is_private else (SCHEMA, *TARGET_EVENTS)
    return [word for word in EVENT_WORDS if word not in hidden]


def strip_days(counts: Mapping[str, int], last: date, days: int = STRIP_DAYS) -> list[StripDay]:
    """Return the *days* up to *last*, each with how much changed."""
    first = last - timedelta(days=days - 1)
    most = max(counts.values(), default=0)
    strip = []
    for number in range(days):
        day = first + timedelta(days=number)
        count = counts.get(day.isoformat(), 0)
        level = (
            0 if not count else 1 if count * 8 <= most else 2 if count * 4 <= most else 3 if count * 2 <= most else 4
        )
        week = (number + first.weekday()) // 7
        strip.append(StripDay(day=day.isoformat(), count=count, level=level, weekday=day.weekday(), week=week))
    return strip


def newest(rows: Iterable[ChangeRow]) -> FoundChanges:
    """Return the newest of *rows*, as many as are folded."""
    found = deque(rows, MOST_CHANGES + 1)
    is_cut = len(found) > MOST_CHANGES
    return FoundChanges(list(found)[is_cut:], is_cut)


class Reading(NamedTuple):
    """How changes are read."""

    #: When the last one before a moment was recorded, whichever are asked for.
    last: Callable[[datetime], datetime | None]
    #: Those of a day that are asked for, in at most so many lines.
    of_day: Callable[[date, int], ChangeDay]
    #: Those between two moments that are asked for.
    found: Callable[[datetime, datetime], FoundChanges]
    #: When a day begins and ends.
    bounds: Callable[[date], tuple[datetime, datetime]]


def latest_days(until: datetime, zone: tzinfo, reading: Reading) -> list[ChangeDay]:
    """Return the last days of a *zone* before *until* with changes that are asked for: as many as make a page."""
    days: list[ChangeDay] = []
    room, reach = MOST_LINES, _DAY
    while room > 0 and len(days) < MOST_DAYS and (last := reading.last(until)) is not None:
        day = last.astimezone(zone).date()
        until, _ = reading.bounds(day)
        found = reading.of_day(day, room)
        if found.lines:
            days.append(found)
            room -= len(found.lines)
            reach = _DAY
            continue
        # where little fits what is asked for, further and further back: else each of a thousand days would be read
        rows = reading.found(until - reach, until).rows
        until -= reach
        if rows:
            _, until = reading.bounds(max(row.recorded_at for row in rows).astimezone(zone).date())
        reach = min(2 * reach, _FURTHEST)
    return days


def once_for_each_zone(rows: Iterable[ChangeRow], before: Iterable[ChangeRow] = ()) -> Iterator[ChangeRow]:
    """
    Yield *rows* without accounts and projects: each once for its zone, as the first project met it.

    *before* are the earlier changes of the same images, which a project may meet later than another.
    """
    told: dict[tuple[object, ...], tuple[object, ...]] = {}
    zones: dict[Target, Target] = {}
    for row, is_wanted in chain(zip(before, repeat(False)), zip(rows, repeat(True))):
        target = zones.get(row.target) or zones.setdefault(row.target, unnamed(row.target))
        image = (target, row.image_set, row.image_id)
        said = (row.event, row.counterpart, repr(row.fields) if row.fields else "")
        if told.get(image) != said:
            told[image] = said
            if is_wanted:
                yield row._replace(target=target)


def unnamed(target: Target) -> Target:
    """Return a target without its account and project."""
    return target._replace(account="", project="")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFolder:
    """Folds changes into lines; made once for a page."""

    zones: WatchedZones
    words: Wording
    #: Tells what there is in the place of what changes withdrew.
    successors: Callable[[Collection[ChangeRow]], Successors]

    def lines(self, rows: Collection[ChangeRow], most: int = MOST_LINES) -> list[ChangeLine]:
        """Return at most so many lines that tell *rows*, the most severe first."""
        own = WORDS[self.words.language]
        several = len(self.zones.accounts) > 1
        writer = Writer(words=own, dates=self.words.dates, limits=_LIMITS, with_account=several)
        found = []
        for line in fold(rows, self.zones, (), self.successors(rows))[:most]:
            title = own.title(line.topic, is_replaced=line.is_replaced)
            found.append(
                ChangeLine(
                    number=line.change_ids[0] if line.change_ids else 0,
                    topic=line.topic,
                    tone="warn" if line.is_replaced else TONES[line.topic],
                    title=_sentence_case(title),
                    name=line.names[0] if len(line.names) == 1 else "",
                    row=writer.line(line),
                    is_replaced=line.is_replaced,
                )
            )
        return found


def change_folder(
    status: Iterable[StatusRow],
    names: Mapping[tuple[str, str], str],
    words: Wording,
    successors: Callable[[Collection[ChangeRow]], Successors],
) -> ChangeFolder:
    """Return what folds changes, by what is watched (*status*), what projects are called (*names*) and *successors*."""
    facts = DigestFacts(now=words.dates.now, runs=(), status=tuple(status), project_names=names)
    return ChangeFolder(zones=WatchedZones(Watch(), facts), words=words, successors=successors)


def zones_alone(known: Iterable[tuple[str, Iterable[ZoneState], Collection[RegionZone]]], kind: str) -> list[StatusRow]:
    """
    Return what is watched of a *kind* without accounts and projects: a row for each zone of each variant.

    *known* are the variants with their zones, and with those of them in which anything is listed.
    """
    rows = []
    for variant, zones, listing in known:
        for zone in zones:
            target = Target("", "", zone.place.region, zone.place.zone, kind, variant)
            outcome: Outcome = "ok" if zone.reason is None else "failed"
            at, images = zone.observed_at, int(zone.place in listing)
            row = StatusRow(target=target, outcome=outcome, since=None, last_ok_at=at, images=images, message="")
            rows.append(row)
    return rows


def _sentence_case(title: str) -> str:
    return title[:1] + title[1:].lower().replace(" gpu", " GPU") if title.isascii() else title


def told_of_pruning(
    strip: Sequence[StripDay], days: Sequence[ChangeDay], kept_from: datetime | None, words: Wording
) -> str:
    """Return that changes are missing where the *strip* or the *days* reach back before *kept_from*; else nothing."""
    first = min([*(one.day for one in strip[:1]), *(one.day for one in days[-1:])], default=None)
    if kept_from is None or first is None or first > kept_from.astimezone(words.dates.zone).date().isoformat():
        return ""
    return words("pruned_changes", at=words.at(kept_from))
