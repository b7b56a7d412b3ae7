"""
The demo: five runs on the built-in cloud, shown on one screen.

The cloud replays what UCloud published (24 zones, 71 images, two re-issues in hk-02, a zone that emptied); the runs are
real ones, over real sockets, into a fresh database, on a clock moved to the last 24 hours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from crawler.client.api_options import Timing
from crawler.config.models import DEFAULT_TIMEZONE, AccountSettings, Limits, Secret, Settings
from crawler.config.texts import zone_of
from crawler.crawl.run import crawl
from crawler.db.engine import opened, read
from crawler.db.locks import take_locks
from crawler.db.migrations import ensure_schema
from crawler.db.url import url_of
from crawler.domain.reissues import Chain, fold_reissues
from crawler.domain.rows import ChangeRow, ImageRow, RunSummary, StatusRow
from crawler.domain.staleness import STALE_AFTER
from crawler.domain.subscriptions import Language, Pin, Subscription
from crawler.domain.text import counted, padded, width
from crawler.domain.timefmt import zone_name
from crawler.emulator import EXAMPLE_PRIVATE_KEY, EXAMPLE_PUBLIC_KEY, demo, run_in_thread
from crawler.errors import UsageError
from crawler.notifications.delivery_store import digest_since
from crawler.notifications.models import Rendered
from crawler.notifications.rendering.render import render
from crawler.queries import (
    changes as queries_changes,
)
from crawler.queries import (
    images as queries_images,
)
from crawler.queries import (
    runs as queries_runs,
)
from crawler.queries import (
    status as queries_status,
)
from crawler.web.publication import publish

RUN_EVERY = timedelta(hours=6)
#: What the demo's reader has in a node pool: the image that is re-issued twice.
PINNED = Pin("hk-02", "uimage-vareox")
#: Puts a cell or sentence into the language of the reader.
Say = Callable[[str], str]
Row = Sequence[str]
#: Gentle enough to be honest about pacing, quick enough for a demo.
LIMITS = Limits(rate=100, attempts=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRun:
    """One of the runs, and the changes it recorded."""

    summary: RunSummary
    changes: tuple[ChangeRow, ...]


def play(database: Path, *, clock: Callable[[], datetime], zone: ZoneInfo | None = None, say: Say = str) -> list[str]:
    """
    Run the demo into a fresh SQLite file at *database* and give the lines of its screen; takes a few seconds.

    *say* puts a cell or sentence into the language of the reader.
    """
    zone = zone or default_zone()
    timeline = demo()
    steps = len(timeline.worlds)
    begin = clock() - RUN_EVERY * (steps - 1)
    url = url_of(database)
    with run_in_thread(timeline) as cloud, opened(url) as engine:
        settings = Settings(
            database=url,
            timezone=zone,
            stale_after=STALE_AFTER,
            accounts=(
                AccountSettings(
                    name="demo",
                    endpoint=cloud.url,
                    public_key=EXAMPLE_PUBLIC_KEY,
                    private_key=Secret(EXAMPLE_PRIVATE_KEY),
                    limits=LIMITS,
                ),
            ),
        )
        for step in range(1, steps + 1):
            cloud.step = step
            moved = _moved_clock(begin + RUN_EVERY * (step - 1))
            with take_locks(url, ["demo"], clock=moved) as fence:
                ensure_schema(engine, may_upgrade=True)
                asyncio.run(crawl(settings, engine, fence, timing=Timing(clock=moved)))
    with opened(url, read_only=True) as engine, read(engine) as conn:
        return screen(conn, now=clock(), stale_after=settings.stale_after, zone=zone, say=say)


def default_zone() -> ZoneInfo:
    """Return the zone of the demo's times; raise UsageError where this machine has no time zone database."""
    try:
        return zone_of(DEFAULT_TIMEZONE)
    except ValueError as exc:
        raise UsageError(f"The demo's time zone {DEFAULT_TIMEZONE} {exc}.") from None


