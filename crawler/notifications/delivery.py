"""
Composing what is due and sending what waits: one pass over all subscriptions, and each delivery's fate.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import Connection, Engine

from crawler.client.api_options import Timing
from crawler.config.models import ReportSettings, Settings
from crawler.db import outbox, targets
from crawler.db.engine import Fence, begin, read
from crawler.db.outbox import Waiting
from crawler.db.thread import DatabaseThread
from crawler.domain.rows import Deliveries
from crawler.errors import DatabaseUnavailable
from crawler.notifications.channels.base import Channel, DeliveryRefusal, Session, TransportError
from crawler.notifications.channels.registry import channels_of
from crawler.notifications.delivery_store import Bounds, DeliveryStore, Job, digest_since, look_for_news
from crawler.notifications.models import Digest
from crawler.notifications.pinned_files import subscription_of

#: After its deadline a sender ends its last message, and has surely ended then.
MARGIN = timedelta(minutes=1)


async def send_reports(
    settings: Settings,
    engine: Engine,
    fence: Fence,
    *,
    timing: Timing,
    stop: asyncio.Event | None = None,
    run_id: int | None = None,
    is_hurried: bool = False,
    only: Collection[int] | None = None,
    has_run: bool = True,
) -> Reported:
    """
    Send what waits, and what is new after *run_id* (None: the last run); say how that went.

    With *is_hurried* nothing waits for its schedule or its next try. With *only* just these digests are tried, and
    nothing new is made. Without *has_run* the lock is that of a sender that runs nothing, not those of the accounts.
    """
    now = timing.clock()
    seconds = settings.report_deadline_seconds
    with read(engine) as conn:
        names = [account.name for account in settings.accounts]
        account_ids = targets.find_accounts(conn, names).values() if has_run else [outbox.NO_RUN]
    bounds = Bounds(
        run_id=run_id,
        account_ids=frozenset(account_ids),
        until=now + timedelta(seconds=seconds) + MARGIN,
        stale_after=settings.stale_after,
        is_hurried=is_hurried,
        only=None if only is None else frozenset(only),
    )
    with DatabaseThread() as in_thread:
        sending = Sending(
            DeliveryStore(engine, fence, timing.clock, bounds),
            channels_of(settings, timing.clock),
            in_thread,
            monotonic=timing.monotonic,
            deadline=timing.monotonic() + seconds,
            stop=stop,
        )
        return await sending.run(settings.reports)


def tell_again(settings: Settings, engine: Engine, fence: Fence, now: datetime, *, since: datetime) -> list[int]:
    """
    Compose for each report a digest of what was recorded since a moment, sent or not; return the ids of the digests.

    What the reports count as sent stays as it is. They are sent by `send_reports(…, only=ids)`.
    """
    channels = channels_of(settings, lambda: now)
    ids: list[int] = []
    for report in settings.reports:
        with read(engine) as conn:
            digest = digest_since(
                conn,
                subscription_of(report, conn, now=now, stale_after=settings.stale_after),
                since,
                now=now,
                stale_after=settings.stale_after,
            )
        if digest is None:
            continue
        digest = replace(digest, kind="again")
        channel = channels[report.route]
        message = channel.compose(digest, report.to, now, copy=f"{int(now.timestamp())}")
        with begin(engine, fence) as conn:
            digest_id = outbox.add_digest(
                conn,
                outbox.subscribe(conn, report.name),
                kind=digest.kind,
                channel=report.channel,
                runs=(digest.first_run, digest.last_run),
                message_id=message.message_id,
                subject=message.subject,
                content=message.content,
                recipients=channel.addresses(report.to),
                queued_at=now,
                now=now,
            )
        ids.append(digest_id)
    return ids


def preview(
    settings: Settings, conn: Connection, now: datetime, *, since: datetime | None = None
) -> list[tuple[ReportSettings, Digest]]:
    """Return what each report would send now, or of everything *since* a moment; those with nothing are left out."""
    found = []
    for report in settings.reports:
        subscription = subscription_of(report, conn, now=now, stale_after=settings.stale_after)
        if since is not None:
            digest = digest_since(conn, subscription, since, now=now, stale_after=settings.stale_after)
        else:
            state = outbox.subscribed(conn, report.name) or outbox.new_subscription(report.name)
            digest = look_for_news(
                conn, subscription, state, run_id=None, now=now, stale_after=settings.stale_after, is_hurried=True
            ).digest
        if digest is not None:
            found.append((report, digest))
    return found


def waiting_reports(settings: Settings, engine: Engine, clock: Callable[[], datetime], *, run_id: int) -> int:
    """Count the reports that have something to tell after *run_id*, and send nothing."""
    count = 0
    with read(engine) as conn:
        for report in settings.reports:
            state = outbox.subscribed(conn, report.name)
            if state is not None:
                news = look_for_news(
                    conn,
                    subscription_of(report, conn, now=clock(), stale_after=settings.stale_after),
                    state,
                    run_id=run_id,
                    now=clock(),
                    stale_after=settings.stale_after,
                    is_hurried=True,
                )
                count += news.digest is not None
    return count


#: How long a message in hand may take once the sender is to stop.
GRACE_SECONDS = 2.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Reported:
    """What a pass over the reports did."""

    #: Reports with news, whether they went out at once or wait for something.
    queued: int = 0
    #: Digests that everybody has now.
    sent: int = 0
    #: Digests that did not get to somebody, or could not be made.
    failed: int = 0
    #: What went wrong, one sentence each.
    problems: list[str] = field(default_factory=list)
    #: Reports that somebody has been waiting for too long.
    overdue: list[str] = field(default_factory=list)
    #: Of the problems: what they are about; and the ways that work.
    dead: dict[str, str] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    unmade: dict[str, str] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)

    @property
    def deliveries(self) -> Deliveries:
        """Return how the pass went by the route the reports go."""
        return Deliveries(
            dead=self.dead,
            alive=frozenset(self.alive - self.dead.keys()),
            refused=self.refused,
            unmade=self.unmade,
            overdue=frozenset(self.overdue),
        )

    def as_dict(self) -> dict[str, int]:
        """Return the `reports` of a run's summary."""
        return {"queued": self.queued, "sent": self.sent, "failed": self.failed}


