"""
The order of the steps of a run, and nothing else: open, survey, plan, observe, finish; then, report.

`surveying` tells what there is to ask; in `observing` the event loop asks and one database thread decides and writes;
what an answer means is thought in pure rooms (`judging`). What is to be told is queued when the run finishes, and
`reporting` sends it. The caller holds the locks (`store.lock`) and owns the clock,
the sleep and the randomness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ParamSpec, TypeVar

from sqlalchemy import Engine

from crawler.errors import DatabaseUnavailable, EmptySelection, ExitCode
from crawler.fetch import ApiClient, Endpoint, FetchCounts, FetchOptions, Timing
from crawler.guard import GuardPolicy
from crawler.judging import PureJudge
from crawler.model import Catalog, RunStatus, Target
from crawler.observing import BATCH, Observing, Progress
from crawler.records import RunSummary
from crawler.settings import AccountSettings, Settings
from crawler.store import ledger, outbox, reader, roster
from crawler.store.engine import Fence, begin, read
from crawler.store.migrate import schema_state
from crawler.store.writer import Recorder
from crawler.surveying import Survey, survey_all
from crawler.targets import (
    KnownTarget,
    Reconciliation,
    Selection,
    reconcile,
    unique_numbers,
)

Connect = Callable[[AccountSettings, Timing], ApiClient]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run did, and the exit code that says so."""

    summary: RunSummary
    exit_code: ExitCode
    #: What went wrong with its reports, one sentence each.
    report_problems: tuple[str, ...] = ()
    #: Requests per second that each account's throttle allowed at the end.
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the database knows of one account before the run."""

    account_id: int
    catalog: Catalog | None
    targets: tuple[KnownTarget, ...]
    zone_numbers: Mapping[int, str]


NO_PAST = Past(account_id=0, catalog=None, targets=(), zone_numbers={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run that has begun."""

    run_id: int
    targets: Mapping[Target, ledger.PlannedTarget]
    unlisted: frozenset[Target]
    notices: tuple[str, ...]


def connect(account: AccountSettings, timing: Timing) -> ApiClient:
    """Give the client of *account*."""
    limits = account.limits
    return ApiClient(
        Endpoint(
            url=account.endpoint,
            public_key=account.public_key,
            private_key=account.private_key.reveal(),
            headers=account.headers,
        ),
        FetchOptions(
            rate=limits.rate,
            period_seconds=limits.period_seconds,
            concurrency=limits.concurrency,
            attempts=limits.attempts,
            timeout_seconds=limits.timeout_seconds,
        ),
        timing=timing,
    )


async def crawl(
    settings: Settings,
    engine: Engine,
    fence: Fence,
    *,
    timing: Timing,
    stop: asyncio.Event | None = None,
    restriction: Selection | None = None,
    progress: Progress | None = None,
    connect: Connect = connect,
    batch: int = BATCH,
    begun: Callable[[int], None] | None = None,
) -> RunResult:
    """
    Observe every selected target of every account once, and record what was seen.

    *stop*, once set, ends the run cleanly: what was answered is recorded, the rest is skipped. *restriction* narrows
    the run, *batch* is how many targets are written in one transaction, *begun* is told the run's number. Raises
    EmptySelection when nothing is selected, ClockWentBackwards and DatabaseUnavailable.
    """
    started_at = timing.clock()
    started = timing.monotonic()
    accounts = {account.name: account for account in settings.accounts}
    async with AsyncExitStack() as stack:
        thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="database"))

        async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
            return await asyncio.get_running_loop().run_in_executor(thread, lambda: work(*args, **kwargs))

        past = await in_thread(_open, settings, engine, fence, started_at)
        clients = {
            name: await stack.enter_async_context(connect(account, timing)) for name, account in accounts.items()
        }
        deadlines = {name: started + account.limits.run_deadline_seconds for name, account in accounts.items()}
        surveys = await survey_all(accounts, clients, _last(past), deadlines, stop)
        plan = await in_thread(_begin, settings, engine, fence, past, surveys, restriction, started_at, timing.clock)
        if begun is not None:
            begun(plan.run_id)
        recorder = Recorder(
            engine,
            fence,
            plan.run_id,
            plan.targets,
            PureJudge(_guard_policy(settings)),
            timing.clock,
            unlisted=plan.unlisted,
            zone_numbers={entry.account_id: entry.zone_numbers for entry in past.values()},
            catalog_numbers=_catalog_numbers(past, surveys),
        )
        observing = Observing(recorder, plan.targets, accounts, clients, in_thread, progress=progress, batch=batch)
        await observing.run(
            deadlines=deadlines,
            stop=stop,
            refused={name: survey.refused for name, survey in surveys.items() if survey.refused},
        )
        summary = await in_thread(_finish, settings, engine, past, plan, recorder, surveys, clients)
    refused = {name for name, survey in surveys.items() if survey.refused} | observing.refused
    return RunResult(
        summary=summary,
        exit_code=_exit_code(summary, all_refused=refused == accounts.keys()),
        rates={name: client.throttle.rate / client.throttle.period for name, client in clients.items()},
    )


