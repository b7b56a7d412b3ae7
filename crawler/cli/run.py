"""`crawler run`: one scheduled run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import Selected, target_options
from crawler.cli.output import json_line, write_out
from crawler.cli.safe import visible
from crawler.errors import EmptySelection, ExitCode, UsageError

if TYPE_CHECKING:
    import asyncio

    from crawler.model import Target
    from crawler.observing import Progress
    from crawler.pipeline import RunResult
    from crawler.records import RunSummary
    from crawler.settings import Settings
    from crawler.store.engine import Fence
    from crawler.targets import Selection

#: Reasons of failures that are told one by one; the rest are counted.
TOLD_FAILURES = 8


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the summary of the run as one JSON object.")
@click.option("--dry-run", is_flag=True, help="Print the targets after discovery, and ask and record nothing more.")
@click.option("--offline", is_flag=True, help="With --dry-run: take the catalog from the database, ask nothing at all.")
@click.option("--no-report", is_flag=True, help="Send no reports after the run; they go on waiting.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Wait so long for another run to end, instead of leaving with exit code 75 at once.",
)
@target_options
@pass_cli
def run(
    context: CliContext,
    as_json: bool,
    dry_run: bool,
    offline: bool,
    no_report: bool,
    wait_seconds: float,
    selected: Selected,
) -> ExitCode:
    """
    Discover, ask every target once, compare, and record what was seen.

    With --account, --project, --region, … the run is restricted: it asks only these and concludes nothing about others.
    Ctrl-C and SIGTERM end it cleanly: what was answered is recorded, the rest is skipped.
    """
    if offline and not dry_run:
        raise UsageError("--offline goes with --dry-run: a run has to ask.")
    settings = _narrowed(context.settings(), selected)
    restriction = _restriction(selected)
    if dry_run:
        return _preview(context, settings, restriction, offline=offline, as_json=as_json)

    from crawler.store.lock import take_locks

    names = [account.name for account in settings.accounts]
    with take_locks(settings.database, names, clock=context.clock, wait_seconds=wait_seconds) as fence:
        result = _crawl(context, settings, fence, restriction, send=not no_report)
    if as_json:
        write_out([json_line(result.summary.as_dict()), "\n"])
    if sys.stderr.isatty() or result.exit_code != ExitCode.DONE or context.verbosity > 0:
        context.say(told(result.summary), level="info" if result.exit_code == ExitCode.DONE else "warning")
    for problem in result.report_problems:
        context.say(visible(f"Warning: {problem}"), level="warning")
    return result.exit_code


def _narrowed(settings: Settings, selected: Selected) -> Settings:
    """Keep the selected accounts, so that no other account's lock is needed."""
    from crawler.targets import matches

    if not selected.account:
        return settings
    accounts = tuple(account for account in settings.accounts if matches(account.name, selected.account))
    if not accounts:
        known = ", ".join(account.name for account in settings.accounts)
        raise EmptySelection(f"No account matches {' or '.join(selected.account)}; the configuration has {known}.")
    return replace(settings, accounts=accounts)


def _restriction(selected: Selected) -> Selection | None:
    from crawler.targets import Selection

    if selected.is_all:
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
    context: CliContext, settings: Settings, fence: Fence, restriction: Selection | None, *, send: bool
) -> RunResult:
    # Only now, with the lock held, is the network stack loaded: a run that is too early leaves at once.
    import asyncio

    from crawler.fetch import Timing
    from crawler.pipeline import crawl, report
    from crawler.store.engine import opened
    from crawler.store.migrate import ensure_schema

    async def go() -> RunResult:
        stop = asyncio.Event()
        timing = Timing(clock=context.clock)
        with _stopped_by_signals(stop, context):
            with _progress() as progress:
                result = await crawl(
                    settings,
                    engine,
                    fence,
                    timing=timing,
                    stop=stop,
                    restriction=restriction,
                    progress=progress,
                )
            return await report(settings, engine, fence, result, timing=timing, stop=stop, send=send)

    with opened(settings.database) as engine:
        ensure_schema(engine, may_upgrade=True)
        return asyncio.run(go())


def _preview(
    context: CliContext, settings: Settings, restriction: Selection | None, *, offline: bool, as_json: bool
) -> ExitCode:
    import asyncio

    from crawler.fetch import Timing
    from crawler.pipeline import preview
    from crawler.store.address import parse_address
    from crawler.store.engine import opened

    path = parse_address(settings.database).path
    if path is not None and not path.exists() and offline:
        raise EmptySelection("There is no history yet to take the catalog from; leave out --offline to ask the cloud.")
    has_history = path is None or path.exists()
    with opened(settings.database, read_only=True) if has_history else nullcontext() as engine:
        targets, notices = asyncio.run(
            preview(settings, engine, timing=Timing(clock=context.clock), restriction=restriction, offline=offline)
        )
    for notice in notices:
        context.say(visible(notice), level="warning")
    if as_json:
        write_out([json_line([target.as_dict() for target in targets]), "\n"])
    else:
        write_out(f"{visible(str(target))}\n" for target in targets)
    return ExitCode.DONE


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

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking", total=None)

        def tell(target: Target, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=visible(target.zone))

        yield tell


def told(summary: RunSummary) -> str:
    """Tell a run to a person: one line, then why targets failed, then what was noticed."""
    counts = summary.targets
    outcomes = ", ".join(
        f"{counts[name]} {name}" for name in ("ok", "held", "denied", "failed", "skipped") if counts[name]
    )
    news = ", ".join(f"{count} {event.replace('_', ' ')}" for event, count in summary.changes.items() if count)
    if summary.baseline["targets"]:
        baseline = f"baseline of {summary.baseline['images']} images at {summary.baseline['targets']} targets"
        news = f"{baseline}; {news}" if news else baseline
    seconds = (summary.finished_at - summary.started_at).total_seconds() if summary.finished_at else 0
    lines = [
        f"Run {summary.run} {summary.status} in {seconds:.0f} s: {outcomes or 'no targets'}; {news or 'no changes'}."
    ]
    lines += _grouped(
        (f"{failure.outcome}: {failure.message}", failure.target, failure.request_uuid)
        for failure in summary.failures
        if failure.outcome in ("failed", "skipped", "held")
    )
    lines += [f"  note: {notice}" for notice in summary.notices]
    return "\n".join(visible(line) for line in lines)


def _grouped(failures: Iterator[tuple[str, Target, str]]) -> list[str]:
    """Give a line for each reason, with the first target, its request's id and how many more targets there are."""
    by_reason: dict[str, list[tuple[Target, str]]] = {}
    for reason, target, request_uuid in failures:
        by_reason.setdefault(reason, []).append((target, request_uuid))
    lines = []
    for reason, asked in list(by_reason.items())[:TOLD_FAILURES]:
        (target, request_uuid), *others = asked
        more = f" and {len(others)} more" if others else ""
        request = f" [{request_uuid}]" if request_uuid else ""
        lines.append(f"  {target}{more}: {reason}{request}")
    if len(by_reason) > TOLD_FAILURES:
        lines.append(f"  and {len(by_reason) - TOLD_FAILURES} more reasons: crawler status")
    return lines
