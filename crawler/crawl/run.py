"""
The order of the steps of a run, and nothing else: look back, survey, begin, observe, finish; then, report.

`catalog` says what there is to ask, `plan` what of it is asked; in `worker` the event loop asks and one database
thread decides and writes, with the pure rules of `domain` (`recorder`, `reply_reader`). What is to be sent is noted
when the run finishes, and `notifications.delivery` sends it. The caller holds the locks (`db.locks`) and owns the
clock, the sleep and the randomness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Engine

from crawler.client.api import ApiClient
from crawler.client.api_options import Endpoint, FetchCounts, FetchOptions, Timing
from crawler.client.throttle import Throttle
from crawler.config.models import AccountSettings, Settings
from crawler.crawl.catalog import Survey, survey_all
from crawler.crawl.crosscheck import CrossCheck
from crawler.crawl.plan import (
    NO_PAST,
    AccountPast,
    NotAsked,
    Plan,
    begin_run,
    catalog_numbers,
    has_begun,
    load_assigned,
    load_sold_by,
    look_back,
    matrices,
    matrix_notice,
    reconcile_all,
    require_any,
    require_unchanged_variants,
    selection_notices,
    take_turns,
)
from crawler.crawl.recorder import BATCH, Progress, Recorder
from crawler.crawl.reply_reader import Judge
from crawler.crawl.shared_rates import shared_here
from crawler.crawl.worker import Worker
from crawler.db import outbox, runs
from crawler.db import targets as db_targets
from crawler.db.engine import Fence, begin, is_sqlite, read
from crawler.db.migrations import mismatch, schema_state
from crawler.db.thread import DatabaseThread
from crawler.domain.guard import GuardPolicy
from crawler.domain.kinds import KINDS
from crawler.domain.matrix import OfferedMatrix, Rotation
from crawler.domain.models import Catalog, RunStatus, Target
from crawler.domain.rows import NO_REPORTS, Deliveries, Notice, RunSummary
from crawler.domain.targets import KnownTarget, Selection
from crawler.errors import DatabaseUnavailable, ExitCode, SchemaMismatch
from crawler.queries import runs as queries_runs

Connect = Callable[[AccountSettings, Timing], ApiClient]
#: What paces an account, given the throttle that its client has of its own.
ThrottleOf = Callable[[AccountSettings, Throttle], Throttle]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run did, and the exit code that says so."""

    summary: RunSummary
    exit_code: ExitCode
    #: What was noticed of its accounts, and the targets whose answers were read and believed.
    noticed: tuple[Notice, ...] = ()
    read_targets: frozenset[Target] = frozenset()
    #: The accounts whose lists did not come as a whole: of the words of their selections nothing new is known.
    unlisted: frozenset[str] = frozenset()
    #: What went wrong with its reports, one sentence each.
    report_problems: tuple[str, ...] = ()
    #: How the reports went by the way they go; None: none was to be sent.
    deliveries: Deliveries | None = None
    #: Requests per second that each account's throttle allowed at the end.
    rates: Mapping[str, float] = field(default_factory=dict)


