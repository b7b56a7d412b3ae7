"""`crawler run`: one scheduled run."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.language import tr
from crawler.cli.logs import bind_run
from crawler.cli.options import target_options, wait_option
from crawler.cli.output import json_line, write_out
from crawler.domain.filters import Filters
from crawler.domain.text import counted, visible, visible_lines
from crawler.errors import (
    CrawlerError,
    DatabaseUnavailable,
    EmptySelection,
    ExitCode,
    LockTaken,
    OutputLost,
    UsageError,
)

if TYPE_CHECKING:
    import asyncio
    from datetime import datetime, timedelta

    from crawler.config.models import Settings
    from crawler.crawl.recorder import Progress
    from crawler.crawl.run import Cost, RunResult
    from crawler.db.engine import TimedFence
    from crawler.domain.models import Target
    from crawler.domain.rows import Notice
    from crawler.domain.targets import Selection
    from crawler.ops.healthcheck_ping import Switch

logger = logging.getLogger(__name__)

#: How far a machine's clock may be from the database server's before that is said.
SKEW_SECONDS = 30


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the summary of the run as one JSON object.")
@click.option("--dry-run", is_flag=True, help="Print the targets after discovery, and ask and record nothing more.")
@click.option("--offline", is_flag=True, help="With --dry-run: take the catalog from the database, ask nothing at all.")
@click.option("--no-report", is_flag=True, help="Send no reports after the run; they go on waiting.")
@wait_option
@target_options
@pass_cli
def run(
    context: CliContext,
    as_json: bool,
    dry_run: bool,
    offline: bool,
    no_report: bool,
    wait_seconds: float,
    selected: Filters,
) -> ExitCode:
    """
    Discover, ask every target once, compare, and record what was seen.

    With --account it is a whole run of those accounts. With --project, --region, --zone, … the run is restricted: it
    asks only these and concludes nothing about others, pings nobody and writes no metrics.
    Ctrl-C and SIGTERM end it cleanly: what was answered is recorded, the rest is skipped.
    """
    if offline and not dry_run:
        raise UsageError("--offline goes with --dry-run: a run has to ask.")
    restriction = _restriction(selected)
    if dry_run:
        settings = context.settings().narrowed_to(selected.account)
        return _preview(context, settings, restriction, offline=offline, as_json=as_json)

    with _errors_once(context, selected):
        # What a run that nobody watches warns of is told with the conditions, once.
        # Narrowed, so that no other account's lock is needed.
        settings = context.settings(quiet=not _is_watched(context)).narrowed_to(selected.account)
        result, news = _locked(context, settings, restriction, wait_seconds=wait_seconds, send=not no_report)
    if result is None:
        return ExitCode.LOCKED
    if as_json:
        try:
            write_out([json_line(result.summary.as_dict()), "\n"])
        except OutputLost as exc:  # the run was made and is recorded: the exit code goes on saying how it went
            context.say(f"Warning: {exc}", level="warning")
    _tell(context, result, news)
    return result.exit_code


@contextmanager
def _errors_once(context: CliContext, selected: Filters) -> Iterator[None]:
    """
    Have an error of the command line, the configuration or the database said once where nobody watches, and its end.

    What the database keeps of it is not kept here as well: its end would be said twice.
    """
    from crawler.ops.error_notice import ErrorNotice

    if _is_watched(context) or not replace(selected, account=()).is_all:
        yield
        return
    config = context.config_path or context.environ.get("CRAWLER_CONFIG")
    subject = "\n".join(map(str, (Path.cwd(), config, context.database, *selected.account)))
    try:
        yield
    except (UsageError, DatabaseUnavailable) as exc:
        if not (exc.was_told or exc.is_kept):
            exc.was_told = not ErrorNotice(_memory_folders(context), subject).is_first(str(exc))
        raise
    if said := ErrorNotice(_memory_folders(context), subject).end():
        context.say(f"No longer: {said}", level="warning")


def _memory_folders(context: CliContext) -> Iterator[Path]:
    """Yield where a run can remember something without its database: the user's state folder, else beside the file."""
    from crawler.config.sources import state_folder
    from crawler.db.url import parse_address

    if (folder := state_folder(context.environ)) is not None:
        yield folder
    with suppress(CrawlerError, OSError):
        path = parse_address(context.history_settings(quiet=True).database).path
        if path is not None and path.parent.is_dir():
            yield path.parent


