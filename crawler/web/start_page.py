"""Whether anything is wrong, in ten seconds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from crawler.domain.text import plain
from crawler.notifications.models import Topic
from crawler.queries.overview import ZoneState
from crawler.web.changes_page import MOST_CHANGES, ChangeLine, FoundChanges
from crawler.web.rendering import LONG_NAME
from crawler.web.wording import Wording

#: Lines of what changed last, and rows under one heading.
MOST_LATEST, MOST_ROWS = 8, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFinding:
    """Something to look at: a sentence, and where."""

    tone: Literal["bad", "warn"]
    title: str
    more: str
    #: RegionZone, what, when.
    rows: Sequence[tuple[str, str, str]]
    rest: int = 0


class HeldIn(NamedTuple):
    """An image whose withdrawal from a zone is not believed yet."""

    zone: str
    image_name: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The answer, what to look at, and a few numbers."""

    #: No zone is asked, and whether any ever was.
    is_empty: bool
    is_begun: bool
    findings: Sequence[StartFinding]
    latest: Sequence[ChangeLine]
    #: A number and its word each.
    numbers: Sequence[tuple[str, str]]


def start(
    zones: Sequence[ZoneState],
    held: Sequence[HeldIn],
    week: Sequence[ChangeLine],
    found: FoundChanges,
    words: Wording,
    *,
    elsewhere: Mapping[str, int],
    is_begun: bool,
    with_private: bool,
    is_live: bool,
) -> Start:
    """
    Return what the first page says of *zones*, but for those never open to a key, and of what is *held* in them.

    *week* are the lines of the changes *found* of the last seven days; *elsewhere* is how many zones are not known of
    each other kind, *is_begun* whether anything was ever observed.
    """
    # where none was ever open something is wrong
    is_empty, zones = not zones, [zone for zone in zones if zone.targets] or zones
    known = sum(zone.reason is None for zone in zones)
    last, changes = "" if is_live else "_last", len(found.rows)
    findings = [
        *_unknown(zones, words, with_private=with_private),
        *_held(held, words),
        *_told(week, words, "withdrawn", f"gone{last}"),
        *_told(week, words, "gpu_lost", f"gpu{last}"),
    ]
    if found.is_cut:
        more = words("flood_more", n=MOST_CHANGES)
        findings.append(StartFinding(tone="warn", title=words("flood"), more=more, rows=()))
    if with_private:
        findings += _partly(zones, words)
    others = [(words(f"kind_{kind}"), words("not_known", n=count), "") for kind, count in elsewhere.items() if count]
    findings += _finding("warn", "elsewhere", "", others, words, len(others))
    return Start(
        is_empty=is_empty,
        is_begun=is_begun,
        findings=findings,
        latest=week[:MOST_LATEST],
        numbers=[
            (f"{known} / {len(zones)}", words("known_zones", n=len(zones))),
            *([(f"{changes:,}{'+' * found.is_cut}", words("changes_week", n=changes))] if is_live else []),
        ],
    )


def _finding(
    tone: Literal["bad", "warn"], key: str, more: str, rows: Sequence[tuple[str, str, str]], words: Wording, n: int
) -> list[StartFinding]:
    if not rows:
        return []
    rest = max(0, len(rows) - MOST_ROWS)
    return [StartFinding(tone=tone, title=words(key, n=n), more=more, rows=rows[:MOST_ROWS], rest=rest)]


def _unknown(zones: Sequence[ZoneState], words: Wording, *, with_private: bool) -> list[StartFinding]:
    rows = [
        (
            plain(zone.place.zone),
            words.message(zone.message) if with_private and zone.message else words.reason(zone.reason),
            words("last_seen", at=words.at(zone.observed_at)) if zone.observed_at else "",
        )
        for zone in zones
        if zone.reason
    ]
    return _finding("bad", "not_known", words("not_known_more"), rows, words, len(rows))


def _partly(zones: Sequence[ZoneState], words: Wording) -> list[StartFinding]:
    rows = [
        (plain(zone.place.zone), words("partly_known_row", known=zone.known, total=zone.targets), "")
        for zone in zones
        if not zone.reason and zone.known < zone.targets
    ]
    return _finding("warn", "partly_known", "", rows, words, len(rows))


def _held(held: Sequence[HeldIn], words: Wording) -> list[StartFinding]:
    rows = [(plain(one.zone), plain(one.image_name), plain(one.image_id)) for one in held]
    return _finding("warn", "held", words("held_more"), rows, words, len(rows))


def _told(week: Sequence[ChangeLine], words: Wording, topic: Topic, key: str) -> list[StartFinding]:
    """Return what the week's lines on a *topic* say."""
    told = (line for line in week if line.topic == topic and not line.is_replaced)
    rows = [(line.row.where, plain(line.name, LONG_NAME) or line.row.name, line.row.tail) for line in told]
    return _finding("warn", key, "", rows, words, len(rows))