class Sending:
    """One pass over the reports; the caller holds the locks."""

    def __init__(
        self,
        desk: DeliveryStore,
        channels: Mapping[str, Channel],
        in_thread: DatabaseThread,
        *,
        monotonic: Callable[[], float],
        deadline: float,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Take the *deadline* on the *monotonic* clock, and what ends the pass early."""
        self._desk = desk
        self._channels = channels
        self._in_thread = in_thread
        self._monotonic = monotonic
        self._deadline = deadline
        self._stop = stop or asyncio.Event()
        self._done = Reported()

    async def run(self, reports: Sequence[ReportSettings]) -> Reported:
        """Send everybody what there is to send; what cannot be sent now waits for the next pass."""
        by_route: dict[str, list[ReportSettings]] = {}
        for report in reports:
            by_route.setdefault(report.route, []).append(report)
        # A route that is slow or dead holds up no other.
        await asyncio.gather(*(self._tell_all(own) for own in by_route.values()))
        self._done.queued += len(self._desk.for_later)
        self._done.overdue = await self._in_thread(self._desk.overdue, reports, self._done.unmade)
        return self._done

    async def _tell_all(self, reports: Sequence[ReportSettings]) -> None:
        for report in reports:
            try:
                await self._tell(report)
            except DatabaseUnavailable:
                raise
            except Exception as exc:  # one report that cannot be made keeps no other from its readers
                logger.debug("report %s", report.name, exc_info=exc)
                self._done.unmade[report.name] = self._fail(
                    report.name, f"could not be made ({type(exc).__name__}: {exc})"
                )

    async def _tell(self, report: ReportSettings) -> None:
        channel = self._channels[report.route]
        addresses = channel.addresses(report.to)
        job = await self._in_thread(self._desk.open, report, addresses)
        if job is None:
            return
        try:
            blocked = await self._send_backlog(job)
            if job.digest is None:
                return
            self._done.queued += 1
            # Where nobody could be reached, what is new goes on waiting, and becomes one digest with what comes.
            if self._may_send(report.route) and not blocked.issuperset(addresses):
                new = await self._in_thread(self._desk.compose, job, channel)
                rows = [row for row in new.waiting if row.address not in blocked]
                await self._send(report, new.digest_id, new.content, rows)
        finally:
            await self._in_thread(self._desk.close, job)

    async def _send_backlog(self, job: Job) -> set[str]:
        """Try again what was not received, and give the addresses that are still not reached."""
        blocked: set[str] = set()
        now = self._desk.now()
        for digest_id, group in groupby(job.waiting, key=lambda row: row.digest_id):
            ready: list[Waiting] = []
            for row in group:
                if row.address in blocked:
                    continue
                if self._desk.is_ready(row, now):
                    ready.append(row)
                elif row.refused != "message":
                    blocked.add(row.address)
            if ready:
                content = await self._in_thread(self._desk.content_of, digest_id)
                if content is not None:
                    blocked |= await self._send(job.report, digest_id, content, ready)
        return blocked

    def _may_send(self, route: str) -> bool:
        return route not in self._done.dead and not self._stop.is_set() and self._monotonic() < self._deadline

    async def _send(self, report: ReportSettings, digest_id: int, content: bytes, rows: Sequence[Waiting]) -> set[str]:
        """Send a digest to *rows*, note how that went, and give those that have to wait with what is newer."""
        addresses = [row.address for row in rows]
        if not self._may_send(report.route):
            return set(addresses)
        async with AsyncExitStack() as stack:
            try:
                refusals = await self._hand_over(stack, self._channels[report.route], content, addresses)
            except TransportError as exc:
                refusals = dict.fromkeys(addresses, exc.refusal)
            is_complete = await self._in_thread(self._desk.record, digest_id, rows, refusals)
        if is_complete:
            self._done.sent += 1
        sentence = self._fail(report.name, _told(refusals)) if refusals else ""
        if any(refusal.scope == "channel" for refusal in refusals.values()):
            self._done.dead.setdefault(report.route, sentence)
        else:
            self._done.alive.add(report.route)
            self._done.refused.update(
                ((report.name, address), f"report {report.name}: {_told({address: refusal})}")
                for address, refusal in refusals.items()
            )
        return {address for address, refusal in refusals.items() if refusal.scope != "message" or not refusal.permanent}

    async def _hand_over(
        self, stack: AsyncExitStack, channel: Channel, content: bytes, addresses: Sequence[str]
    ) -> Mapping[str, DeliveryRefusal]:
        """Send within what is left of the time; the connection stays open until *stack* is left."""

        async def send() -> Mapping[str, DeliveryRefusal]:
            session: Session = await stack.enter_async_context(channel.session())
            return await session.send(content, addresses)

        sending = asyncio.create_task(send())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            left = max(0.0, self._deadline - self._monotonic())
            await asyncio.wait({sending, stopped}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and self._stop.is_set():
                await asyncio.wait({sending}, timeout=GRACE_SECONDS)
            if sending.done():
                return sending.result()
            raise TransportError("the time for sending reports was over")
        finally:
            for task in (sending, stopped):
                task.cancel()
            await asyncio.gather(sending, stopped, return_exceptions=True)

    def _fail(self, name: str, what: str) -> str:
        sentence = f"report {name}: {what}"
        self._done.failed += 1
        self._done.problems.append(sentence)
        return sentence


def _told(refusals: Mapping[str, DeliveryRefusal]) -> str:
    """Say who did not get a digest and why, each reason once."""
    by_reason: dict[DeliveryRefusal, list[str]] = {}
    for address, refusal in refusals.items():
        by_reason.setdefault(refusal, []).append(address)
    return "; ".join(
        f"{'refused' if refusal.permanent else 'not delivered'} to {', '.join(addresses)}: {refusal.message}"
        for refusal, addresses in by_reason.items()
    )
