"""`crawler revoke` and `crawler unrevoke`: an image that nobody is to use, whatever the cloud lists."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.holds import this_user
from crawler.cli.options import wait_option
from crawler.domain.models import is_storable
from crawler.errors import NoAnswer, UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
_LONGEST_REASON = 500


@click.command()
@click.argument("image_ids", nargs=-1, required=True, metavar="ID...")
@click.option("--reason", required=True, metavar="TEXT", help="Why: `check` and mails say it.")
@wait_option
@pass_cli
def revoke(context: CliContext, image_ids: tuple[str, ...], reason: str, wait_seconds: float) -> None:
    """
    Revoke an image that is not to be used: `resolve` refuses it, `check` fails with it, mails on pins say it once.

    Revoke it again to change the reason.
    """
    from crawler.queries import revoke as revocations

    words = " ".join(reason.split())
    if not words or len(words) > _LONGEST_REASON or not words.isprintable():
        raise UsageError(f"--reason must be a text of at most {_LONGEST_REASON} printable characters.")
    _require_ids(image_ids)

    def write(conn: Connection, now: datetime) -> list[str]:
        revocations.revoke(conn, image_ids, words, who=this_user(), now=now)
        return revocations.never_listed(conn, image_ids)

    unknown = _write(context, wait_seconds, write)
    context.say(f"Revoked: {', '.join(dict.fromkeys(image_ids))}.")
    if unknown:
        context.say(f"Warning: never listed so far, is it a typo? {', '.join(unknown)}", level="warning")


@click.command()
@click.argument("image_ids", nargs=-1, required=True, metavar="ID...")
@wait_option
@pass_cli
def unrevoke(context: CliContext, image_ids: tuple[str, ...], wait_seconds: float) -> None:
    """Take back that an image was revoked; exit 1 when none of them was."""
    from crawler.queries import revoke as revocations

    _require_ids(image_ids)
    if not _write(context, wait_seconds, lambda conn, _: revocations.unrevoke(conn, image_ids)):
        raise NoAnswer(f"Not revoked: {', '.join(dict.fromkeys(image_ids))}.")
    context.say(f"Not revoked any more: {', '.join(dict.fromkeys(image_ids))}.")


def _require_ids(image_ids: tuple[str, ...]) -> None:
    for image_id in image_ids:
        if not image_id.strip() or not image_id.isprintable() or not is_storable(image_id):
            raise UsageError(f"{image_id!r} is no image id.")


def _write(context: CliContext, wait_seconds: float, work: Callable[[Connection, datetime], T]) -> T:
    """Do *work* in one transaction; on SQLite, where one writes at a time, under the lock of the database."""
    from crawler.db.engine import begin, opened
    from crawler.db.locks import take_locks
    from crawler.db.migrations import ensure_schema

    database = context.history_settings().database
    with opened(database) as engine:
        ensure_schema(engine, may_upgrade=False)
        with take_locks(database, [], clock=context.clock, wait_seconds=wait_seconds) as fence:
            now = context.clock_of(fence)[0]()
            with begin(engine, fence) as conn:
                return work(conn, now)
