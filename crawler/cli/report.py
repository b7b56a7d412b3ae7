"""`crawler report`: what the reports would say, what is on its way, and giving it a push."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import pruned
from crawler.cli.language import tr
from crawler.cli.options import MOMENT, TIMES, SentenceGroup, table_options, wait_option
from crawler.cli.output import emit, write_out
from crawler.cli.table import Column, Row
from crawler.domain.rows import DigestRecord, names_in_json
from crawler.domain.text import visible
from crawler.domain.timefmt import tell_moment
from crawler.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from crawler.config.models import Settings
    from crawler.db.engine import Fence
    from crawler.notifications.delivery import Reported

T = TypeVar("T")


def _runs(row: Row) -> str:
    first, last = row["first_run"], row["last_run"]
    return f"{first}" if first == last else f"{first}\u2013{last}"


def _recipients(row: Row) -> str:
    return ", ".join(
        one["address"] if one["state"] == "waiting" else tr(f"{one['address']} ({one['state']})")
        for one in row["recipients"]
    )


def _trouble(row: Row) -> str:
    return "; ".join(dict.fromkeys(one["trouble"] for one in row["recipients"] if one["trouble"]))


COLUMNS = (
    Column("id", "DIGEST"),
    Column("report", "REPORT"),
    Column("kind", "KIND", kind="words", optional=True),
    Column("state", "STATE", kind="words"),
    Column("runs", "RUNS", cell=_runs),
    Column("queued_at", "SINCE", kind="time"),
    Column("recipients", "TO", cell=_recipients, folds=True),
    Column("subject", "SUBJECT", folds=True),
    Column("trouble", "TROUBLE", cell=_trouble, sparse=True, folds=True),
)

_since = click.option("--since", type=MOMENT, help=f"Everything recorded since, told before or not: {TIMES}.")
_names = click.argument("names", nargs=-1, metavar="[REPORT]\u2026")


@click.group(cls=SentenceGroup)
def report() -> None:
    """
    What the reports would say, what is on its way to whom, and giving it a push.

    `crawler run` queues and sends reports by itself; each change is told once to each report.
    """


@report.command()
@_names
@_since
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the HTML there.")
@click.option("--eml", "eml_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the whole mail there.")
@pass_cli
def preview(
    context: CliContext, names: tuple[str, ...], since: datetime | None, html_file: Path | None, eml_file: Path | None
) -> None:
    """Show what the next digest would say; nothing is sent, and nothing counts as told."""
    from crawler.notifications.channels.registry import channels_of
    from crawler.notifications.delivery import preview as preview_digests
    from crawler.notifications.rendering.render import render

    settings = _chosen(context.settings(), names)
    if (html_file or eml_file) and len(settings.reports) > 1:
        raise UsageError(f"Name one report to write to a file: {_all_names(settings)}.")
    other = next((report for report in settings.reports if report.channel != "email"), None)
    if eml_file and other is not None:
        raise UsageError(f"{other.name} goes by {other.channel}, so there is no mail to write.")
    with context.history() as conn:
        now = context.now(conn)
        found = preview_digests(settings, conn, now, since=since)
    if not found:
        context.say("There is nothing to tell." if since else "There is nothing to tell now; --since 7d shows more.")
    for chosen, digest in found:
        rendered = render(digest)
        if html_file is not None:
            _write(html_file, rendered.html.encode())
        if eml_file is not None:
            _write(eml_file, channels_of(settings, context.clock)[chosen.route].compose(digest, chosen.to, now).content)
        if html_file is None and eml_file is None:
            head = [
                f"{tr('To')}{tr(': ')}{', '.join(chosen.to)}",
                f"{tr('Subject')}{tr(': ')}{rendered.subject}",
                "",
            ]
            lines = [*head, *rendered.text.splitlines(), ""]
            write_out(f"{visible(line)}\n" for line in lines)


@report.command()
@_names
@_since
@wait_option
@pass_cli
def send(context: CliContext, names: tuple[str, ...], since: datetime | None, wait_seconds: float) -> ExitCode:
    """Send what waits now, whatever the schedule; with --since tell again what was told before."""
    settings = _chosen(context.settings(), names)

    def work(engine: Engine, fence: Fence, clock: Callable[[], datetime]) -> Reported:
        from crawler.notifications.delivery import tell_again

        if since is None:
            return _send(settings, engine, fence, clock)
        ids = tell_again(settings, engine, fence, clock(), since=since)
        return _send(settings, engine, fence, clock, only=ids)

    return _tell(context, _locked(context, settings, wait_seconds, work))


@report.command("list")
@click.option("--all", "include_ended", is_flag=True, help="Also digests that everybody has, or that were skipped.")
@_names
@table_options
@pass_cli
def list_digests(context: CliContext, include_ended: bool, names: tuple[str, ...], fmt: str) -> None:
    """List what waits to be told, to whom, since when and why; with --all what was told, too."""
    from crawler.db.beginning import begins_at
    from crawler.db.digest_records import digests, known_reports

    zone = context.history_settings().timezone
    with context.history() as conn:
        known = known_reports(conn)
        if unknown := [name for name in names if name not in known]:
            raise UsageError(f"There is no report {unknown[0]!r}; the history has {', '.join(known) or 'none'}.")
        rows = digests(conn, include_ended=include_ended, names=names)
        kept_from = begins_at(conn) if include_ended else None
    count = emit((row.as_dict() for row in rows), COLUMNS, fmt, zone=zone, fields=names_in_json(DigestRecord))
    if not count and kept_from:
        context.say(f"Nothing was told since {tell_moment(kept_from, zone)}.")
    elif not count:
        context.say("Nothing was ever told." if include_ended else "Nothing waits to be told.")
    if kept_from:
        context.say(pruned(kept_from, zone, "of that time not every report is left"))


@report.command()
@click.argument("digests", nargs=-1, metavar="[DIGEST|REPORT]\u2026")
@wait_option
@pass_cli
def retry(context: CliContext, digests: tuple[str, ...], wait_seconds: float) -> ExitCode:
    """Try again now to send digests that somebody still waits for: these, or all."""
    settings = context.settings()

    def work(engine: Engine, fence: Fence, clock: Callable[[], datetime]) -> Reported:
        from crawler.db.digest_records import known_reports
        from crawler.db.engine import read

        with read(engine) as conn:
            known = {*known_reports(conn), *(report.name for report in settings.reports)}
            if unknown := [word for word in digests if not (word.isdecimal() or word in known)]:
                raise UsageError(f"There is no report {unknown[0]!r}; the configuration has {_all_names(settings)}.")
            ids = _waiting_ids(conn, digests)
        return _send(settings, engine, fence, clock, only=ids)

    return _tell(context, _locked(context, settings, wait_seconds, work))


@report.command()
@click.argument("digests", nargs=-1, required=True, metavar="DIGEST|REPORT\u2026")
@wait_option
@pass_cli
def skip(context: CliContext, digests: tuple[str, ...], wait_seconds: float) -> None:
    """Give up on digests that cannot be delivered, or on everything that waits for a report."""

    def work(engine: Engine, fence: Fence, clock: Callable[[], datetime]) -> int:
        from crawler.db import outbox
        from crawler.db.engine import begin

        now, count = clock(), 0
        with begin(engine, fence) as conn:
            ids = _waiting_ids(conn, digests)
            for record in _records(conn, ids):
                outbox.skip(conn, record.id or 0, [one.address for one in record.recipients], now)
                count += 1
            for name in digests:
                if name.isdecimal():
                    continue
                if outbox.subscribed(conn, name) is None:
                    raise UsageError(f"Nothing was skipped: there is no report {name!r} in the history.")
                count += outbox.skip_all(conn, name, now)
        return count

    count = _locked(context, context.history_settings(), wait_seconds, work)
    context.say(f"Skipped: {count}.")


def _write(path: Path, content: bytes) -> None:
    try:
        # A pipe that nobody reads is an error, and not waited for.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as exc:
        raise UsageError(f"{path} cannot be written: {exc.strerror or exc}") from exc


# --- which -----------------------------------------------------------------------------------------------------------


def _chosen(settings: Settings, names: Sequence[str]) -> Settings:
    """Keep the reports that were named; raise UsageError for one there is not, and when there are none at all."""
    if not settings.reports:
        raise UsageError(
            'The configuration has no [[reports]]: add one, as in reports = [{name = "me", to = ["me@example.com"]}].'
        )
    unknown = [name for name in names if name not in {report.name for report in settings.reports}]
    if unknown:
        raise UsageError(f"There is no report {unknown[0]!r}; the configuration has {_all_names(settings)}.")
    return replace(settings, reports=tuple(one for one in settings.reports if not names or one.name in names))


def _all_names(settings: Settings) -> str:
    return ", ".join(report.name for report in settings.reports)


def _waiting_ids(conn: Connection, words: Sequence[str]) -> set[int]:
    """Return the waiting digests that *words* (ids, and names of reports) mean; without any, all of them."""
    from crawler.db.digest_records import digests

    waiting = [row for row in digests(conn) if row.id is not None]
    if not words:
        return {row.id for row in waiting if row.id is not None}
    found: set[int] = set()
    for word in words:
        meant = {row.id for row in waiting if row.id is not None and word in (str(row.id), row.report)}
        if not meant and word.isdecimal():
            raise UsageError(f"No digest {word} waits to be sent; `crawler report list` shows what waits.")
        found |= meant
    return found


def _records(conn: Connection, ids: set[int]) -> list[Any]:
    from crawler.db.digest_records import digests

    return list(digests(conn, ids=ids))


# --- under the lock --------------------------------------------------------------------------------------------------


def _locked(
    context: CliContext,
    settings: Settings,
    wait_seconds: float,
    work: Callable[[Engine, Fence, Callable[[], datetime]], T],
) -> T:
    """Do *work* under the lock of those who send reports without a run; it gets the clock for what is recorded."""
    from crawler.db.engine import opened, require_file
    from crawler.db.locks import take_locks
    from crawler.db.migrations import ensure_schema

    database = settings.database
    with opened(database) as engine:
        require_file(engine)  # the lock of a path that is mistyped would stay beside it
        with take_locks(database, (), is_sender=True, clock=context.clock, wait_seconds=wait_seconds) as fence:
            ensure_schema(engine, may_upgrade=False)
            return work(engine, fence, context.clock_of(fence)[0])


def _send(
    settings: Settings,
    engine: Engine,
    fence: Fence,
    clock: Callable[[], datetime],
    *,
    only: Sequence[int] | set[int] | None = None,
) -> Reported:
    import asyncio

    from crawler.client.api_options import Timing
    from crawler.notifications.delivery import send_reports

    timing = Timing(clock=clock)
    return asyncio.run(send_reports(settings, engine, fence, timing=timing, is_hurried=True, only=only, has_run=False))


def _tell(context: CliContext, done: Reported) -> ExitCode:
    """Say how sending went; a digest that did not get through is an exit code."""
    for problem in done.problems:
        context.say(visible(f"Warning: {problem}"), level="warning")
    if not done.sent and not done.failed:
        context.say("There is nothing to send.")
    else:
        context.say(f"{done.sent} sent, {done.failed} failed.")
    return ExitCode.UNDELIVERED if done.failed else ExitCode.DONE
