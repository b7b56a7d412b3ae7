"""What the questions about images share: words the history does not know, moments that nobody observed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from operator import itemgetter
from typing import TYPE_CHECKING

from crawler.domain.filters import Filters, part_fits
from crawler.domain.kinds import KINDS
from crawler.domain.suggest import nearest, nearest_ids
from crawler.domain.text import visible
from crawler.domain.timefmt import show_moment, tell_moment
from crawler.errors import EmptySelection, UnknownKnowledge

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crawler.domain.rows import Knowledge, StatusRow
    from crawler.queries.resolve import Resolved

NOTHING_YET = "Nothing is recorded yet: `crawler run` asks the cloud and records what it says."
#: Words of a list that are told before the rest is only counted.
_FEW = 6


def pruned(kept_from: datetime, zone: tzinfo, lacking: str) -> str:
    """Return the sentence about what the time before the kept history is *lacking*."""
    return f"What came before {tell_moment(kept_from, zone)} was pruned: {lacking}."


def not_observed_since(found: Resolved, last: StatusRow, zone: tzinfo) -> str:
    """Say that the place where an id was *found* was not observed well since, as *last* has it; empty where it was."""
    if last.outcome in ("ok", "held"):
        return ""
    seen_at = tell_moment(found.observed_at, zone)
    return f"Warning: {last.target.zone} was not observed well since {seen_at}: {last.message}"


def require_records(conn: Connection) -> None:
    """Raise UnknownKnowledge where no run has recorded anything yet."""
    from crawler.db.filters import is_anything_recorded

    if not is_anything_recorded(conn):
        raise UnknownKnowledge(NOTHING_YET)


def unheard_image(
    conn: Connection, wanted: str, *, by_id: bool, kinds: Collection[str] = ()
) -> EmptySelection | UnknownKnowledge:
    """
    Make the error for an image that the history never heard of, with the nearest names, and ids when *by_id*.

    Of *kinds* alone; none: of all.
    """
    from crawler.db.filters import is_anything_recorded, known_words

    if not is_anything_recorded(conn):
        return UnknownKnowledge(NOTHING_YET)
    names, ids = known_words(conn, "name", kinds), known_words(conn, "image_id", kinds) if by_id else set()
    near = nearest(wanted, names) or nearest_ids(wanted, ids)
    near = near or sorted(word for word in names | ids if wanted.strip().casefold() in word.casefold())
    hint = f"; the nearest: {', '.join(near[:3])}" if near else "; `crawler images` lists what it knows"
    what = "image id or name" if by_id else "image name"
    return EmptySelection(visible(f"The history knows no {what} {wanted!r}{hint}."))


def kind_not_asked(part: str, glob: str) -> str:
    """Return what to do, behind a sentence that *glob* is unknown, where it is a kind that nobody asked for so far."""
    if part != "kind" or not any(part_fits(part, kind, [glob]) for kind in KINDS):
        return ""
    return " yet; there is one: add it to `kinds` in the configuration, and the next run asks for it"


def require_zone(conn: Connection, zone: str, kinds: Collection[str] = ()) -> None:
    """Raise EmptySelection, with the nearest words, when the history never heard of *zone* of *kinds*, if any."""
    from crawler.db.filters import known_words

    known = known_words(conn, "zone", kinds)
    if any(part_fits("zone", word, [zone]) for word in known):
        return
    require_records(conn)
    near = nearest(zone, known) or (sorted(known) if len(known) <= _FEW else [])
    hint = f"; the nearest: {', '.join(near)}" if near else "; `crawler status` lists the zones"
    raise EmptySelection(visible(f"The history knows no zone {zone!r}{hint}."))


def require_observed(conn: Connection, known: Iterable[Knowledge | None], at: datetime, zone: tzinfo) -> None:
    """Raise UnknownKnowledge when nobody had observed any of the targets by *at*, or nobody can tell any more."""
    from crawler.db.beginning import require_kept
    from crawler.db.filters import first_run_at

    require_kept(conn, at)
    if any(own is not None and own.observed_at is not None for own in known):
        return
    first = first_run_at(conn)
    if first is None:
        raise UnknownKnowledge(NOTHING_YET)
    moment = tell_moment(at, zone)
    if at < first:
        raise UnknownKnowledge(
            f"Nobody had looked by {moment}: the first run ended at {show_moment(first, zone)}; ask for a later time."
        )
    raise UnknownKnowledge(f"None of these targets had been observed well by {moment}; `crawler status` tells why.")


def require_asked(conn: Connection, zone: str, selected: Filters, at: datetime, timezone: tzinfo) -> None:
    """Raise UnknownKnowledge when nobody asks, or asked *at* that moment, any more about a *zone* that was asked."""
    from crawler.db.filters import chosen_targets
    from crawler.db.last_observation import absences

    chosen = [choice.target_id for choice in chosen_targets(conn, replace(selected, zone=(zone,)))]
    absent = absences(conn, chosen, at)
    if chosen and len(absent) == len(chosen):
        reason, since = max(absent.values(), key=itemgetter(1))
        sentence = f"{zone} is asked no more: it is {reason} since {tell_moment(since, timezone)}."
        raise UnknownKnowledge(visible(sentence))


def few(words: Collection[str], limit: int = _FEW) -> str:
    """List *words*, or the first of them and how many more there are."""
    shown = sorted(words)
    rest = len(shown) - limit
    return visible(", ".join(shown if rest <= 1 else [*shown[:limit], f"and {rest} more"]))


def reasons(unknown: Mapping[str, Collection[str]]) -> str:
    """Tell zones by the reason why they are unknown: `kr-seoul-01 (failed), hk-01, hk-02 (stale)`."""
    return ", ".join(f"{few(zones)} ({reason})" for reason, zones in sorted(unknown.items()) if zones)


def show_lag(lag: timedelta) -> str:
    """Write how much later something came: `+3d 4h`, `+15m`, `+0`."""
    minutes = round(lag.total_seconds() / 60)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{number}{unit}" for number, unit in ((days, "d"), (hours, "h"), (rest, "m")) if number]
    return f"+{' '.join(parts[:2]) or '0'}"
