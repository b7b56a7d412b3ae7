"""
Everything about reports that needs the database, one short transaction at a time. Used by one thread.

For each report it looks what there is to do (`open`), makes what is new one digest and keeps it (`compose`), notes how
sending went (`record`), and lets go (`close`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from crawler.config.models import ReportSettings
from crawler.db import digest_records, outbox, targets
from crawler.db.digest_records import ZoneKey
from crawler.db.engine import Fence, begin, is_sqlite, read
from crawler.db.filters import known_words, meant_name
from crawler.db.outbox import DeliveryFailure, Subscribed, Waiting
from crawler.domain.endings import ENDING_KINDS, days_left
from crawler.domain.filters import Filters
from crawler.domain.rows import ChangeRow, HoldRow, ImageRow, Stay
from crawler.domain.subscriptions import Subscription, is_due
from crawler.errors import DatabaseUnavailable
from crawler.notifications.channels.base import Channel, DeliveryRefusal
from crawler.notifications.digest import build_digest, waits_for_stock
from crawler.notifications.models import Digest, DigestFacts, NotifiedState, target_of
from crawler.notifications.pinned_files import subscription_of
from crawler.queries import changes as queries_changes
from crawler.queries import history_lookup, holds, images, status
from crawler.queries import runs as queries_runs
from crawler.queries.revoke import revoked_ids
from crawler.queries.stays import stays_of

#: After the first failure the next run tries again; then the pause doubles from here …
FIRST_PAUSE = timedelta(minutes=5)
#: … to this.
LONGEST_PAUSE = timedelta(hours=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one pass over the reports is about, and what it may do."""

    #: The run whose end it follows; None: the last one.
    run_id: int | None
    #: The accounts whose locks are held; `outbox.NO_RUN` stands for the lock of a sender that runs nothing.
    account_ids: frozenset[int]
    #: When it has surely ended.
    until: datetime
    stale_after: timedelta
    #: Whatever waits goes now: no schedule, no pause between tries.
    is_hurried: bool = False
    #: Only these digests, which exist already; None: what is new is composed, too.
    only: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What there is to do for one report."""

    report: ReportSettings
    state: Subscribed
    #: Who waits for digests that exist, the oldest first.
    waiting: tuple[Waiting, ...]
    #: What is new; None when that is nothing.
    digest: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A digest that is kept and can be sent."""

    digest_id: int
    content: bytes
    waiting: tuple[Waiting, ...]


def next_try(attempts: int, now: datetime) -> datetime:
    """Return when to try again after *attempts* failures: with the next run, then after pauses that double."""
    if attempts < 2:
        return now
    return now + min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(attempts - 2, 16)))


