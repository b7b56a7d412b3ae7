"""`crawler worker`: one process of a fleet that shares the accounts."""

from __future__ import annotations

import hashlib
import os
import socket
from typing import TYPE_CHECKING

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.domain.text import counted, visible_lines
from crawler.errors import UsageError

if TYPE_CHECKING:
    from crawler.config.models import Settings

SLOTS = 16


@click.command()
@click.option(
    "--slots",
    type=click.IntRange(1, 200),
    default=SLOTS,
    show_default=True,
    help="How many accounts are crawled at a time.",
)
@click.option(
    "--grace",
    "grace_seconds",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long what runs may go on after SIGTERM. [default: the longest run_deadline_seconds]",
)
@pass_cli
def worker(context: CliContext, slots: int, grace_seconds: float | None) -> None:
    """
    Crawl the accounts together with other workers, on PostgreSQL, until SIGTERM.

    Any number of workers on any number of hosts share the accounts: each is crawled once in every [fleet] `every`, by
    whichever worker is free. What a worker that is killed or stands still had begun is begun anew by others. At SIGTERM
    nothing new is begun, and what runs goes on to its end; a second one ends it, and what was answered is recorded.
    """
    from crawler.db.url import parse_address

    settings = context.settings()
    if parse_address(settings.database).path is not None:
        raise UsageError(
            "Workers share a PostgreSQL database; the configuration has a SQLite file, for which `crawler run` from "
            "cron or a timer is right."
        )
    import asyncio

    from crawler.cli.run import rare_collections
    from crawler.fleet.worker import FleetWorker
    from crawler.ops.open_files import make_room

    make_room(slots * max(account.limits.concurrency for account in settings.accounts))
    if grace_seconds is None:
        grace_seconds = max(account.limits.run_deadline_seconds for account in settings.accounts)
    process = FleetWorker(
        settings,
        config=config_digest(settings),
        slots=slots,
        grace_seconds=grace_seconds,
        clock=context.clock,
        say=lambda message: context.say(visible_lines(message), level="warning"),
    )
    has = f"{counted(slots, 'slot')}, {counted(len(settings.accounts), 'account')}"
    context.say(f"Worker {socket.gethostname()}:{os.getpid()}: {has}.")
    with rare_collections():
        asyncio.run(process.run())


def config_digest(settings: Settings) -> str:
    """Return what is the same for workers with the same configuration; secrets are left out."""
    from crawler.config.display import as_document
    from crawler.domain.models import canonical_json

    text = canonical_json(as_document(settings))
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
