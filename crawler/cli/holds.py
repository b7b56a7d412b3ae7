"""`crawler holds`: withdrawals that are not believed yet."""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import pruned
from crawler.cli.options import NUMBER, SentenceGroup, reader_options, wait_option
from crawler.cli.output import emit
from crawler.cli.selection import check_selection
from crawler.cli.table import TARGET_COLUMNS, Column, Row
from crawler.domain.filters import Filters
from crawler.domain.rows import HoldRow, names_in_json
from crawler.domain.text import counted
from crawler.domain.timefmt import tell_moment

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")

logger = logging.getLogger(__name__)


def _images(row: Row) -> str:
    return ", ".join(f"{image['image_name'] or '?'} {image['image_id']}" for image in row["images"])


COLUMNS = (
    Column("id", "HOLD", kind="count"),
    *TARGET_COLUMNS,
    Column("status", "STATUS", kind="words"),
    Column("held_at", "HELD", kind="time"),
    Column("confirmations", "CONFIRMED", kind="count"),
    Column("waits_for", "WAITS FOR", kind="words"),
    Column("images", "IMAGES", cell=_images, folds=True),
    Column("resolved_by", "BY", optional=True),
)


@click.group(cls=SentenceGroup)
def holds() -> None:
    """
    Withdrawals that are not believed yet, and a person's word for or against them.

    An answer that suddenly lacks most of a zone's images is held: the next good answers confirm it or prove it wrong.
    Images that an answer lacks beside more unreadable records than before wait for one that has no more of them.
    """


@holds.command("list")
@click.option("--all", "include_resolved", is_flag=True, help="Also those that are resolved, and how.")
@reader_options
@pass_cli
def list_holds(context: CliContext, include_resolved: bool, fmt: str, selected: Filters) -> None:
    """List the open holds: where, which images, since when, how often confirmed, what they wait for."""
    from crawler.db.beginning import begins_at
    from crawler.queries.holds import holds as rows_of

    settings = context.history_settings()
    with context.history() as conn:
        check_selection(conn, selected)
        rows = rows_of(conn, selected, include_resolved=include_resolved)
        shown = (row.as_dict() for row in rows)
        count = emit(shown, COLUMNS, fmt, zone=settings.timezone, fields=names_in_json(HoldRow))
        kept_from = begins_at(conn) if include_resolved else None
        if not count and kept_from:
            context.say(f"Nothing was on hold here since {tell_moment(kept_from, settings.timezone)}.")
        elif not count:
            context.say("Nothing was ever on hold here." if include_resolved else "Nothing is on hold.")
        if kept_from:
            context.say(pruned(kept_from, settings.timezone, "of that time not every hold is left"))


@holds.command()
@click.argument("hold_ids", type=NUMBER, nargs=-1, required=True, metavar="HOLD…")
@wait_option
@pass_cli
def accept(context: CliContext, hold_ids: tuple[int, ...], wait_seconds: float) -> None:
    """Believe the withdrawals now: they are recorded, dated to the first answer that lacked the images."""
    from crawler.queries.holds import accept as accept_holds

    who, ids = this_user(), _once(hold_ids)
    count, now = _write(context, ids, wait_seconds, lambda conn, at: accept_holds(conn, ids, who=who, now=at))
    _log("accepted", hold_ids, who, now)
    context.say(f"Accepted by {who}: {counted(count, 'withdrawal')} recorded.")


@holds.command()
@click.argument("hold_ids", type=NUMBER, nargs=-1, required=True, metavar="HOLD…")
@wait_option
@pass_cli
def reject(context: CliContext, hold_ids: tuple[int, ...], wait_seconds: float) -> None:
    """Declare the held answers wrong: the images count as present, and the next answer is judged afresh."""
    from crawler.queries.holds import reject as reject_holds

    who, ids = this_user(), _once(hold_ids)
    _, now = _write(context, ids, wait_seconds, lambda conn, at: reject_holds(conn, ids, who=who, now=at))
    _log("rejected", hold_ids, who, now)
    context.say(f"Rejected by {who}: the images count as present.")


def _once(hold_ids: tuple[int, ...]) -> list[int]:
    return list(dict.fromkeys(hold_ids))


def this_user() -> str:
    """Return the name of the user that runs the command."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's nameless user
        return f"uid {os.getuid()}"


def _write(
    context: CliContext, hold_ids: Sequence[int], wait_seconds: float, work: Callable[[Connection, datetime], T]
) -> tuple[T, datetime]:
    """
    Do *work* in one transaction, under the locks of the accounts that the holds are about; give its moment, too.

    Raises ClockWentBackwards, as a run does: what is written is dated.
    """
    from crawler.db import runs, targets
    from crawler.db.engine import begin, opened, read
    from crawler.db.locks import take_locks
    from crawler.db.migrations import ensure_schema
    from crawler.queries.holds import accounts_of

    database = context.history_settings().database
    with opened(database) as engine:
        ensure_schema(engine, may_upgrade=False)
        with read(engine) as conn:
            accounts = accounts_of(conn, hold_ids)
        with take_locks(database, accounts, clock=context.clock, wait_seconds=wait_seconds) as fence:
            now = context.clock_of(fence)[0]()
            with begin(engine, fence) as conn:
                runs.refuse_backwards_clock(conn, targets.find_accounts(conn, accounts).values(), now)
                return work(conn, now), now


def _log(verb: str, hold_ids: tuple[int, ...], who: str, now: datetime) -> None:
    logger.info("holds %s %s by %s at %s", ", ".join(map(str, hold_ids)), verb, who, now.isoformat())