class DeliveryStore:
    """Looks, composes and keeps, within the *bounds* of one pass."""

    def __init__(self, engine: Engine, fence: Fence, clock: Callable[[], datetime], bounds: Bounds) -> None:
        """Take the database and its lock."""
        self._engine = engine
        self._fence = fence
        self._clock = clock
        self._bounds = bounds
        #: Reports with news that are not made into a digest yet, because it is not time.
        self.for_later: set[str] = set()

    def now(self) -> datetime:
        """Read the clock."""
        return self._clock()

    # --- what there is to do -----------------------------------------------------------------------------------------

    def open(self, report: ReportSettings, addresses: Sequence[str]) -> Job | None:
        """
        Look what there is to do for *report*, and become its sender; None when that is nothing, or another sends.

        Recipients that are not among the configured *addresses* any more are given up; what nobody has got, or waits
        for any more, goes to these.
        """
        now = self._clock()
        with read(self._engine) as conn:
            state = outbox.subscribed(conn, report.name)
            if state is None:
                return None
            waiting = outbox.waiting(conn, state.subscription_id)
            news = self._news(conn, report, state, now)
        if news.is_for_later:
            self.for_later.add(report.name)
        dropped = [row for row in waiting if row.address not in addresses]
        job = Job(
            report=report,
            state=state,
            waiting=tuple(row for row in waiting if row.address in addresses and self._is_meant(row)),
            digest=news.digest,
        )
        is_ready = any(self.is_ready(row, now) for row in job.waiting)
        if not (dropped or _is_over(job, news) or is_ready or job.digest is not None) or self._is_taken(state, now):
            return None
        with begin(self._engine, self._fence) as conn:
            if not outbox.claim(conn, state, sender=self._bounds.account_ids, until=self._bounds.until):
                return None
            if dropped:
                job, news = self._without(conn, job, news, dropped, addresses, now)
                is_ready = any(self.is_ready(row, now) for row in job.waiting)
            if _is_over(job, news):
                self._settle(conn, job, None, now)
            if not is_ready and job.digest is None:
                outbox.release(conn, state)
                return None
        return job

    def _without(
        self,
        conn: Connection,
        job: Job,
        news: DueNews,
        left: Sequence[Waiting],
        addresses: Collection[str],
        now: datetime,
    ) -> tuple[Job, DueNews]:
        """
        Give up those who *left*, and return what there is to do then, and what is new.

        What nobody has got, or waits for any more, goes to *addresses*; by another channel, to which a digest of this
        one says nothing, it becomes a new one, and what lasts is told anew there.
        """
        waiting = outbox.waiting(conn, job.state.subscription_id)
        waited_for = {row.digest_id for row in waiting if row.address in addresses}
        is_back = False
        for row in left:
            if row.digest_id not in waited_for:
                waited_for.add(row.digest_id)
                if row.channel == job.report.channel:
                    outbox.readdress(conn, row.digest_id, addresses, now)
                else:
                    is_back |= outbox.take_back(conn, row.digest_id)
            outbox.skip(conn, row.digest_id, [row.address], now)
        if is_back:
            outbox.remember(conn, job.state.subscription_id, NotifiedState().as_json())
            state = outbox.subscribed(conn, job.report.name) or job.state
            news = self._news(conn, job.report, state, now)
            if news.is_for_later:
                self.for_later.add(job.report.name)
            job = replace(job, state=replace(state, version=job.state.version), digest=news.digest)
        rows = outbox.waiting(conn, job.state.subscription_id)
        return replace(job, waiting=tuple(filter(self._is_meant, rows))), news

    def is_ready(self, row: Waiting, now: datetime) -> bool:
        """Return whether a recipient is to be tried now."""
        return self._bounds.is_hurried or row.next_at <= now

    def _is_meant(self, row: Waiting) -> bool:
        return self._bounds.only is None or row.digest_id in self._bounds.only

    def _is_taken(self, state: Subscribed, now: datetime) -> bool:
        """Return whether another process is sending: one that lives, by its locks, and has not surely ended."""
        if not state.sender or state.sender_until is None or is_sqlite(self._engine):
            return False
        if state.sender_until <= now or state.sender & self._bounds.account_ids:
            return False
        from crawler.db.locks.postgresql import is_held

        with read(self._engine) as conn:
            names = [name for name, one in targets.find_accounts(conn, None).items() if one in state.sender]
            return is_held(conn, names, is_sender=outbox.NO_RUN in state.sender)

    def _news(self, conn: Connection, report: ReportSettings, state: Subscribed, now: datetime) -> DueNews:
        if self._bounds.only is not None:
            return NO_NEWS
        return look_for_news(
            conn,
            subscription_of(report, conn, now=now, stale_after=self._bounds.stale_after),
            state,
            run_id=self._bounds.run_id,
            now=now,
            stale_after=self._bounds.stale_after,
            is_hurried=self._bounds.is_hurried,
        )

    # --- what is new -------------------------------------------------------------------------------------------------

    def compose(self, job: Job, channel: Channel) -> Composed:
        """Make one digest of all that is new, and keep it before anybody sends it."""
        digest = job.digest
        if digest is None:
            raise ValueError(f"{job.report.name}: there is nothing to compose")
        now = self._clock()
        message = channel.compose(digest, job.report.to, now)
        addresses = channel.addresses(job.report.to)
        with begin(self._engine, self._fence) as conn:
            digest_id = outbox.add_digest(
                conn,
                job.state.subscription_id,
                kind=digest.kind,
                channel=job.report.channel,
                runs=(digest.first_run, digest.last_run),
                message_id=message.message_id,
                subject=message.subject,
                content=message.content,
                recipients=addresses,
                queued_at=job.state.queued_at or now,
                now=now,
            )
            outbox.remember(conn, job.state.subscription_id, digest.notified.as_json())
            if digest.kind == "digest":
                self._settle(conn, job, digest_id, now)
            rows = [row for row in outbox.waiting(conn, job.state.subscription_id) if row.digest_id == digest_id]
        return Composed(digest_id=digest_id, content=message.content, waiting=tuple(rows))

    def _settle(self, conn: Connection, job: Job, digest_id: int | None, now: datetime) -> None:
        outbox.settle(
            conn,
            job.state,
            digest_id=digest_id,
            now=now,
            covering=self._bounds.run_id or outbox.last_finished_run(conn),
            is_due=job.report.subscription.when.at is not None,
        )

    # --- how it went -------------------------------------------------------------------------------------------------

    def content_of(self, digest_id: int) -> bytes | None:
        """Return a digest as it was composed."""
        with read(self._engine) as conn:
            return outbox.content_of(conn, digest_id)

    def record(self, digest_id: int, rows: Sequence[Waiting], refusals: Mapping[str, DeliveryRefusal]) -> bool:
        """Note for each of *rows* how sending a digest to it went; tell whether everybody has it now."""
        now = self._clock()
        setbacks = {
            row.address: DeliveryFailure(
                attempts=row.attempts + 1,
                next_at=next_try(row.attempts + 1, now),
                refused=refusals[row.address].scope if refusals[row.address].permanent else None,
                trouble=refusals[row.address].message,
            )
            for row in rows
            if row.address in refusals
        }
        sent = [row.address for row in rows if row.address not in refusals]
        with begin(self._engine, self._fence) as conn:
            outbox.record(conn, digest_id, sent=sent, setbacks=setbacks, now=now)
            return not setbacks and outbox.is_complete(conn, digest_id)

    def close(self, job: Job) -> None:
        """Let others send for this report."""
        with begin(self._engine, self._fence) as conn:
            outbox.release(conn, job.state)

    def overdue(self, reports: Sequence[ReportSettings], unmade: Collection[str]) -> list[str]:
        """Return the names of the reports that somebody waits for too long, *unmade* or in spite of tries."""
        now = self._clock()
        with read(self._engine) as conn:
            since = outbox.longest_waits(conn, [report.name for report in reports], unmade=unmade)
        return [
            report.name for report in reports if report.name in since and now - since[report.name] > report.alert_after
        ]


