"""
Five years of history in half a minute: 4,500 targets, a run every quarter of an hour, 850,000 intervals.

Rows go straight into the tables, as the writer would have left them: ten projects of a zone share their images; most
changes are re-issues and modified fields; there are spans of trouble, holds, new zones, and runs over one zone only.
`generate(engine, years=…, zones=…)` makes less of it, with *calm* nothing fails. The database must be empty; `python -m
tests.benchmarks.five_years PATH-OR-URL` makes one to look at.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Table, inspect, text

from crawler.db.engine import begin, is_sqlite, opened
from crawler.db.migrations import upgrade
from crawler.db.schema import OPEN_RUN, Base
from crawler.db.types import to_micros
from crawler.domain.models import END_OF_TIME, canonical_json, digest_of, normalise_name

BEGIN = datetime(2021, 6, 1, tzinfo=UTC)
PERIOD = timedelta(minutes=15)
PROJECTS = 10
IMAGES = 100
#: Seconds after its start at which a run has its answers, and ends.
ANSWERS, ENDS = 5, 20
_MICROS = 1_000_000
_STEP = int(PERIOD.total_seconds()) * _MICROS
_FIRST = to_micros(BEGIN)
_FOREVER = to_micros(END_OF_TIME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was generated."""

    runs: int
    targets: int
    intervals: int
    changes: int

    @property
    def end(self) -> datetime:
        """Return the end of the last run."""
        return BEGIN + (self.runs - 1) * PERIOD + timedelta(seconds=ENDS)

    def zone(self, number: int) -> str:
        """Return the name of a zone."""
        return _zone(number)


@dataclass(slots=True)
class _Image:
    image_id: str
    name: str
    version: int
    size: int
    since: int
    valid_from: int
    run: int
    baseline: bool


@dataclass(slots=True)
class _Rows:
    """Rows of the tables that follow from the story, in the order of their columns."""

    image_versions: list[tuple[Any, ...]] = field(default_factory=list)
    intervals: list[tuple[Any, ...]] = field(default_factory=list)
    changes: list[tuple[Any, ...]] = field(default_factory=list)