def mail(
    database: Path, *, clock: Callable[[], datetime], zone: ZoneInfo | None = None, language: Language = "en"
) -> Rendered:
    """Return the mail that somebody gets who pinned hk-02's Ubuntu 20.04 before the five runs of `play`."""
    now = clock()
    subscription = Subscription(name="demo", timezone=zone or default_zone(), language=language, pins=(PINNED,))
    with opened(database, read_only=True) as engine, read(engine) as conn:
        digest = digest_since(conn, subscription, now - timedelta(days=2), now=now, stale_after=STALE_AFTER)
    assert digest is not None  # noqa: S101 - the five runs have news
    return render(digest)


def pages(database: Path, site: Path, *, clock: Callable[[], datetime], zone: ZoneInfo | None = None) -> None:
    """Write the web page of the demo into the folder *site*."""
    with opened(database, read_only=True) as engine:
        publish(engine, site, now=clock(), stale_after=STALE_AFTER, zone=zone or default_zone())


def _moved_clock(begin: datetime) -> Callable[[], datetime]:
    """Return a clock that reads *begin* now and goes on from there."""
    zero = time.monotonic()
    return lambda: begin + timedelta(seconds=time.monotonic() - zero)


# --- the screen ----------------------------------------------------------------------------------------------------


def screen(conn: Connection, *, now: datetime, stale_after: timedelta, zone: ZoneInfo, say: Say) -> list[str]:
    """Print what the history of the demo holds, news first, then what is available, then what nobody saw."""
    changes = list(queries_changes.changes(conn))
    runs = [
        DemoRun(summary=_whole(conn, summary.run), changes=tuple(row for row in changes if row.run == summary.run))
        for summary in queries_runs.runs(conn)
    ]
    images = list(queries_images.images(conn, None, now=now, stale_after=stale_after))
    total = runs[-1].summary.targets["total"]
    title = (
        f"Demo: {counted(len(runs), 'run')} on the built-in cloud, {counted(total, 'zone')}; "
        "ids as UCloud published them, times moved to today"
    )
    now_there, details = _present(images, list(queries_status.status(conn, now=now)), runs, zone)
    return [
        say(title),
        *_aligned(_runs(runs, zone), say),
        "",
        *_aligned(_changes(changes, zone), say),
        "",
        f"{say('NOW')}   {' · '.join(map(say, now_there))}",
        *_aligned(details, say),
    ]


def _whole(conn: Connection, run: int) -> RunSummary:
    summary = queries_runs.run(conn, run)
    assert summary is not None  # noqa: S101 - it was listed a moment ago, in the same transaction
    return summary


def _runs(runs: Sequence[DemoRun], zone: ZoneInfo) -> list[Row]:
    rows: list[Row] = [("RUN", "STARTED", "ZONES", "NEWS")]
    before: set[str] = set()
    for run in runs:
        counts = run.summary.targets
        outcomes = ", ".join(f"{counts[name]} {name}" for name in ("ok", "held", "failed") if counts[name])
        held = {row.target.zone for row in run.summary.failures if row.outcome == "held"}
        news = "; ".join(_news(run, runs, held - before)) or "nothing new"
        started = run.summary.started_at.astimezone(zone).strftime("%m-%d %H:%M")
        rows.append((f"{run.summary.run:>3}", started, outcomes, news))
        before = held
    return rows


def _news(run: DemoRun, runs: Sequence[DemoRun], newly_held: set[str]) -> Iterable[str]:
    summary = run.summary
    if summary.baseline["images"]:
        yield f"baseline: {counted(summary.baseline['images'], 'image')}"
    for row in summary.failures:
        if row.outcome == "held" and row.target.zone in newly_held:
            yield f"{row.target.zone}: {row.message.split(';')[0]}: not believed yet"
    chains, rest = fold_reissues(run.changes)
    late = [row for row in rest if row.observed_at < summary.started_at]
    if late:
        first = next(other.summary.run for other in reversed(runs) if other.summary.started_at <= late[0].observed_at)
        yield f"{_zones(late)} confirmed: {len(late)} withdrawn, dated to run {first}"
    told = [f"{len(chains)} re-issued"] if chains else []
    prompt = [row for row in rest if row not in late]
    for event in ("appeared", "returned", "withdrawn", "modified"):
        count = sum(row.event == event for row in prompt)
        told += [f"{count} {event}"] if count else []
    if told:
        yield f"{', '.join(told)} in {_zones([*(chain.withdrawals[0] for chain in chains), *prompt])}"
    for row in summary.failures:
        if row.outcome == "failed":
            yield f"{row.target.zone} not observed"