# --- whether there is news -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DueNews:
    """What is to be sent to a subscription now."""

    digest: Digest | None = None
    #: Nothing of what waits is worth a digest, and its time has come: it counts as reported, by silence.
    is_range_over: bool = False
    #: There is news of this run whose time by the schedule comes later.
    is_for_later: bool = False


NO_NEWS = DueNews()


def _is_over(job: Job, news: DueNews) -> bool:
    """Return whether what waits for a report counts as told, by silence."""
    return news.is_range_over and (bool(job.state.runs) or job.report.subscription.when.at is not None)


def look_for_news(
    conn: Connection,
    subscription: Subscription,
    state: Subscribed,
    *,
    run_id: int | None,
    now: datetime,
    stale_after: timedelta,
    is_hurried: bool = False,
) -> DueNews:
    """
    Return what is new for *subscription* after *run_id* (None: the last run).

    When its time has come, or is not waited for (*is_hurried*), that is everything; before that only what is urgent.
    """
    last = run_id or outbox.last_finished_run(conn)
    if last is None:
        return NO_NEWS
    subscription = _in_known_names(conn, subscription)
    notified = NotifiedState.from_json(state.told)
    has_schedule = subscription.when.at is not None
    if is_hurried or is_due(subscription.when, subscription.timezone, last=state.due_at, now=now):
        if _is_quiet(conn, subscription, state, notified):
            return DueNews(is_range_over=True)
        runs = outbox.finished_runs(conn, after=state.told_run_id if has_schedule else None, among={*state.runs, last})
        told = outbox.settled_runs(conn, state, runs)
        facts = gather(conn, subscription, runs, notified, now=now, stale_after=stale_after, told=told)
        digest = build_digest(subscription, facts, notified)
        if digest is None and waits_for_stock(subscription, facts, notified):
            return DueNews(is_for_later=True)
        return DueNews(digest=digest, is_range_over=digest is None)
    has_urgent = bool(subscription.pins) and "pins" in subscription.urgent
    if not has_urgent and last not in state.runs:
        return NO_NEWS
    runs = sorted({*state.runs, last})
    told = outbox.settled_runs(conn, state, [last])
    facts = gather(conn, subscription, runs, notified, now=now, stale_after=stale_after, told=told)
    return DueNews(
        digest=build_digest(subscription, facts, notified, urgent_only=True) if has_urgent else None,
        is_for_later=last in state.runs and build_digest(subscription, facts, notified) is not None,
    )