async def report(
    settings: Settings,
    engine: Engine,
    fence: Fence,
    result: RunResult,
    *,
    timing: Timing,
    stop: asyncio.Event | None = None,
    send: bool = True,
) -> RunResult:
    """
    Tell the subscriptions what is new after the run of *result*, and give the result with how that went.

    Without *send* everything goes on waiting. *stop*, once set, leaves the rest for the next run. Raises
    DatabaseUnavailable; a report that cannot be delivered is no error but an exit code, once it is overdue.
    """
    if not settings.reports:
        return result
    from crawler.reporting.passes import send_reports, waiting_reports

    if not send:
        queued = waiting_reports(settings, engine, timing.clock, run_id=result.summary.run)
        return replace(result, summary=replace(result.summary, reports={"queued": queued, "sent": 0, "failed": 0}))
    done = await send_reports(settings, engine, fence, timing=timing, stop=stop, run_id=result.summary.run)
    is_overdue = done.overdue and result.exit_code == ExitCode.DONE
    return replace(
        result,
        summary=replace(result.summary, reports=done.as_dict()),
        exit_code=ExitCode.UNDELIVERED if is_overdue else result.exit_code,
        report_problems=tuple(done.problems),
    )


def _guard_policy(settings: Settings) -> GuardPolicy:
    chosen = settings.guard
    return GuardPolicy(ratio=chosen.ratio, min_images=chosen.min_images, confirmations=chosen.confirmations)


def _last(past: Mapping[str, Past]) -> dict[str, Catalog | None]:
    return {name: entry.catalog for name, entry in past.items()}


async def preview(
    settings: Settings,
    engine: Engine | None,
    *,
    timing: Timing,
    restriction: Selection | None = None,
    offline: bool = False,
    connect: Connect = connect,
) -> tuple[list[Target], list[str]]:
    """
    Give the targets a run would ask now, and the notices.

    Asks no more than discovery, and nothing at all when *offline*: then the last catalog speaks. Writes nothing.
    *engine* is None where there is no history yet.
    """
    accounts = {account.name: account for account in settings.accounts}
    past = dict.fromkeys(accounts, NO_PAST)
    if engine is not None and schema_state(engine).name == "current":
        with read(engine) as conn:
            known = roster.find_accounts(conn, accounts)
            for name, account_id in known.items():
                past[name] = Past(
                    account_id=account_id,
                    catalog=roster.last_catalog(conn, account_id),
                    targets=tuple(roster.known_targets(conn, account_id)),
                    zone_numbers={},
                )
    if offline:
        surveys = {
            name: Survey(catalog=past[name].catalog, is_good=False, notices=(f"{name}: from the last catalog",))
            for name in accounts
        }
    else:
        async with AsyncExitStack() as stack:
            clients = {
                name: await stack.enter_async_context(connect(account, timing)) for name, account in accounts.items()
            }
            deadlines = {
                name: timing.monotonic() + account.limits.run_deadline_seconds for name, account in accounts.items()
            }
            surveys = await survey_all(accounts, clients, _last(past), deadlines, None)
    found = _reconcile_all(settings, past, surveys, restriction)
    notices = [notice for survey in surveys.values() for notice in survey.notices]
    return sorted(target for rec in found.values() for target in rec.asked), notices


# --- open: what the database knows ---------------------------------------------------------------------------------


def _open(settings: Settings, engine: Engine, fence: Fence, now: datetime) -> dict[str, Past]:
    with begin(engine, fence) as conn:
        ids = roster.account_ids(conn, {account.name: account.endpoint for account in settings.accounts})
        ledger.recover(conn, ids.values(), now)
        ledger.save_setting(conn, "stale_after_seconds", str(int(settings.stale_after.total_seconds())))
        for account in settings.accounts:
            source = str(settings.source or "configuration")
            roster.check_variants(conn, ids[account.name], account.variants, source=source)
        return {
            name: Past(
                account_id=account_id,
                catalog=roster.last_catalog(conn, account_id),
                targets=tuple(roster.known_targets(conn, account_id)),
                zone_numbers=roster.zone_numbers(conn, account_id),
            )
            for name, account_id in ids.items()
        }


# --- plan: the targets of the run ----------------------------------------------------------------------------------


