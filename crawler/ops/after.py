"""
What follows a run: the published folder, metrics, the healthcheck ping, and the facts both are made of.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, exists, func, select

from crawler.config.models import Settings
from crawler.crawl.run import RunResult
from crawler.db import conditions, outbox
from crawler.db.engine import Fence, begin, read
from crawler.db.runs import last_success
from crawler.db.schema import Absence, Account, Hold, TargetRow
from crawler.domain.models import END_OF_TIME
from crawler.domain.rows import Notice
from crawler.errors import CrawlerError, contained
from crawler.ops.cron_notice import compare, paragraph
from crawler.ops.metrics import Gauges, exposition
from crawler.ops.remembering import Remembered
from crawler.queries import runs, status

if TYPE_CHECKING:
    from crawler.queries.check.rules import PinRule

logger = logging.getLogger(__name__)


def news_of(settings: Settings, engine: Engine, fence: Fence, result: RunResult, *, now: datetime) -> str:
    """
    Return what began, changed or ended with a run, as one paragraph (empty: nothing), and remember that it was told.

    Raises DatabaseUnavailable.
    """
    summary = result.summary
    at = summary.finished_at or now
    with read(engine) as conn:
        remembered = Remembered(conn, settings, result)
    news, standing = compare(remembered.before, remembered.found, at=at)
    if standing != remembered.before:
        with begin(engine, fence) as conn:
            if remembered.is_of_others_too(standing):
                # a run of another account may have told it meanwhile: what is kept is looked at again, by one at a time
                conditions.wait_for_others(conn)
                remembered = Remembered(conn, settings, result)
                news, standing = compare(remembered.before, remembered.found, at=at)
            remembered.keep(conn, standing)
    return paragraph(summary, news, zone=settings.timezone)


def write_metrics(
    settings: Settings, engine: Engine, result: RunResult, accounts: Collection[str], *, now: datetime
) -> None:
    """
    Write the metrics file, where there is to be one; raises DatabaseUnavailable.

    The run may have been one of some of the configured *accounts*; what is told beyond it is told of them all.
    """
    if settings.metrics.textfile is None:
        return
    with read(engine) as conn:
        gauges = gauges_of(conn, accounts, now=now, rates=result.rates)
    try:
        write_atomically(settings.metrics.textfile, exposition(result.summary, int(result.exit_code), gauges))
    except OSError as exc:
        # No mail for each run: the metrics that stand still raise an alert, and the doctor says why.
        logger.info("the metrics cannot be written to %s: %s", settings.metrics.textfile, exc.strerror)


def history_metrics(conn: Connection, *, now: datetime) -> str:
    """
    Return the metrics of the last run that has ended; empty before the first.

    They are of all accounts but those of which nothing is asked any more: no run of these comes.
    """
    from crawler.queries.overview_lookup import newest_run  # which a run does not need

    newest = newest_run(conn)
    summary = runs.run(conn, newest[0]) if newest else None
    if summary is None:
        return ""
    is_absent = exists().where(Absence.target_id == TargetRow.id, Absence.valid_to == END_OF_TIME)
    has_targets = exists().where(TargetRow.account_id == Account.id)
    names = conn.scalars(select(Account.name).where(~has_targets | has_targets.where(~is_absent))).all()
    return exposition(summary, None, gauges_of(conn, names, now=now, rates={}))


def publish(settings: Settings, engine: Engine, result: RunResult, *, now: datetime) -> RunResult:
    """
    Publish what is known into the folder of the configuration, where there is one, and return *result*.

    What goes wrong with that is noticed of the run, and changes nothing of how it went.
    """
    if settings.publish is None:
        return result
    from crawler.web.publication import publish as publish_into

    place = settings.publish
    problems: list[str] = []
    with contained(problems.append):
        try:
            done = publish_into(
                engine,
                place.dir,
                now=now,
                stale_after=settings.stale_after,
                url=place.url,
                zone=settings.timezone,
                with_private=place.with_private,
                pins=lambda: list(_pins_of(settings)),
            )
        except CrawlerError as exc:
            problems.append(str(exc))
        else:
            problems += done.notices
    told = [f"publish: {problem}" for problem in problems]
    account = settings.accounts[0].name
    return replace(
        result,
        noticed=(*result.noticed, *(Notice(account=account, sentence=one) for one in told)),
        report_problems=(*result.report_problems, *told),
    )


def _pins_of(settings: Settings) -> Iterator[PinRule]:
    from crawler.notifications.pinned_files import rules_of

    pinned = ((report.name, pin) for report in settings.reports for pin in report.subscription.pins)
    names = [name for report in settings.reports for name in report.pins_from]
    return rules_of(
        pinned, names, lambda _, problem: logger.warning("published without the pins of a file: %s", problem)
    )


def write_atomically(path: Path, text: str) -> None:
    """Write a file that others read at any time: they see the old text or the new one, never a part."""
    # The collector takes *.prom alone, so what is half written must not end in that.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def gauges_of(conn: Connection, accounts: Collection[str], *, now: datetime, rates: Mapping[str, float]) -> Gauges:
    """Return what the database knows beyond the last run; *accounts* are those of the configuration, by name."""
    oldest, never = status.oldest_observation(conn, now=now)
    waiting, in_vain = outbox.backlog(conn)
    return Gauges(
        last_success_at=last_success(conn, accounts),
        holds=conn.execute(select(func.count()).select_from(Hold).where(Hold.status == "open")).scalar_one(),
        oldest_observed_at=oldest,
        never_observed=never,
        outbox=waiting,
        undelivered=in_vain,
        rates=rates,
    )
