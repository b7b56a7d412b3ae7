"""`crawler serve`: the web page, live from the history."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import WholeNumber
from crawler.config.sources import Findings, warn_open
from crawler.config.textfiles import read_text
from crawler.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from datetime import timedelta
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

    from crawler.web.page_server import ServeOptions

_SHORTEST_TOKEN = 16


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where to listen.")
@click.option("--port", type=WholeNumber(0, 65535), default=8485, show_default=True, help="0: any free one.")
@click.option(
    "--base-url",
    "base_urls",
    multiple=True,
    metavar="URL",
    help="The address under which people reach it, as behind a proxy; others are refused. May be repeated.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Show private data only to whoever sends the token in this file, on this machine too: as a password, or as "
    "`Authorization: Bearer`.",
)
@click.option("--with-private", is_flag=True, help="Show private data to everybody who reaches it.")
@pass_cli
def serve(
    context: CliContext, host: str, port: int, base_urls: tuple[str, ...], token_file: Path | None, with_private: bool
) -> ExitCode:
    """
    Serve the web page: what is available, and was; names, changes, and how well it was observed.

    It reads the history only, takes no lock, and runs beside a crawling process. To this machine it shows everything,
    unless there is a --token-file. Beyond it (another --host or --base-url, or a request that a proxy says it passed
    on) projects, accounts, custom images and evidence are shown only to whom --token-file or --with-private lets see
    them. /healthz and /metrics are for whoever watches it. Ctrl-C stops it.
    """
    from crawler.web.page_server import ServeOptions

    options = ServeOptions(
        host=host,
        port=port,
        base_urls=tuple(map(_checked, base_urls)),
        token=_token(token_file) if token_file else None,
        with_private=with_private,
    )
    settings = context.history_settings()
    warnings = Findings()
    if token_file:
        warn_open(token_file, f"{token_file} holds a secret and", warnings)
    serve_until_stopped(
        context, options, settings.database, settings.timezone, settings.stale_after, warnings=warnings.warnings
    )
    return ExitCode.DONE


def serve_until_stopped(
    context: CliContext,
    options: ServeOptions,
    database: str,
    zone: ZoneInfo,
    stale_after: timedelta,
    *,
    warnings: Iterable[str] = (),
) -> None:
    """Serve the history in *database*, with times in *zone*, until somebody stops it; say where, then *warnings*."""
    asyncio.run(_serve(context, options, database, zone, stale_after, warnings))


async def _serve(
    context: CliContext,
    options: ServeOptions,
    database: str,
    zone: ZoneInfo,
    stale_after: timedelta,
    warnings: Iterable[str],
) -> None:
    from crawler.cli.pins import known_rules
    from crawler.db.engine import open_engine
    from crawler.web.page_server import PageServer
    from crawler.web.pages import Pages

    engine = open_engine(database, read_only=True, application_name="crawler serve")
    pages = Pages(
        zone=zone, stale_after=stale_after, clock=context.clock, is_live=True, pins=lambda: list(known_rules(context))
    )
    try:
        async with PageServer(engine, pages, options, clock=context.clock, metrics=_measure(context)) as server:
            # where it is comes first, for whoever started it reads that line
            context.say(f"Serving the history at {server.url}; Ctrl-C stops it.")
            for warning in warnings:
                context.say(f"Warning: {warning}", level="warning")
            await _stopped()
    finally:
        engine.dispose()


def _measure(context: CliContext) -> Callable[[Connection], str]:
    def metrics(conn: Connection) -> str:
        from crawler.ops.after import history_metrics

        return history_metrics(conn, now=context.clock())

    return metrics


async def _stopped() -> None:
    """Wait until a signal ends the process."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    handlers: list[Any] = [signal.SIGINT, signal.SIGTERM]
    for number in handlers:
        loop.add_signal_handler(number, end.set)
    try:
        await end.wait()
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def _checked(url: str) -> str:
    from crawler.config.key_types import web_address

    try:
        web_address(url)
    except ValueError:
        shown = url.rpartition("@")[2]  # a password is shown nowhere
        raise UsageError(
            f"--base-url {shown!r} is no address of a page; write it whole, as https://images.example.com/"
        ) from None
    return url


def _token(path: Path) -> str:
    try:
        token = read_text(path).strip()
    except ValueError as exc:
        raise UsageError(f"The token file {path} {exc}.") from None
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"The token in {path} is none: write at least {_SHORTEST_TOKEN} letters and digits into it, as with "
            "`openssl rand -hex 32`."
        )
    return token