def digest_since(
    conn: Connection, subscription: Subscription, since: datetime, *, now: datetime, stale_after: timedelta
) -> Digest | None:
    """
    Return a digest of everything recorded *since* a moment, whether it was sent or not; None when that is nothing.
    """
    subscription = _in_known_names(conn, subscription)
    last, first = outbox.last_finished_run(conn), outbox.first_run_since(conn, since)
    if last is None:
        return None
    runs = outbox.finished_runs(conn, after=None if first is None else first - 1, among={last})
    notified = NotifiedState(introduced=True)
    facts = gather(conn, subscription, runs, notified, now=now, stale_after=stale_after, since=since)
    return build_digest(subscription, facts, notified)


def _in_known_names(conn: Connection, subscription: Subscription) -> Subscription:
    """Return *subscription* with the names that the history knows, where its filter has them with other spaces."""
    names = tuple(meant_name(conn, name) for name in subscription.watch.name)
    return replace(subscription, watch=replace(subscription.watch, name=names))


def _is_quiet(conn: Connection, subscription: Subscription, state: Subscribed, notified: NotifiedState) -> bool:
    """
    Return, cheaply, whether there is nothing to send: no change, and no condition that could have begun or ended.

    What is not observed is looked up: the last run may be one of another account.
    """
    return not (
        state.runs
        or subscription.pins
        or subscription.empty
        or notified.pins
        or notified.unobserved
        or not notified.introduced
        or ENDING_KINDS.intersection(known_words(conn, "kind"))
        or digest_records.is_any_unobserved(conn)
    )


