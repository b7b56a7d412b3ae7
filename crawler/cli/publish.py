"""`crawler publish`: a folder of documents that say what is known, for any web server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import FolderPath
from crawler.errors import UsageError


def _copy_or_history(ctx: click.Context, _: click.Parameter, value: Any) -> bool:
    """Take --database with a value for the global option, which may stand here too; without one it asks for a copy."""
    if value:
        ctx.ensure_object(CliContext).database = str(value)
    return bool(value == "")


@click.command()
@click.argument("directory", metavar="DIR", type=FolderPath())
@click.option("--url", metavar="URL", help="Where DIR will be served; for links in feeds.")
@click.option(
    "--with-private",
    is_flag=True,
    help="Also what is not the same for every customer: projects, accounts, custom images, pins and evidence.",
)
@click.option(
    "--database",
    "with_copy",
    is_flag=False,
    flag_value="",
    metavar="",
    callback=_copy_or_history,
    is_eager=True,
    help="Also a copy of the whole history as a SQLite file; needs --with-private.",
)
@pass_cli
def publish(context: CliContext, directory: Path, url: str | None, with_private: bool, with_copy: bool) -> None:
    """
    Write what is known into DIR: the image ids by zone and name, feeds of changes, how fresh they are, and web pages.

    DIR is for a web server, object storage or a repository of pages. The same knowledge gives the same bytes, but for
    v1/freshness.json and, by the day, coverage.html; each file is replaced in one step. What is unknown, stale or on
    hold keeps the files it has below v1/.

    Only files that an earlier publication made are replaced or removed, those in DIR/assets/files.json. Where another
    one is in the way nothing is written; whatever else is in DIR is left alone.
    """
    if with_copy and not with_private:
        raise UsageError("--database publishes every account and project; give --with-private too.")
    from crawler.cli.pins import known_rules
    from crawler.config.key_types import web_address
    from crawler.db.engine import opened
    from crawler.db.migrations import ensure_schema
    from crawler.web.publication import publish as publish_into

    try:
        address = web_address(url) if url is not None else None
    except ValueError:
        raise UsageError(
            "--url must be the http or https URL of a folder, such as https://images.example.com"
        ) from None
    settings = context.history_settings()
    with opened(settings.database, read_only=True) as engine:
        ensure_schema(engine, may_upgrade=False)
        done = publish_into(
            engine,
            directory,
            now=context.clock(),
            stale_after=settings.stale_after,
            url=address,
            zone=settings.timezone,
            with_private=with_private,
            with_copy=with_copy,
            pins=lambda: list(known_rules(context)),
        )
    for notice in done.notices:
        context.say(f"Warning: {notice}", level="warning")
    context.say(done.sentence(directory))