def generate(
    engine: Engine, *, years: float = 5, zones: int = 450, changed: int = 405_000, calm: bool = False, seed: int = 1
) -> Made:
    """Fill an empty, migrated database; *changed*: intervals that open after a baseline; *calm*: nothing fails."""
    rng = random.Random(seed)
    runs = int(timedelta(days=365.25 * years) / PERIOD)
    targets = zones * PROJECTS
    rows = _Rows()
    # a tenth of the zones comes later, a few at a time
    late = {zone: rng.randrange(runs // 10, runs) for zone in range(zones - zones // 10, zones)}
    steps = sorted({0, *(late[zone] for zone in sorted(late))})
    for zone in range(zones):
        _live(rng, rows, zone, late.get(zone, 0), runs, changed // (zones * PROJECTS))
    scopes = [[t for t in range(1, targets + 1) if late.get((t - 1) // PROJECTS, 0) <= step] for step in steps]
    # now and then somebody crawls one zone only
    single = {
        zone: len(scopes) + number for number, zone in enumerate(rng.sample(range(zones), min(20, zones)), start=1)
    }
    asides = {run: rng.choice(sorted(single)) for run in rng.sample(range(1, runs), runs // 500)}
    scopes += [list(range(zone * PROJECTS + 1, zone * PROJECTS + PROJECTS + 1)) for zone in single]
    with begin(engine) as conn:
        bulk = _Bulk(conn)
        bulk.add("settings", ("name", "value"), [("stale_after_seconds", "93600")])
        bulk.add("accounts", ("id", "name", "endpoint", "fence"), [(1, "prod", "", 0)])
        bulk.add("scopes", ("id", "digest", "size"), [(n, f"scope {n}", len(s)) for n, s in enumerate(scopes, start=1)])
        bulk.add("runs", *_runs(runs, steps, asides, single, scopes))
        bulk.add("targets", *_targets(targets, late))
        members = ((t, n) for n, scope in enumerate(scopes, start=1) for t in scope)
        bulk.add("scope_targets", ("target_id", "scope_id"), members)
        bulk.add(
            "image_versions",
            ("id", "digest", "image_set", "image_id", "image_name", "name_key", "gpu", "attributes"),
            rows.image_versions,
        )
        bulk.add(
            "intervals",
            (
                "id", "target_id", "version_id", "valid_from", "valid_to", "present_since", "baseline",
                "opened_run_id", "closed_run_id",
            ),
            rows.intervals,
        )  # fmt: skip
        bulk.add(
            "changes",
            (
                "id", "run_id", "target_id", "event", "image_set", "image_id", "image_name", "fields", "counterpart",
                "not_before", "observed_at", "recorded_at",
            ),
            ((number, *change) for number, change in enumerate(sorted(rows.changes, key=lambda c: c[0]), start=1)),
        )  # fmt: skip
        if not calm:
            bulk.add("exceptions", *_exceptions(rng, targets, late, runs))
            bulk.add("absences", *_absences(rng, targets, late, runs))
            holds, images = _holds(rng, targets, late, runs)
            bulk.add("holds", *holds)
            bulk.add("hold_images", *images)
    if not is_sqlite(engine):
        with begin(engine) as conn:
            for table in ("accounts", "scopes", "runs", "targets", "image_versions", "intervals", "changes"):
                conn.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"))
        # PostgreSQL does all that by itself after so many inserts, within minutes; nobody does for SQLite
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            for housekeeping in ("VACUUM ANALYZE", "CHECKPOINT"):
                conn.execute(text(housekeeping))
    return Made(runs=runs, targets=targets, intervals=len(rows.intervals), changes=len(rows.changes))


def _zone(number: int) -> str:
    return f"r{number // 4:03}-{number % 4 + 1:02}"


def _start(run: int) -> int:
    return _FIRST + run * _STEP


# --- the story of one zone -------------------------------------------------------------------------------------------


def _live(rng: random.Random, rows: _Rows, zone: int, first: int, runs: int, changed: int) -> None:
    """Let *changed* images of a zone change, each in all projects at once, from the run *first* on."""
    since = _start(first) + ANSWERS * _MICROS
    listed = []
    for number in range(IMAGES):
        image = _Image(
            f"uimage-{zone}-{number}", f"System {number % 50} v{number // 50}", 0, 20, since, since, first, True
        )
        _version(rows, image)
        listed.append(image)
    for run in sorted(rng.sample(range(first + 1, runs), min(changed, runs - first - 1))):
        at = _start(run) + ANSWERS * _MICROS
        place = rng.randrange(IMAGES)
        old = listed[place]
        if rng.random() < 0.6:
            new = _Image(old.image_id, old.name, 0, old.size + 1, old.since, at, run, False)
        else:
            new = _Image(f"uimage-{zone}-{run}-{place}", old.name, 0, 20, at, at, run, False)
        _version(rows, new)
        listed[place] = new
        for project in range(PROJECTS):
            target = zone * PROJECTS + project + 1
            _close(rows, old, target, at, run)
            _change(rows, target, old, new, at, run)
    for image in listed:
        for project in range(PROJECTS):
            _close(rows, image, zone * PROJECTS + project + 1, _FOREVER, None)


def _version(rows: _Rows, image: _Image) -> None:
    image.version = len(rows.image_versions) + 1
    attributes = {
        "image_name": image.name,
        "gpu": image.size % 2 == 0,
        "os_type": "Linux",
        "os_name": f"{image.name} 64位",
        "features": ["CloudInit", "HotPlug", "NetEnhanced"],
        "gpu_types": [],
        "software": "",
        "size_gb": image.size,
        "zone_id": 3001,
        "extra": {},
    }
    digest = digest_of([image.image_id, image.version])
    key = normalise_name(image.name)
    gpu = image.size % 2 == 0
    rows.image_versions.append(
        (image.version, digest, "ImageSet", image.image_id, image.name, key, gpu, canonical_json(attributes))
    )


def _close(rows: _Rows, image: _Image, target: int, at: int, run: int | None) -> None:
    number = len(rows.intervals) + 1
    ends = None if run is None else run + 1
    rows.intervals.append(
        (number, target, image.version, image.valid_from, at, image.since, image.baseline, image.run + 1, ends)
    )


def _change(rows: _Rows, target: int, old: _Image, new: _Image, at: int, run: int) -> None:
    recorded = at + _MICROS
    times = (_start(run - 1) + ENDS * _MICROS, at, recorded)
    if old.image_id == new.image_id:
        fields = canonical_json({"size_gb": [old.size, new.size], "gpu": [old.size % 2 == 0, new.size % 2 == 0]})
        rows.changes.append((run + 1, target, "modified", "ImageSet", new.image_id, new.name, fields, None, *times))
        return
    rows.changes.append((run + 1, target, "withdrawn", "ImageSet", old.image_id, old.name, None, new.image_id, *times))
    rows.changes.append((run + 1, target, "appeared", "ImageSet", new.image_id, new.name, None, old.image_id, *times))


# --- the ledger ------------------------------------------------------------------------------------------------------

Filling = tuple[Sequence[str], Iterable[tuple[Any, ...]]]


def _runs(
    runs: int, steps: Sequence[int], asides: dict[int, int], single: dict[int, int], scopes: Sequence[Sequence[int]]
) -> Filling:
    counters = (
        "ok", "held", "denied", "failed", "skipped", "baseline_targets", "baseline_images", "appeared", "returned",
        "withdrawn", "modified", "target_added", "target_retired", "sent", "retried", "throttled",
    )  # fmt: skip

    def rows() -> Iterator[tuple[Any, ...]]:
        scope = 0
        for run in range(runs):
            while scope < len(steps) and steps[scope] <= run:
                scope += 1
            chosen = single[asides[run]] if run in asides else scope
            numbers = [len(scopes[chosen - 1]), *([0] * (len(counters) - 1))]
            at = _start(run)
            yield run + 1, "complete", at, at + ENDS * _MICROS, "[1]", run in asides, chosen, *numbers

    return ("id", "status", "started_at", "finished_at", "accounts", "restricted", "scope_id", *counters), rows()


def _targets(targets: int, late: dict[int, int]) -> Filling:
    columns = (
        "id", "account_id", "project", "project_name", "region", "zone", "kind", "variant", "baseline_run_id",
        "missing_count", "missing_needed",
    )  # fmt: skip

    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(targets):
            zone = number // PROJECTS
            name = _zone(zone)
            place = (f"org-{number % PROJECTS}", "", name.rpartition("-")[0], name, "uk8s-image", "default")
            yield number + 1, 1, *place, late.get(zone, 0) + 1, 0, 0

    return columns, rows()


def _exceptions(rng: random.Random, targets: int, late: dict[int, int], runs: int) -> Filling:
    columns = (
        "id", "target_id", "from_run_id", "to_run_id", "outcome", "failure_class", "ret_code", "message",
        "request_uuid", "since", "last_good_at",
    )  # fmt: skip

    def rows() -> Iterator[tuple[Any, ...]]:
        number = 0
        for target in range(1, targets + 1):
            first = late.get((target - 1) // PROJECTS, 0) + 2
            begins = sorted(rng.sample(range(first, runs), min(20, max(0, runs - first))))
            for place, begin_ in enumerate(begins):
                latest = begins[place + 1] if place + 1 < len(begins) else runs + 1
                ends = min(latest, begin_ + rng.choice([1, 1, 2, 8, 100]))
                ends = OPEN_RUN if ends > runs else ends
                number += 1
                at = _start(begin_ - 1) + ANSWERS * _MICROS
                good = _start(begin_ - 2) + ENDS * _MICROS
                yield number, target, begin_, ends, "failed", "transient", 150, "down", "", at, good

    return columns, rows()


def _holds(rng: random.Random, targets: int, late: dict[int, int], runs: int) -> tuple[Filling, Filling]:
    columns = (
        "id", "target_id", "run_id", "held_at", "confirmations", "status", "resolved_at", "resolved_run_id",
    )  # fmt: skip
    holds: list[tuple[Any, ...]] = []
    images: list[tuple[Any, ...]] = []
    for target in range(1, targets + 1, 2):
        zone = (target - 1) // PROJECTS
        run = rng.randrange(late.get(zone, 0) + 1, runs)
        at = _start(run) + ANSWERS * _MICROS
        number = len(holds) + 1
        holds.append((number, target, run + 1, at, 0, "dissolved", at + _STEP, min(run + 2, runs)))
        images += [(number, image, "ImageSet", f"uimage-{zone}-{image}") for image in range(3)]
    return (columns, holds), (("hold_id", "position", "image_set", "image_id"), images)


def _absences(rng: random.Random, targets: int, late: dict[int, int], runs: int) -> Filling:
    """Let every other target have been away for a while."""
    rows: list[tuple[Any, ...]] = []
    for target in range(2, targets + 1, 2):
        run = rng.randrange(late.get((target - 1) // PROJECTS, 0) + 1, runs)
        reason = rng.choice(["retired", "deselected"])
        rows.append((len(rows) + 1, target, reason, _start(run), _start(run) + rng.randrange(1, 500) * _STEP))
    return ("id", "target_id", "reason", "valid_from", "valid_to"), rows


# --- into the database, fast -----------------------------------------------------------------------------------------


class _Bulk:
    """Writes rows of stored values past SQLAlchemy: `executemany` on SQLite, COPY on PostgreSQL."""

    def __init__(self, conn: Any) -> None:
        self._looker = inspect(conn)
        self._raw = conn.connection.driver_connection
        self._is_sqlite = is_sqlite(conn)
        if self._is_sqlite:
            self._raw.execute("PRAGMA cache_size = -200000")

    def add(self, name: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert *rows*, of the one account; columns that are not named get no default, for there is none there."""
        table: Table = Base.metadata.tables[name]
        # a schema of an earlier version names the account of fewer rows
        if "account_id" not in columns and any(c["name"] == "account_id" for c in self._looker.get_columns(name)):
            columns, rows = (*columns, "account_id"), ((*row, 1) for row in rows)
        names = ", ".join(columns)
        if self._is_sqlite:
            marks = ", ".join("?" * len(columns))
            self._raw.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", rows)
            return
        with closing(self._raw.cursor()) as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def main() -> None:
    """Make one to look at."""
    with opened(sys.argv[1]) as engine:
        upgrade(engine)
        sys.stdout.write(f"{generate(engine)}\n")


if __name__ == "__main__":
    main()