def gather(
    conn: Connection,
    subscription: Subscription,
    runs: Sequence[int],
    notified: NotifiedState,
    *,
    now: datetime,
    stale_after: timedelta,
    since: datetime | None = None,
    told: Collection[int] = (),
) -> DigestFacts:
    """
    Return the facts over *runs* (at least one), for *subscription*, which was *notified* of something before.

    Of zones where all is well and nothing happened there is nothing but their number, however many these are. The
    changes belong into the reports of these runs, but for those *told* before; with *since* they are those recorded
    since then, sent or not.
    """
    news = [run_id for run_id in runs if run_id not in told]
    changes = tuple(
        queries_changes.changes(conn, since, reported_by=None if since is not None else news, with_schema=True)
    )
    last = queries_runs.run(conn, max(runs))
    if last is None:
        raise DatabaseUnavailable(f"Run {max(runs)} is not there any more.")
    open_holds = tuple(holds.holds(conn))
    has_pins = bool(subscription.pins)
    pinned_ids = {pin.image_id for pin in subscription.pins}
    stays = tuple(stays_of(conn, pinned_ids))
    pinned_zones = _pinned_zones(subscription, stays)
    pinned = Filters(zone=tuple(sorted(pinned_zones)))
    zones = _zones_to_look_at(conn, pinned_zones, notified, changes, open_holds, now=now)
    quiet = digest_records.OtherZones()
    if zones is not None:
        quiet = digest_records.other_zones(conn, subscription.watch, but=zones)
    pinned_images = tuple(
        images.images(conn, None, pinned, now=now, stale_after=stale_after, include_retired=True)
        if pinned_zones
        else ()
    )
    names = {image.image_name for image in pinned_images if image.image_id in pinned_ids and image.image_name}
    named = Filters(name=tuple(sorted(names)))
    return DigestFacts(
        now=now,
        runs=(*(run for run in queries_runs.runs(conn, ids=runs) if run.run != last.run), last),
        changes=changes,
        status=tuple(status.status(conn, now=now) if zones is None else status.status_in(conn, zones, now=now)),
        quiet_zones=quiet.zones,
        quiet_regions=quiet.regions,
        quiet_accounts=quiet.accounts,
        holds=open_holds,
        images=pinned_images,
        withdrawals=tuple(queries_changes.changes(conn, events=("withdrawn",), filters=pinned) if pinned_zones else ()),
        successors=history_lookup.successors_of(conn, [row.id for row in changes if row.is_alone]),
        ending=tuple(_ending(conn, now, stale_after)),
        stays=stays,
        namesakes=tuple(images.images(conn, None, named, now=now, stale_after=stale_after) if names else ()),
        name_withdrawals=tuple(queries_changes.changes(conn, events=("withdrawn",), filters=named) if names else ()),
        revoked=revoked_ids(conn) if has_pins else {},
        gpu=digest_records.gpu_of(conn, _images(changes)) if subscription.watch.gpu is not None else {},
        project_names=digest_records.project_names(conn),
    )


def _ending(conn: Connection, now: datetime, stale_after: timedelta) -> Iterator[ImageRow]:
    """Yield the images that are there and end within the longest notice."""
    kinds = sorted(ENDING_KINDS.intersection(known_words(conn, "kind")))
    if kinds:
        listed = images.images(conn, None, Filters(kind=tuple(kinds)), now=now, stale_after=stale_after)
        yield from (row for row in listed if days_left(row, now) is not None)


def _pinned_zones(subscription: Subscription, stays: Iterable[Stay]) -> set[str]:
    """Return the zones of the pins: of those that say none the ones that list them, or did."""
    anywhere = {pin.image_id for pin in subscription.pins if not pin.zone}
    listing = {stay.target.zone for stay in stays if stay.image_id in anywhere}
    return listing | {pin.zone for pin in subscription.pins if pin.zone}


def _zones_to_look_at(
    conn: Connection,
    pinned_zones: Collection[str],
    notified: NotifiedState,
    changes: Sequence[ChangeRow],
    open_holds: Sequence[HoldRow],
    *,
    now: datetime,
) -> set[ZoneKey] | None:
    """Return the zones of which a digest may say more than that they were observed; None: of all."""
    before = [target_of(key) for key in notified.unobserved]
    if not notified.introduced or None in before:
        return None
    concerned = {row.target for row in changes} | {row.target for row in open_holds}
    concerned |= {target for target in before if target is not None}
    zones = {ZoneKey(target.account, target.region, target.zone) for target in concerned}
    zones |= digest_records.troubled_zones(conn, now=now)
    zones |= digest_records.zones_called(conn, pinned_zones)
    # Whether a whole project was opened or closed is told by all that the account has.
    return zones | digest_records.zones_of_accounts(conn, {row.target.account for row in changes if not row.image_id})


def _images(changes: Sequence[ChangeRow]) -> list[tuple[str, str]]:
    return [(row.image_set, row.image_id) for row in changes if row.image_set is not None and row.image_id is not None]
