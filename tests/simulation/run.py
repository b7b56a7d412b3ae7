"""
Runs the real pipeline over a model cloud, plan by plan; the oracle and the truth judge what it wrote.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from crawler.client.api_options import Endpoint, FetchOptions, Timing
from crawler.config.models import AccountSettings, Limits
from crawler.crawl.run import RunResult, crawl
from crawler.db.engine import read
from crawler.domain.rows import ChangeRow, RunSummary
from crawler.domain.targets import Selection
from crawler.errors import EmptySelection
from crawler.queries import changes as queries_changes
from crawler.queries import holds, images, runs
from tests.simulation.answers import oracle_rows, product_rows
from tests.simulation.checks import Tally, Truth, as_plain, by_spot, check_summary, plain, spot_of
from tests.simulation.cloud import Cloud, ModelClient, Said, Witness
from tests.simulation.expected_knowledge import STALE_AFTER
from tests.simulation.expected_log import EVENTS
from tests.simulation.ledger import Killed, Ledger
from tests.simulation.lies import Lie
from tests.simulation.model import Key, Model, Spot, region_of
from tests.simulation.oracle import Oracle, Wish
from tests.simulation.past import Ran
from tests.simulation.time_travel import TimeTravel
from tests.simulation.world import Plan
from tests.support.crawling import account_at, settings_for

START = datetime(2026, 1, 1, tzinfo=UTC)


class Simulation:
    """One model cloud, one database, and what is known between them."""

    def __init__(self, engine: Engine, model: Model | None = None, *, seed: int = 0) -> None:
        self.engine = engine
        self.model = model or Model()
        self.oracle = Oracle()
        self.tally = Tally()
        self.trace: list[str] = []
        #: Moments at which something began, ended or was answered.
        self.moments: list[datetime] = [START]
        self._rng = random.Random(f"wire {seed}")
        self._loop = TimeTravel(random.Random(f"database {seed}"))
        self._checked_changes = 0
        self._truth = Truth()

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def clock(self) -> datetime:
        """Return the time."""
        return START + timedelta(seconds=self._loop.time())

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._loop.advance(seconds)

    def timing(self) -> Timing:
        """Return time as the pipeline takes it."""
        return Timing(clock=self.clock, monotonic=self._loop.time, sleep=asyncio.sleep, uniform=self._rng.uniform)

    def account(self) -> AccountSettings:
        """Return the account as the configuration has it, before a plan narrows it."""
        return account_at("http://cloud.invalid/", limits=Limits(rate=200, concurrency=8))

    def client(self, account: AccountSettings, timing: Timing, cloud: Cloud) -> Witness:
        """Return a client whose transport is the model."""
        return ModelClient(*client_options(account), timing=timing).observed_by(cloud)

    def play(self, crawling: Coroutine[Any, Any, RunResult], cloud: Cloud) -> RunResult:
        """Run to the end."""
        return self._loop.run_until_complete(crawling)

    # --- a run -------------------------------------------------------------------------------------------------------

    def run(self, plan: Plan | None = None) -> RunSummary | None:
        """Let time pass and run once; check everything that can be known of the run. None: it did not end."""
        plan = plan or Plan()
        self.advance(plan.gap_seconds)
        plan = self._without_hidden_lies(plan)
        cloud = Cloud(self.model, self._rng, plan.faults, plan.lies)
        ledger = Ledger(self.clock, plan.dies_at)
        started_at = self.clock()
        self.trace.append(f"{started_at:%m-%d %H:%M} {'; '.join(plan.notes)} {_told(plan)}".rstrip())
        result = self._crawl(plan, cloud, ledger)
        self.moments += [started_at, *(at for at, _ in ledger.written), *(said.at for said in cloud.log)]
        if isinstance(result, RunResult):
            started_at = result.summary.started_at
            self.moments.append(result.summary.finished_at or started_at)
        self._judge(plan, cloud.log, ledger, started_at, result)
        self.tally.runs += 1
        return result.summary if isinstance(result, RunResult) else None

    def _without_hidden_lies(self, plan: Plan) -> Plan:
        """
        Leave out the odd lies that do not show here and now.

        Such is a page of a longer list where the last good answer counted as many too many. Plain lies stay: what they
        make of the history is what everybody had to believe. Only a first answer has to tell how this cloud counts.
        """
        cloud = Cloud(self.model, self._rng, (), {})
        kept = []
        for fault in plan.faults:
            lie = plan.lies.get(id(fault))
            if lie is None or (
                self._is_plain(fault.zone, lie)
                if lie.mark == "plain"
                else self._is_visible(cloud, plan, fault.zone, lie)
            ):
                kept.append(fault)
        return replace(plan, faults=tuple(kept))

    def _is_plain(self, zone: str, lie: Lie) -> bool:
        seen = [past.good is not None for spot, past in self.oracle.pasts.items() if spot.zone == zone]
        return lie.is_mannered or not self.model.excess or (all(seen) and len(seen) >= len(self.model.projects))

    def _is_visible(self, cloud: Cloud, plan: Plan, zone: str, lie: Lie) -> bool:
        if plan.meanwhile or (lie.count and "duplicate-records" in self.model.quirks):
            return False
        pasts = [past for spot, past in self.oracle.pasts.items() if spot.zone == zone]
        spots = {spot for spot in self.oracle.pasts if spot.zone == zone}
        spots |= {Spot(project, region_of(zone), zone) for project in self.model.projects}
        if lie.neighbour and not (
            lie.neighbour in self.oracle.numbered
            and len(pasts) == len(spots)
            and all(past.open_spans for past in pasts)
            and all(fault.action == "DescribeUK8SImage" for fault in plan.faults)
        ):
            return False
        return all(self.oracle.sees_through(spot, cloud.said_about(spot, lie)) for spot in spots)

    def _crawl(self, plan: Plan, cloud: Cloud, ledger: Ledger) -> RunResult | BaseException:
        base = self.account()
        account = replace(
            base,
            limits=replace(base.limits, run_deadline_seconds=plan.deadline_seconds),
            **{f"{part}s": tuple(globs) for part, globs in plan.wish.items()},  # type: ignore[arg-type]
        )
        settings = settings_for("sqlite://", account, stale_after=STALE_AFTER)

        async def go() -> RunResult:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            task = asyncio.current_task()
            assert task is not None
            timers = [
                loop.call_later(seconds, action)
                for seconds, action in (
                    (plan.stopped_after, stop.set),
                    (plan.cancelled_after, task.cancel),
                    *((seconds, self._meanwhile(event, cloud)) for seconds, event in plan.meanwhile),
                )
                if seconds is not None
            ]
            try:
                return await crawl(
                    settings,
                    self.engine,
                    ledger,
                    timing=self.timing(),
                    stop=stop,
                    restriction=_restriction(plan.restriction),
                    progress=ledger.progress,
                    connect=lambda account, timing: self.client(account, timing, cloud),
                    batch=plan.batch,
                )
            finally:
                for timer in timers:
                    timer.cancel()

        try:
            return self.play(go(), cloud)
        except (Killed, asyncio.CancelledError, EmptySelection) as end:
            return end

    def _meanwhile(self, event: Any, cloud: Cloud) -> Any:
        def happen() -> None:
            self.trace.append(f"      meanwhile: {event()}")
            cloud.changed()

        return happen

    # --- what it has to have written ---------------------------------------------------------------------------------

    def _judge(
        self,
        plan: Plan,
        log: Sequence[Said],
        ledger: Ledger,
        started_at: datetime,
        result: RunResult | BaseException,
    ) -> None:
        written = ledger.written
        if not written:
            return
        self.oracle.started()
        answers = by_spot(log)
        if len(written) == 1 and not isinstance(result, EmptySelection):
            assert not answers, "asked before the run was begun"
            return
        discovery = [said for said in log if said.question.action != "DescribeUK8SImage"]
        asked, may_ask = self.oracle.planned(discovery, started_at, wish=plan.wish, restriction=plan.restriction)
        if isinstance(result, EmptySelection) or (not asked and not isinstance(result, RunResult)):
            # (The process may have been cancelled before it could say so.)
            assert not asked, f"the selection was said to be empty, and is {sorted(asked)}"
            self.trace.append("      -> empty selection")
            return
        assert answers.keys() <= asked, f"asked without need: {sorted(answers.keys() - asked)}"
        assert may_ask or not answers, "asked although the credentials were refused"
        summary = self._summary(result)
        reached = asked if isinstance(result, RunResult) else written[-1][1]
        assert reached <= asked, f"not to be asked: {sorted(reached - asked)}"
        is_stopped = any(said.meaning == "credential" for said in log)
        if not is_stopped and not plan.is_troubled and isinstance(result, RunResult):
            self._check_second_looks(answers)
        ran = self.oracle.observed(
            answers, reached, started_at, planned=len(asked), is_restricted=plan.restriction is not None
        )
        outcomes = ran.outcomes
        self.tally.outcomes.update(outcomes.values())
        self.tally.lies.update(said.heard.way for said in log if said.heard.way)
        self.trace.append(f"      -> {dict(Counter(outcomes.values()))} {'' if summary else repr(result)}")
        if summary is None:
            self.tally.deaths += 1
            ran.died_at = written[-1][0] if len(written) > 2 else started_at
        else:
            assert summary.finished_at is not None
            self.oracle.finished(ran, summary.finished_at)
            check_summary(summary, outcomes)
            if not plan.is_troubled and not plan.faults:
                ran.calls = tuple(said.meaning for said in log)
        self._date(ran, ledger)
        recorded = self._check_changes(started_at, summary)
        self._truth.check({spot: answers.get(spot, []) for spot in reached}, recorded, self.tally)

    def _summary(self, result: RunResult | BaseException) -> RunSummary | None:
        """Return the summary of a run that ended, also when its process was cancelled after that."""
        if isinstance(result, RunResult):
            return result.summary
        with read(self.engine) as conn:
            last = next(iter(runs.runs(conn, 1)))
            return runs.run(conn, last.run) if last.finished_at is not None else None

    def _check_second_looks(self, answers: Mapping[Spot, Sequence[Said]]) -> None:
        """A target is asked again exactly when its answer lacks too much, and its region answers at all."""
        silent = {spot.region for spot, said in answers.items() if any(one.meaning == "transient" for one in said)}
        for spot, said in answers.items():
            good = [one.meaning == "good" and not self.oracle.is_refused(spot, one) for one in said]
            first = good.index(True) if any(good) else None
            if first is None:
                continue
            is_wanted = self.oracle.wants_second_look(spot, said[first])
            is_done = len(said) > first + 1
            assert is_done <= is_wanted, f"{spot} was asked again without need"
            assert is_done or not is_wanted or spot.region in silent, f"{spot} was not asked again"

    def _date(self, ran: Ran, ledger: Ledger) -> None:
        """Note of what has to be recorded which run wrote it, and when."""
        changes = self.oracle.changes
        for place in range(self._checked_changes, len(changes)):
            change = changes[place]
            changes[place] = replace(change, run=ran.number, recorded_at=ledger.written_at(change))

    def _check_changes(self, started_at: datetime, summary: RunSummary | None) -> list[ChangeRow]:
        """Compare what the run recorded with what had to be recorded."""
        expected = self.oracle.changes[self._checked_changes :]
        if summary is not None and not expected and not any(summary.changes.values()):
            return []
        self._checked_changes = len(self.oracle.changes)
        with read(self.engine) as conn:
            recorded = list(queries_changes.changes(conn, since=started_at, events=EVENTS))
        mine = Counter(map(as_plain, recorded))
        theirs = Counter(plain(change) for change in expected)
        assert mine == theirs, f"recorded without cause: {list(mine - theirs)}; not recorded: {list(theirs - mine)}"
        floors = {plain(change): change.floor for change in expected}
        for row in recorded:
            floor = floors[as_plain(row)]
            assert (row.not_before is None) == (floor is None), f"not_before of {row}"
            assert floor is None or (row.not_before is not None and floor[0] <= row.not_before <= floor[1]), f"{row}"
            assert row.recorded_at >= row.observed_at
            self.tally.changes[row.event] += 1
            self.trace.append(f"      {row.event} {row.target.project}/{row.target.zone} {row.image_id or ''}")
        return recorded

    def check_holds(self) -> None:
        """Compare every hold there was: where, of what, since when, how it ended."""
        with read(self.engine) as conn:
            rows = holds.holds(conn, include_resolved=True)
            assert len(list(queries_changes.changes(conn, events=EVENTS))) == len(self.oracle.changes), (
                "runs said less than they recorded"
            )
        mine = Counter(
            (spot_of(row.target), Key(*image[:2]), row.held_at, row.status) for row in rows for image in row.images
        )
        theirs = Counter(
            (spot, key, doubt.held_at, doubt.status)
            for spot, past in self.oracle.pasts.items()
            for doubt in past.doubts
            for key in doubt.keys
        )
        assert mine == theirs, _difference(self.clock(), mine, theirs)
        self.tally.holds.update(row.status for row in rows)

    # --- questions ---------------------------------------------------------------------------------------------------

    def ask(self, at: datetime, *, include_retired: bool = True) -> int:
        """Ask the product and the oracle what was available at *at*; give the number of rows, which agree."""
        with read(self.engine) as conn:
            rows = list(
                images.images(conn, at, now=self.clock(), stale_after=STALE_AFTER, include_retired=include_retired)
            )
        mine = product_rows(rows)
        theirs = oracle_rows(self.oracle, at, stale_after=STALE_AFTER, include_retired=include_retired)
        assert len(rows) == len(mine), "a row came twice"
        assert mine == theirs, _difference(at, mine, theirs)
        self.tally.questions += 1
        self.tally.rows += len(rows)
        self.tally.reasons.update(row.reason or "present" for row in rows)
        return len(rows)

    def ask_anything(self, rng: random.Random) -> None:
        """Ask about a random moment: anywhere, at a boundary, beside one, when it grows stale, before the beginning."""
        moment = rng.choice(self.moments)
        match rng.randrange(8):
            case 0:
                moment += timedelta(microseconds=rng.choice((-1, 1)))
            case 1:
                moment += timedelta(seconds=rng.uniform(-100_000, 100_000))
            case 2:
                moment = rng.choice(self.moments[-20:])
            case 3:
                moment += STALE_AFTER + timedelta(microseconds=rng.choice((-1, 0, 1)))
            case 4:
                moment = START - timedelta(days=rng.randrange(3)) if rng.random() < 0.2 else self.clock()
        self.ask(moment, include_retired=rng.random() < 0.7)


def client_options(account: AccountSettings) -> tuple[Endpoint, FetchOptions]:
    """Return what a client of *account* is made of."""
    limits = account.limits
    endpoint = Endpoint(url=account.endpoint, public_key=account.public_key, private_key=account.private_key.reveal())
    options = FetchOptions(
        rate=limits.rate,
        period_seconds=limits.period_seconds,
        concurrency=limits.concurrency,
        attempts=limits.attempts,
        timeout_seconds=limits.timeout_seconds,
    )
    return endpoint, options


def _restriction(wish: Wish | None) -> Selection | None:
    if wish is None:
        return None
    parts: dict[str, Any] = {f"{part}s": tuple(globs) for part, globs in wish.items()}
    return Selection(account="", **parts)


def _difference(at: datetime, mine: Collection[Any], theirs: Collection[Any]) -> str:
    only_mine = "\n  ".join(sorted(map(str, set(mine) - set(theirs))))
    only_theirs = "\n  ".join(sorted(map(str, set(theirs) - set(mine))))
    return f"at {at.isoformat()}\n the product says\n  {only_mine}\n the oracle says\n  {only_theirs}"


def _told(plan: Plan) -> str:
    parts = [
        f"{fault.effect}{fault.ret_code or ''} {fault.action} {fault.project}/{fault.zone}"
        + (f" ({plan.lies[id(fault)].way})" if id(fault) in plan.lies else "")
        for fault in plan.faults
    ]
    for name in ("restriction", "dies_at", "cancelled_after", "stopped_after"):
        if getattr(plan, name) is not None:
            parts.append(f"{name}={getattr(plan, name)}")
    return f"[{'; '.join(parts)}]" if parts else ""
