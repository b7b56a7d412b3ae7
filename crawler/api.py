"""
The history from Python: `from crawler import History`.

    from datetime import UTC, datetime
    from crawler import History

    with History("crawler.db") as history:
        for image in history.images(at=datetime(2026, 6, 1, tzinfo=UTC), zone="hk-*"):
            print(image.target.zone, image.image_id, image.state, image.observed_at)

Answers are plain records, mostly lists of them, with the meaning that the commands of the same names give them;
`as_dict()` of a record is a row of their JSON, so `pandas.DataFrame(row.as_dict() for row in …)` is a table. Nothing is
ever written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, Unpack

from sqlalchemy import Connection, Engine, select

from crawler.db import changelog
from crawler.db.beginning import begins_at
from crawler.db.engine import follow_file, open_engine, opened, read, require_file
from crawler.db.last_observation import present, slow_clock
from crawler.db.migrations import ensure_schema, is_current
from crawler.db.schema import Setting
from crawler.domain.evidence import Explanation
from crawler.domain.filters import Filters
from crawler.domain.models import END_OF_TIME, EVENT_WORDS, LARGEST_ID, EventWord, is_storable
from crawler.domain.rows import ChangeRow, ImageRow, RunSummary, StatusRow
from crawler.domain.staleness import STALE_AFTER
from crawler.domain.suggest import did_you_mean
from crawler.errors import UnknownKnowledge
from crawler.queries import (
    changes as queries_changes,
)
from crawler.queries import check_lookup, diff_lookup, history_lookup, resolve_lookup
from crawler.queries import (
    images as queries_images,
)
from crawler.queries import (
    runs as queries_runs,
)
from crawler.queries import (
    status as queries_status,
)
from crawler.queries.check.rules import CheckRow, PinRule, Require
from crawler.queries.compare import CompareRow
from crawler.queries.diff import DiffRow
from crawler.queries.explain import explain
from crawler.queries.history import HistoryRow
from crawler.queries.resolve import Resolved
from crawler.queries.where import WhereRow

Words = str | Iterable[str]


class _Place(TypedDict, total=False):
    account: Words
    project: Words
    region: Words
    kind: Words
    variant: Words


class Targets(_Place, total=False):
    """Which targets: a glob or several for each part, as the options of the commands take them."""

    zone: Words


class _Items(TypedDict, total=False):
    account: Words
    project: Words
    region: Words
    zone: Words
    variant: Words
    image_set: Words
    name: Words
    image_id: Words


class SelectionArguments(Targets, total=False):
    """Which images at which targets."""

    image_set: Words
    name: Words
    image_id: Words


def now_utc() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


class History:
    """
    The history in one database, by URL or path.

    Every call reads one moment of it. Usable as it is; in a `with` block its connection is kept between calls.
    *stale_after*: from when on knowledge is stale, by default as the last run was configured. *clock* tells the
    present. Calls raise DatabaseUnavailable or SchemaMismatch where there is no history to read, UnknownKnowledge for
    what was there at a moment before what `db prune` kept, ValueError for a time without a time zone or a text that no
    database can hold, TypeError for a part of the selection that there is not. Where nothing fits the lists are empty.
    """

    def __init__(
        self,
        database: str | Path,
        *,
        stale_after: timedelta | None = None,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self._database = database
        self._stale_after = stale_after
        self._clock = clock
        self._engine: Engine | None = None
        self._had_schema = False
        self._file: tuple[int, int] | None = None

    def __enter__(self) -> History:
        """Keep the connection until the end of the block."""
        self._engine = open_engine(self._database, read_only=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connection, if one is kept; the next call opens it anew."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    # --- what is, and was, available ---------------------------------------------------------------------------------

    def images(
        self, at: datetime | None = None, *, retired: bool = False, **selection: Unpack[SelectionArguments]
    ) -> list[ImageRow]:
        """Return what was available *at* a moment (None: now), with the state of knowledge."""
        moment = _aware(at, "at")
        with self._reading() as conn:
            rows = queries_images.images(
                conn, moment, _filters(selection).of_images(), **self._knowing(conn), include_retired=retired
            )
            return list(rows)

    def inventory(
        self,
        kind: Words,
        at: datetime | None = None,
        *,
        retired: bool = False,
        **selection: Unpack[_Items],
    ) -> list[ImageRow]:
        """
        Return what there was of a *kind*, or of several by globs, *at* a moment (None: now).

        `as_dict()` of a row is its JSON, with the fields of its own kind.
        """
        moment = _aware(at, "at")
        filters = replace(_filters(selection, _Items), kind=_words(kind, "kind"))
        with self._reading() as conn:
            return list(queries_images.images(conn, moment, filters, **self._knowing(conn), include_retired=retired))

    def changes(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        events: EventWord | Collection[EventWord] = (),
        after: int | None = None,
        **selection: Unpack[SelectionArguments],
    ) -> list[ChangeRow]:
        """
        Return the changes recorded in `[since, until)`, in the order of their cursors.

        Whoever asks again and again with *after*, the `cursor` of the last row of the last answer (0 for the first),
        misses nothing and sees nothing twice. Raises UsageError for an *after* that this history never gave,
        UnknownKnowledge for one after which changes were pruned.
        """
        begin, end = _aware(since, "since"), _aware(until, "until")
        wanted = (events,) if isinstance(events, str) else tuple(events)
        for event in set(wanted) - set(EVENT_WORDS):
            known = ", ".join(EVENT_WORDS)
            raise ValueError(f"{event!r} is no event{did_you_mean(event, EVENT_WORDS)}; there are {known}")
        if after is not None and not 0 <= after <= LARGEST_ID:
            raise ValueError(f"after must be the cursor of a change, or 0: {after}")
        with self._reading() as conn:
            last = changelog.settled(conn)
            filters = _filters(selection)
            return list(queries_changes.changes(conn, begin, end, wanted, filters, after=after, until_change=last))

    def history(self, image: str, **selection: Unpack[SelectionArguments]) -> list[HistoryRow]:
        """Return every interval of an image, called by id, name or glob, in every target, with gaps of knowledge."""
        with self._reading() as conn:
            ids = history_lookup.image_ids(conn, image)
            return history_lookup.history(conn, ids, _filters(selection), **self._knowing(conn)) if ids else []

    def where(
        self, name: str, at: datetime | None = None, *, retired: bool = False, **targets: Unpack[Targets]
    ) -> list[WhereRow]:
        """Return where an image name, or a glob, was present, withdrawn, unknown or never offered."""
        moment = _aware(at, "at")
        with self._reading() as conn:
            names = history_lookup.image_names(conn, name, _filters(targets))
            knowing = self._knowing(conn)
            return history_lookup.where_is(conn, names, moment, _filters(targets), **knowing, include_retired=retired)

    def diff(self, first: datetime, second: datetime, **selection: Unpack[SelectionArguments]) -> list[DiffRow]:
        """Return what differs between two moments; rows of the event `unknown` are what cannot be compared."""
        begin, end = _moment(first, "first"), _moment(second, "second")
        with self._reading() as conn:
            stale_after = self._knowing(conn)["stale_after"]
            rows, _ = diff_lookup.moments_apart(conn, begin, end, _filters(selection), stale_after=stale_after)
            return list(rows)

    def compare(
        self, first: str, second: str, at: datetime | None = None, **selection: Unpack[SelectionArguments]
    ) -> list[CompareRow]:
        """Return two zones side by side by image name; raise Ambiguous when a glob fits several."""
        moment = _aware(at, "at")
        sides = _words(first, "first"), _words(second, "second")
        with self._reading() as conn:
            rows, _ = diff_lookup.zones_apart(conn, *sides, moment, _filters(selection), **self._knowing(conn))
            return rows

    # --- for scripts -------------------------------------------------------------------------------------------------

    def resolve(
        self,
        zone: str,
        name: str,
        *,
        gpu: bool = False,
        max_age: timedelta | None = None,
        min_age: timedelta = timedelta(0),
        image_set: Words = (),
        **place: Unpack[_Place],
    ) -> Resolved:
        """
        Return the image called *name* to use now in *zone*; with *min_age* the newest that has been there that long.

        Raises NoAnswer (or Revoked, which is one), Ambiguous or UnknownKnowledge (all of `crawler.errors`) where there
        is not one sure answer, EmptySelection where no such place is known.
        """
        (name,) = _words(name, "name")
        filters = replace(_filters(place, _Place), zone=_words(zone, "zone"), image_set=_words(image_set, "image_set"))
        with self._reading() as conn:
            found, _ = resolve_lookup.resolve(
                conn, name, filters, gpu=gpu, max_age=max_age, min_age=min_age, **self._knowing(conn, is_strict=True)
            )
            return found

    def check(self, rules: Sequence[Require | PinRule], **targets: Unpack[Targets]) -> list[CheckRow]:
        """
        Judge required images and pinned ids (`crawler.queries.check.rules`).

        Raises UnknownKnowledge where this machine's clock is far behind.
        """
        with self._reading() as conn:
            return check_lookup.check(conn, rules, _filters(targets, Targets), **self._knowing(conn, is_strict=True))

    # --- how well it is known ----------------------------------------------------------------------------------------

    def status(self, *, retired: bool = False, **targets: Unpack[Targets]) -> list[StatusRow]:
        """Return the freshness and the last outcome of every target."""
        with self._reading() as conn:
            now = present(conn, self._clock())
            return queries_status.status(conn, _filters(targets, Targets), now=now, include_retired=retired)

    def begins_at(self) -> datetime | None:
        """
        Return from when on the history is whole, in UTC; None when nothing was ever pruned.

        Of what came before it `changes`, `history`, `runs` and `explain` give what is left, which is not everything.
        """
        with self._reading() as conn:
            return begins_at(conn)

    def runs(self, limit: int | None = None) -> list[RunSummary]:
        """Return the newest *limit* runs (None: all), oldest first, without their failures."""
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative: {limit}")
        with self._reading() as conn:
            return list(queries_runs.runs(conn, None if limit is None else min(limit, LARGEST_ID)))

    def run(self, number: int) -> RunSummary | None:
        """Return one run with every target that was not `ok` in it; None when there is no such run."""
        with self._reading() as conn:
            return queries_runs.run(conn, number) if 0 < number <= LARGEST_ID else None

    def explain(self, change: int) -> Explanation | None:
        """Return the two raw answers behind a change, by its `id`, and the runs; None when there is no such change."""
        with self._reading() as conn:
            return explain(conn, change) if 0 < change <= LARGEST_ID else None

    # -----------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        if self._engine is None:
            with opened(self._database, read_only=True) as engine:
                ensure_schema(engine, may_upgrade=False)
                with read(engine) as conn:
                    yield conn
            return
        if not self._had_schema:
            ensure_schema(self._engine, may_upgrade=False)
            self._had_schema = True
        require_file(self._engine)
        self._file = follow_file(self._engine, self._file)
        with read(self._engine) as conn:
            if not is_current(conn):
                ensure_schema(self._engine, may_upgrade=False)
            yield conn

    def _knowing(self, conn: Connection, *, is_strict: bool = False) -> dict[str, Any]:
        """Return the present, and from when on knowledge is stale; *is_strict* raises where the clock is far behind."""
        stale_after = self._stale_after
        if stale_after is None:
            stored = conn.execute(select(Setting.value).where(Setting.name == "stale_after_seconds")).scalar()
            stale_after = timedelta(seconds=float(stored)) if stored else STALE_AFTER
        clock = self._clock()
        now = present(conn, clock)
        complaint = slow_clock(clock, now)
        if complaint and is_strict:
            raise UnknownKnowledge(complaint)
        return {"now": now, "stale_after": stale_after}


def _words(words: Words, part: str) -> tuple[str, ...]:
    """Return *words* one by one; raise TypeError for what is no text, ValueError for text that no database can hold."""
    every = (words,) if isinstance(words, str) else tuple(words)
    for word in every:
        if not isinstance(word, str):
            raise TypeError(f"{part} must be a text or several, not {type(word).__name__}")
        if not is_storable(word):
            raise ValueError(f"{part} {word!r} is nothing that a history can hold: it has a NUL, or half a character")
    return every


def _filters(selection: Mapping[str, Any], kind: type = SelectionArguments) -> Filters:
    """Return what *selection* says; raise TypeError for a part that *kind* has not."""
    for part in selection.keys() - kind.__annotations__.keys():
        hint = did_you_mean(part, kind.__annotations__) or f"; there are {', '.join(sorted(kind.__annotations__))}"
        raise TypeError(f"nothing is selected by {part!r}{hint}")
    return Filters(**{part: _words(words, part) for part, words in selection.items()})


def _aware(moment: datetime | None, name: str) -> datetime | None:
    return None if moment is None else _moment(moment, name)


def _moment(moment: datetime, name: str) -> datetime:
    if not isinstance(moment, datetime):
        raise TypeError(f"{name} must be a datetime, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise ValueError(
            f"{name} has no time zone: {moment.isoformat()}; say which, as in datetime(2026, 6, 1, tzinfo=UTC)"
        )
    if moment >= END_OF_TIME:
        raise ValueError(f"{name} is too far away to be a time: {moment.isoformat()}")
    return moment