def _locked(
    context: CliContext,
    settings: Settings,
    restriction: Selection | None,
    *,
    wait_seconds: float,
    send: bool,
) -> tuple[RunResult | None, str]:
    """Run with the locks held, between two pings; None where another run holds them and that is no news."""
    from crawler.db.locks import first_to_tell, take_locks

    names = [account.name for account in settings.accounts]
    switch: Switch | None = None
    try:
        with take_locks(settings.database, names, clock=context.clock, wait_seconds=wait_seconds) as fence:
            switch = _switch(settings, restriction)
            switch.start()
            result, news = _crawl(context, settings, fence, restriction, send=send)
    except LockTaken as exc:
        # that a worker crawls the account meanwhile is the order of things
        is_news = not exc.is_of_worker and (exc.since is None or _has_outlived(settings, exc.since, context.clock()))
        if _is_watched(context) or (is_news and first_to_tell(settings.database, exc)):
            raise
        return None, ""
    except BaseException as exc:
        switch = switch or _switch(settings, restriction)
        code = exc.exit_code if isinstance(exc, CrawlerError) else ExitCode.INTERNAL
        error = str(exc) if isinstance(exc, CrawlerError) else type(exc).__name__
        switch.end(is_done=False, body=json_line({"status": "failed", "exit_code": int(code), "error": error}))
        raise
    body = {**result.summary.as_dict(), "exit_code": int(result.exit_code)}
    is_done = result.exit_code == ExitCode.DONE or (
        result.exit_code == ExitCode.INCOMPLETE and settings.ping_incomplete == "done"
    )
    switch.end(is_done=is_done, body=json_line(body))
    return result, news


def _switch(settings: Settings, restriction: Selection | None) -> Switch:
    # Loads the standard library's HTTP client, which a run that is too early does without.
    from crawler.ops.healthcheck_ping import Switch

    url = settings.ping.reveal() if settings.ping is not None and restriction is None else None
    return Switch(url, proxy=settings.ping_proxy, ca_file=settings.ping_ca_file)


def _is_watched(context: CliContext) -> bool:
    """Return whether a person watches; under cron nobody does, and what is said becomes a mail."""
    return sys.stderr.isatty() or context.verbosity > 0


def _has_outlived(settings: Settings, since: datetime, now: datetime) -> bool:
    """Return whether a run that took the lock then should have ended by its own deadlines."""
    from crawler.ops.deploy import GRACE_SECONDS

    deadline = max(account.limits.run_deadline_seconds for account in settings.accounts)
    return (now - since).total_seconds() > deadline + settings.report_deadline_seconds + GRACE_SECONDS


def _tell(context: CliContext, result: RunResult, news: str) -> None:
    """Say to a person how the run went; where nobody watches only what is news."""
    from crawler.ops.cron_notice import as_text
    from crawler.ops.remembering import NOBODY_IS_TOLD

    is_done = result.exit_code == ExitCode.DONE and not result.report_problems
    if context.log_format == "json":
        summary = {**result.summary.as_dict(), "exit_code": int(result.exit_code)}
        context.say(f"run {result.summary.run} {result.summary.status}", level="warning", summary=summary, news=news)
        return
    if _is_watched(context):
        lines = [as_text(result.summary), *(f"Warning: {problem}" for problem in result.report_problems)]
        lines += [f"  note: {NOBODY_IS_TOLD}"] * (NOBODY_IS_TOLD in news)
        news = "\n".join(lines)
    if news:
        context.say(visible_lines(news), level="info" if _is_watched(context) and is_done else "warning")


def _restriction(selected: Filters) -> Selection | None:
    from crawler.domain.targets import Selection

    if replace(selected, account=()).is_all:  # the accounts are chosen by narrowing the settings
        return None
    everything = ("*",)
    return Selection(
        account="",
        projects=selected.project or everything,
        regions=selected.region or everything,
        zones=selected.zone or everything,
        kinds=selected.kind or everything,
        variants=selected.variant or everything,
    )


def _crawl(
    context: CliContext,
    settings: Settings,
    fence: TimedFence,
    restriction: Selection | None,
    *,
    send: bool,
) -> tuple[RunResult, str]:
    # Only now, with the lock held, is the network stack loaded: a run that is too early leaves at once.
    import asyncio

    from crawler.client.api_options import Timing
    from crawler.crawl.run import crawl, report
    from crawler.crawl.shared_rates import shared_budgets
    from crawler.db.engine import opened
    from crawler.db.migrations import ensure_schema
    from crawler.ops.after import news_of, publish, write_metrics
    from crawler.ops.remembering import is_first_error

    async def go() -> RunResult:
        stop = asyncio.Event()
        timing = Timing(clock=clock)
        with _stopped_by_signals(stop, context):
            with _progress() as progress:
                async with shared_budgets(settings, engine, timing) as throttle:
                    result = await crawl(
                        settings,
                        engine,
                        fence,
                        timing=timing,
                        stop=stop,
                        restriction=restriction,
                        progress=progress,
                        begun=bind_run,
                        notices=notices,
                        throttle=throttle,
                    )
            return await report(settings, engine, fence, result, timing=timing, stop=stop, send=send)

    clock, ahead = context.clock_of(fence)
    notices = tuple(_skew(settings, ahead))
    settings = _fitting_in(settings)
    with rare_collections(), opened(settings.database) as engine:
        ensure_schema(engine, may_upgrade=True)
        try:
            result = asyncio.run(go())
        except CrawlerError as exc:
            exc.was_told = not (
                _is_watched(context) or restriction is not None or is_first_error(settings, engine, fence, exc, clock())
            )
            raise
        result = publish(settings, engine, result, now=clock())
        if restriction is None:
            configured = [account.name for account in context.settings().accounts]
            write_metrics(settings, engine, result, configured, now=clock())
        return result, news_of(settings, engine, fence, result, now=clock())


