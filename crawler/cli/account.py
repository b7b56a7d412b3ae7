"""`crawler account rename`: a history goes on under another name."""

from __future__ import annotations

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import SentenceGroup, wait_option
from crawler.domain.text import visible
from crawler.errors import UsageError


@click.group(cls=SentenceGroup)
def account() -> None:
    """Look after the accounts of the history."""


@account.command()
@click.argument("old")
@click.argument("new")
@wait_option
@pass_cli
def rename(context: CliContext, old: str, new: str, wait_seconds: float) -> None:
    """Give an account another name; its history goes on under it. Change the name in the configuration, too."""
    from crawler.config.texts import name_of
    from crawler.db import outbox
    from crawler.db.engine import begin, opened, require_file
    from crawler.db.locks import take_locks
    from crawler.db.migrations import ensure_schema
    from crawler.db.targets import rename_account

    try:
        name_of(new)
    except ValueError as exc:
        raise UsageError(f"{new!r} cannot name an account: it {exc}.") from None
    url = context.history_settings().database
    with opened(url) as engine:
        require_file(engine)  # the lock of a path that is mistyped would stay beside it
        with take_locks(url, None, clock=context.clock, wait_seconds=wait_seconds) as fence:
            ensure_schema(engine, may_upgrade=False)
            with begin(engine, fence) as conn:
                rename_account(conn, old, new)
                outbox.rename_account(conn, old, new)
    context.say(f"The account {visible(old)} is called {visible(new)} now; the configuration has to say so as well.")