def connect(account: AccountSettings, timing: Timing) -> ApiClient:
    """Return the client of *account*."""
    limits = account.limits
    return ApiClient(
        Endpoint(
            url=account.endpoint,
            public_key=account.public_key,
            private_key=account.private_key.reveal(),
            headers=account.headers,
            ca_file=str(account.ca_file) if account.ca_file is not None else None,
            proxy=account.proxy,
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


def own_throttle(account: AccountSettings, throttle: Throttle) -> Throttle:
    """Return *throttle*, the own one of the client of *account*."""
    return throttle


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
    notices: Sequence[Notice] = (),
    throttle: ThrottleOf = own_throttle,
    tick: Callable[[datetime], datetime] | None = None,
) -> RunResult:
    """
    Observe every selected target of every account once, and record what was seen.

    *stop*, once set, ends the run cleanly: what was answered is recorded, the rest is skipped. *restriction* narrows
    the run, *batch* is how many targets are written in one transaction, *begun* gets the run's number, *notices* are
    the caller's own; *throttle* says what paces an account, *tick* which tick of a fleet a run is made for that begins
    at a moment. Raises EmptySelection when nothing is selected, ClockWentBackwards and DatabaseUnavailable.
    """
    started_at = timing.clock()
    of_tick = tick(started_at) if tick is not None else None
    started = timing.monotonic()
    accounts = {account.name: account for account in settings.accounts}
    async with AsyncExitStack() as stack:
        in_thread = stack.enter_context(DatabaseThread())
        past = await in_thread(look_back, settings, engine, fence, started_at)
        clients = {
            name: await stack.enter_async_context(connect(account, timing)) for name, account in accounts.items()
        }
        for name, account in accounts.items():
            clients[name].throttle = throttle(account, clients[name].throttle)
        deadlines = {name: started + account.limits.run_deadline_seconds for name, account in accounts.items()}
        surveys = await survey_all(accounts, clients, _last(past), deadlines, stop, _sold_by(past))
        plan = await in_thread(
            begin_run, settings, engine, fence, past, surveys, restriction, started_at, timing.clock, of_tick
        )
        if begun is not None:
            begun(plan.run_id)
        judge = judge_of(settings)
        recorder = Recorder(
            engine,
            fence,
            plan.run_id,
            plan.targets,
            judge,
            timing.clock,
            unlisted=plan.unlisted,
            zone_numbers={entry.account_id: entry.zone_numbers for entry in past.values()},
            catalog_numbers=catalog_numbers(past, surveys),
            batch=batch,
            progress=progress,
        )
        left_out = {**plan.left_out, **_refused(surveys)}
        observing = Worker(recorder, plan.targets, accounts, clients, in_thread, plan.variants, batch=batch)
        await observing.run(
            deadlines=deadlines,
            stop=stop,
            left_out=left_out,
        )
        checked: list[Notice] = []
        if restriction is None:
            checks = CrossCheck(engine=engine, fence=fence, judge=judge, planned=plan.targets, in_thread=in_thread)
            for name, account in accounts.items():
                is_open = name not in left_out and name not in observing.refused
                if stop is not None and stop.is_set():
                    break  # the next run has the check
                if account.crosscheck == "daily" and is_open:
                    checked += await checks.run(
                        name,
                        clients[name],
                        surveys[name].catalog,
                        account_id=past[name].account_id,
                        now=started_at,
                        deadline=deadlines[name],
                        stop=stop,
                        commit=recorder.commit,
                    )
        noticed = (
            *notices,
            *checked,
            *(notice for survey in surveys.values() for notice in survey.notices),
            *plan.notices,
        )
        summary = await in_thread(_finish, settings, engine, past, plan, recorder, surveys, clients, noticed)
    refused = {name for name, survey in surveys.items() if survey.refused} | observing.refused
    return RunResult(
        summary=summary,
        noticed=(*noticed, *recorder.noticed),
        read_targets=recorder.read_targets,
        unlisted=frozenset(name for name, survey in surveys.items() if survey.whole_catalog is None),
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
    from crawler.notifications.delivery import send_reports, waiting_reports

    if not send:
        queued = waiting_reports(settings, engine, timing.clock, run_id=result.summary.run)
        return _with_reports(engine, fence, result, NO_REPORTS | {"queued": queued})
    done = await send_reports(settings, engine, fence, timing=timing, stop=stop, run_id=result.summary.run)
    is_overdue = done.overdue and result.exit_code == ExitCode.DONE
    return replace(
        _with_reports(engine, fence, result, done.as_dict()),
        exit_code=ExitCode.UNDELIVERED if is_overdue else result.exit_code,
        report_problems=tuple(done.problems),
        deliveries=done.deliveries,
    )


def _with_reports(engine: Engine, fence: Fence, result: RunResult, reports: Mapping[str, int]) -> RunResult:
    """Keep what became of the reports with the run, and give the result with it; a run without any writes nothing."""
    if any(reports.values()):
        with begin(engine, fence) as conn:
            runs.save_reports(conn, result.summary.run, reports)
    return replace(result, summary=replace(result.summary, reports=dict(reports)))


def judge_of(settings: Settings) -> Judge:
    """Return what reads and judges answers as *settings* have it."""
    chosen = settings.guard
    return Judge(
        GuardPolicy(ratio=chosen.ratio, min_images=chosen.min_images, confirmations=chosen.confirmations),
        {account.name: account.tolerate for account in settings.accounts},
        {account.name: account.ignore.fields for account in settings.accounts},
    )


def _last(past: Mapping[str, AccountPast]) -> dict[str, Catalog | None]:
    return {name: entry.catalog for name, entry in past.items()}


def _refused(surveys: Mapping[str, Survey]) -> dict[str, NotAsked]:
    return {
        name: NotAsked(
            failure_class="account_stopped", reason=f"the account's credentials were refused: {survey.refused}"
        )
        for name, survey in surveys.items()
        if survey.refused
    }


def _sold_by(past: Mapping[str, AccountPast]) -> dict[str, Mapping[str, str]]:
    return {name: entry.sold_by for name, entry in past.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a run would ask of one account."""

    account: str
    #: Targets, each of which is one request at least; those of kinds that come in pages may be several.
    targets: int
    has_pages: bool
    #: Requests per second that the account's limits allow.
    rate: float
    #: How many of the targets are of the matrix, and how those take turns; None: there is none.
    of_matrix: int = 0
    turns: Rotation | None = None

    @property
    def seconds(self) -> float:
        """Return how long that many requests take at the least."""
        return self.targets / self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a run would ask."""

    targets: tuple[Target, ...]
    notices: tuple[str, ...]
    costs: tuple[Cost, ...]
    #: The credentials of every account were refused.
    is_refused: bool


async def preview(
    settings: Settings,
    engine: Engine | None,
    *,
    timing: Timing,
    restriction: Selection | None = None,
    offline: bool = False,
    connect: Connect = connect,
) -> Preview:
    """
    Return the targets a run would ask now, and the notices.

    Asks no more than discovery, and nothing at all when *offline*: then the last catalog speaks. Writes nothing.
    *engine* is None where there is no history yet. Raises SchemaMismatch where a run would, EmptySelection when
    nothing is selected, and ConfigurationError where the parameters under a used name of a variant changed, or every
    account's matrix is new and larger than its turns allow.
    """
    accounts = {account.name: account for account in settings.accounts}
    past = dict.fromkeys(accounts, NO_PAST)
    targets: dict[str, list[KnownTarget]] = {name: [] for name in accounts}
    is_known = engine is not None and _is_readable(engine, offline=offline)
    if engine is not None and is_known:
        with read(engine) as conn:
            known = db_targets.find_accounts(conn, accounts)
            for name, account_id in known.items():
                past[name] = AccountPast(
                    account_id=account_id,
                    catalog=db_targets.last_catalog(conn, account_id),
                    zone_numbers={},
                    variants=db_targets.known_variants(conn, account_id),
                    sold_by=load_sold_by(conn, account_id) if accounts[name].is_auto else {},
                    assigned=load_assigned(conn, account_id) if accounts[name].places else frozenset(),
                )
                targets[name] = db_targets.known_targets(conn, account_id)
        require_unchanged_variants(settings, {name: own.variants for name, own in past.items()})
    if offline:
        surveys = {
            name: Survey(
                catalog=past[name].catalog,
                is_good=False,
                notices=(Notice(account=name, sentence=_offline(name, past[name].catalog)),),
            )
            for name in accounts
        }
    else:
        async with AsyncExitStack() as stack:
            clients = {
                name: await stack.enter_async_context(connect(account, timing)) for name, account in accounts.items()
            }
            throttle = shared_here()
            for name, account in accounts.items():
                clients[name].throttle = throttle(account, clients[name].throttle)
            deadlines = {
                name: timing.monotonic() + account.limits.run_deadline_seconds for name, account in accounts.items()
            }
            surveys = await survey_all(accounts, clients, _last(past), deadlines, None, _sold_by(past))
    found_matrices = matrices(settings, past, surveys)
    found = reconcile_all(settings, past, targets, surveys, restriction, found_matrices)
    costs: list[Cost] = []
    asked: list[Target] = []
    notices = [notice for survey in surveys.values() for notice in survey.notices]
    notices += selection_notices(settings, surveys, targets, restriction)
    too_large: dict[str, str] = {}
    with read(engine) if is_known and engine is not None else nullcontext() as conn:
        for account in settings.accounts:
            matrix, account_id = found_matrices[account.name], past[account.name].account_id
            ids = {entry.target: entry.target_id for entry in targets[account.name]}
            own, turns, problem = take_turns(
                conn, settings, account, account_id, matrix, found[account.name].asked, ids
            )
            if problem is not None and restriction is None:
                is_on = has_begun(matrix, targets[account.name])
                notices.append(matrix_notice(account.name, problem, is_on=is_on))
                if not is_on:
                    too_large[account.name] = problem
                    continue
            asked += own
            costs.append(_cost(account, own, matrix, turns))
    require_any(settings, too_large)
    return Preview(
        targets=tuple(sorted(asked)),
        notices=tuple(notice.sentence for notice in notices),
        costs=tuple(costs),
        is_refused=all(survey.refused for survey in surveys.values()),
    )


def _cost(account: AccountSettings, asked: Collection[Target], matrix: OfferedMatrix | None, turns: Rotation) -> Cost:
    limits = account.limits
    of_matrix = sum(matrix.question(target) is not None for target in asked) if matrix is not None else 0
    return Cost(
        account=account.name,
        targets=len(asked),
        has_pages=any(KINDS[target.kind].paging is not None or KINDS[target.kind].follow for target in asked),
        rate=limits.rate / limits.period_seconds,
        of_matrix=of_matrix,
        turns=turns if matrix is not None else None,
    )


def _is_readable(engine: Engine, *, offline: bool) -> bool:
    """Return whether there is a history to look at; raise SchemaMismatch where a run could not go on with it either."""
    state = schema_state(engine)
    will_be = state.name == "empty" or (state.name == "behind" and is_sqlite(engine) and not offline)
    if state.name != "current" and not will_be:
        raise SchemaMismatch(mismatch(engine, state))
    return state.name == "current"


def _offline(name: str, last: Catalog | None) -> str:
    return f"{name}: {'from the last catalog' if last is not None else 'no catalog is known of it yet'}"


# --- finish --------------------------------------------------------------------------------------------------------


def _finish(
    settings: Settings,
    engine: Engine,
    past: Mapping[str, AccountPast],
    plan: Plan,
    recorder: Recorder,
    surveys: Mapping[str, Survey],
    clients: Mapping[str, ApiClient],
    noticed: Sequence[Notice],
) -> RunSummary:
    sent = sum((client.counts for client in clients.values()), start=FetchCounts())
    has_gaps = any(survey.catalog is None or survey.refused for survey in surveys.values()) or bool(plan.left_out)
    recorder.finish(
        lambda counters: _status(counters, has_gaps=has_gaps),
        {"sent": sent.sent, "retried": sent.retried, "throttled": sent.throttled},
        [notice.sentence for notice in noticed],
        afterwards=lambda conn, finished_at: outbox.take_up(
            conn,
            plan.run_id,
            [entry.account_id for entry in past.values()],
            [report.name for report in settings.reports],
            finished_at,
        ),
    )
    with read(engine) as conn:
        summary = queries_runs.run(conn, plan.run_id)
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