def _skew(settings: Settings, ahead: timedelta) -> Iterator[Notice]:
    """Yield a notice where the machine's clock is far from the database server's, which is *ahead* of it."""
    from crawler.domain.rows import Notice

    if abs(ahead).total_seconds() <= SKEW_SECONDS:
        return
    account, host = settings.accounts[0].name, socket.gethostname()
    sentence = (
        f"{account}: the clock of {host} is {abs(ahead).total_seconds():.0f} s {'slow' if ahead.days >= 0 else 'fast'} "
        "by PostgreSQL's, whose time is recorded; set it right"
    )
    yield Notice(account=account, sentence=sentence, key="clock of", about=host)


def _fitting_in(settings: Settings) -> Settings:
    """Return *settings* with as many connections as this process may open; raise UsageError where not one fits in."""
    from crawler.errors import exhausted
    from crawler.ops.open_files import make_room

    wanted = sum(account.limits.concurrency for account in settings.accounts)
    room = make_room(wanted)
    if room >= wanted:
        return settings
    if room < len(settings.accounts):
        raise UsageError(f"A run would have {exhausted()}.")
    logger.info("only %d of %d connections fit in: the limit of open files (ulimit -n) is low", room, wanted)
    fewer = {
        account.name: replace(account.limits, concurrency=max(1, account.limits.concurrency * room // wanted))
        for account in settings.accounts
    }
    return replace(settings, accounts=tuple(replace(one, limits=fewer[one.name]) for one in settings.accounts))


def _preview(
    context: CliContext, settings: Settings, restriction: Selection | None, *, offline: bool, as_json: bool
) -> ExitCode:
    import asyncio

    from crawler.client.api_options import Timing
    from crawler.crawl.run import preview
    from crawler.db.engine import opened
    from crawler.db.url import parse_address

    has_history = parse_address(settings.database).may_exist
    with opened(settings.database, read_only=True) if has_history else nullcontext() as engine:
        found = asyncio.run(
            preview(settings, engine, timing=Timing(clock=context.clock), restriction=restriction, offline=offline)
        )
    for notice in found.notices:
        context.say(visible(notice), level="warning")
    for cost in found.costs:
        context.say(visible(_told_cost(cost)))
    if offline and not found.targets:
        raise EmptySelection("There is no catalog yet to take the targets from; leave out --offline to ask the cloud.")
    if as_json:
        write_out([json_line([target.as_dict() for target in found.targets]), "\n"])
    else:
        write_out(f"{visible(str(target))}\n" for target in found.targets)
    if found.is_refused:
        return ExitCode.CREDENTIALS
    return ExitCode.DONE if found.targets else ExitCode.NOTHING_OBSERVED


def _told_cost(cost: Cost) -> str:
    """Tell how many requests a run would send, and how long that takes at the least."""
    at_least = "at least " if cost.has_pages else ""
    requests = f"{at_least}{counted(cost.targets, 'request')} after discovery"
    told = f"{cost.account}: {requests}, {cost.seconds:.0f} s at {cost.rate:g} per second"
    if cost.turns is None:
        return told
    of_matrix = f"{cost.of_matrix} of them of the matrix"
    if cost.turns.runs > 1:
        of_matrix += f", whose {counted(cost.turns.targets, 'target')} take turns in {cost.turns.runs} runs"
    return f"{told}; {of_matrix}"


@contextmanager
def rare_collections() -> Iterator[None]:
    """
    Keep the garbage collector from looking at everything again and again.

    An answer of a hundred images is thousands of objects, none of them in a cycle. As configured by default the
    collector takes a third of the time of a run in which much is new.
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


@contextmanager
def _stopped_by_signals(stop: asyncio.Event, context: CliContext) -> Iterator[None]:
    """Set *stop* at the first Ctrl-C or SIGTERM; a second one ends the process as usual."""
    import asyncio

    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        context.say(f"{number.name}: finishing; what was answered is recorded.", level="warning")
        loop.remove_signal_handler(number)
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, first, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Show a bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(tr("asking"), total=None)

        def tell(target: Target, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=visible(target.place))

        yield tell