def _zones(rows: Iterable[ChangeRow]) -> str:
    return ", ".join(sorted({row.target.zone for row in rows}))


def _changes(changes: Sequence[ChangeRow], zone: ZoneInfo) -> list[Row]:
    chains, rest = fold_reissues(changes)
    rows: list[Row] = [("WHAT CHANGED", "", "", "", f"happened between ({zone_name(zone)})")]
    for chain in chains:
        rows += _chain(chain, zone)
    previous: ChangeRow | None = None
    for row in sorted(rest, key=lambda row: (row.event, row.target, row.image_name or "")):
        same = previous is not None and (previous.event, previous.target) == (row.event, row.target)
        rows.append(
            (
                "" if same else row.event,
                "" if same else row.target.zone,
                row.image_name or "",
                row.image_id or "",
                "same" if same and previous and previous.observed_at == row.observed_at else _between(row, zone),
            )
        )
        previous = row
    return rows


def _chain(chain: Chain, zone: ZoneInfo) -> Iterable[Row]:
    yield "re-issued", chain.target.zone, chain.image_name, chain.image_ids[0], ""
    for new, withdrawal in zip(chain.image_ids[1:], chain.withdrawals, strict=True):
        yield "", "", "", f"→ {new}", _between(withdrawal, zone)


def _between(row: ChangeRow, zone: ZoneInfo) -> str:
    if row.not_before is None:
        return f"by {row.observed_at.astimezone(zone):%m-%d %H:%M}"
    first, last = row.not_before.astimezone(zone), row.observed_at.astimezone(zone)
    return (
        f"{first:%m-%d %H:%M} and {last:%H:%M}"
        if first.date() == last.date()
        else (f"{first:%m-%d %H:%M} and {last:%m-%d %H:%M}")
    )


def _present(
    images: Sequence[ImageRow], status: Sequence[StatusRow], runs: Sequence[DemoRun], zone: ZoneInfo
) -> tuple[list[str], list[Row]]:
    present = [row for row in images if row.state == "present"]
    unknown = [row for row in images if row.state == "unknown"]
    empty = [row.target.zone for row in status if row.images == 0]
    counts = [f"{len(present)} present in {counted(len({row.target.zone for row in present}), 'zone')}"]
    if unknown:
        counts.append(f"{len(unknown)} unknown in {', '.join(sorted({row.target.zone for row in unknown}))}")
    counts += [f"0 in {name}" for name in empty]
    newest = next((row.target.zone for run in reversed(runs) for row in run.changes), None)
    rows: list[Row] = []
    if newest:
        shown = [f"{row.image_name} {row.image_id}" for row in present if row.target.zone == newest]
        rows.append((newest, " · ".join(shown)))
    for row in status:
        if row.outcome == "failed" and row.last_ok_at is not None:
            seen = f"{row.last_ok_at.astimezone(zone):%H:%M}"
            rows.append((row.target.zone, f"unknown: {row.message}"))
            rows.append(("", f"last seen {seen} with {counted(row.images, 'image')}"))
    return counts, rows


def _aligned(rows: Sequence[Row], say: Say) -> list[str]:
    told = [[say(cell) for cell in row] for row in rows]
    widths = [max(map(width, column)) for column in zip(*told, strict=True)]
    return ["  ".join(map(padded, row, widths)).rstrip() for row in told]