def _reconcile_all(
    settings: Settings, past: Mapping[str, Past], surveys: Mapping[str, Survey], restriction: Selection | None
) -> dict[str, Reconciliation]:
    """Give what each account's catalog means; raise EmptySelection when there are catalogs and none has a target."""
    found = {}
    for account in settings.accounts:
        survey, known = surveys[account.name], past[account.name]
        found[account.name] = reconcile(
            survey.catalog or Catalog(projects=(), places=()),
            account.selection(),
            known.targets,
            previous=known.catalog,
            is_good=survey.is_good,
            restricted_to=restriction,
        )
    if not any(rec.asked for rec in found.values()) and all(survey.catalog for survey in surveys.values()):
        narrowed = "on the command line " if restriction else "of the configuration "
        raise EmptySelection(
            f"The selection {narrowed}matches none of the targets in the catalog; "
            "`crawler run --dry-run` without restrictions lists them."
        )
    return found


def _begin(
    settings: Settings,
    engine: Engine,
    fence: Fence,
    past: Mapping[str, Past],
    surveys: Mapping[str, Survey],
    restriction: Selection | None,
    now: datetime,
    clock: Callable[[], datetime],
) -> Plan:
    found = _reconcile_all(settings, past, surveys, restriction)
    with begin(engine, fence) as conn:
        target_ids: set[int] = set()
        for name, rec in found.items():
            known = {entry.target: entry.target_id for entry in past[name].targets}
            known |= roster.add_targets(conn, past[name].account_id, rec.new)
            target_ids.update(known[target] for target in rec.asked)
        run_id = ledger.begin_run(
            conn,
            started_at=now,
            account_ids=[entry.account_id for entry in past.values()],
            target_ids=target_ids,
            restricted=restriction is not None,
        )
        for name, rec in found.items():
            roster.apply_reconciliation(conn, past[name].account_id, rec, run_id, now, recorded_at=clock())
            survey = surveys[name]
            # A restricted run leaves the catalog alone: a list that shrank would look normal to the next run.
            is_first = past[name].catalog is None
            if survey.is_good and survey.catalog is not None and (restriction is None or is_first):
                roster.save_catalog(conn, past[name].account_id, survey.catalog, now)
        planned = ledger.plan(conn, target_ids)
    return Plan(
        run_id=run_id,
        targets={entry.target: entry for entry in planned},
        unlisted=frozenset().union(*(rec.unlisted for rec in found.values())),
        notices=tuple(notice for rec in found.values() for notice in rec.notices),
    )


def _catalog_numbers(past: Mapping[str, Past], surveys: Mapping[str, Survey]) -> dict[int, dict[int, str]]:
    return {
        past[name].account_id: {number: zone for zone, number in unique_numbers(survey.catalog).items()}
        for name, survey in surveys.items()
        if survey.catalog is not None
    }


# --- finish --------------------------------------------------------------------------------------------------------


def _finish(
    settings: Settings,
    engine: Engine,
    past: Mapping[str, Past],
    plan: Plan,
    recorder: Recorder,
    surveys: Mapping[str, Survey],
    clients: Mapping[str, ApiClient],
) -> RunSummary:
    sent = sum((client.counts for client in clients.values()), start=FetchCounts())
    has_gaps = any(survey.catalog is None or survey.refused for survey in surveys.values())
    recorder.finish(
        lambda counters: _status(counters, has_gaps=has_gaps),
        {"sent": sent.sent, "retried": sent.retried, "throttled": sent.throttled},
        [*(notice for survey in surveys.values() for notice in survey.notices), *plan.notices],
        afterwards=lambda conn, finished_at: outbox.take_up(
            conn,
            plan.run_id,
            [entry.account_id for entry in past.values()],
            [report.name for report in settings.reports],
            finished_at,
        ),
    )
    with read(engine) as conn:
        summary = reader.run(conn, plan.run_id)
    if summary is None:
        raise DatabaseUnavailable(f"Run {plan.run_id} was finished and is not there any more.")
    return summary


def _status(counters: Mapping[str, int], *, has_gaps: bool) -> RunStatus:
    if not counters["ok"] + counters["held"]:
        return "failed"
    troubled = counters["held"] + counters["failed"] + counters["skipped"]
    return "incomplete" if troubled or has_gaps else "complete"


def _exit_code(summary: RunSummary, *, all_refused: bool) -> ExitCode:
    if all_refused:
        return ExitCode.CREDENTIALS
    if summary.status == "failed":
        return ExitCode.NOTHING_OBSERVED
    return ExitCode.INCOMPLETE if summary.status == "incomplete" else ExitCode.DONE
