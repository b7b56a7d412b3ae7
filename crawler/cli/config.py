"""`crawler config`: whether the configuration is right, and what it comes to."""

from __future__ import annotations

import click

from crawler.cli.context import CliContext, pass_cli
from crawler.cli.language import tr
from crawler.cli.options import OneOf, SentenceGroup
from crawler.cli.output import json_line, write_out
from crawler.domain.text import counted


@click.group(cls=SentenceGroup)
def config() -> None:
    """Check the configuration, or show it."""


@config.command()
@pass_cli
def validate(context: CliContext) -> None:
    """
    Check the configuration, and that the files and folders it names are there; every problem is listed at once.

    What a run makes itself, as the database, may be missing.
    """
    settings = context.settings(is_thorough=True)
    source = settings.source or "the environment"
    accounts = ", ".join(account.name for account in settings.accounts)
    count = counted(len(settings.accounts), "account")
    write_out([tr(f"{source} is fine: {count} ({accounts}), database {settings.database_shown}"), "\n"])


@config.command()
@click.option("-o", "--format", "fmt", type=OneOf(["toml", "json"]), default="toml", show_default=True)
@click.option("--origins", is_flag=True, help="Say of each value where it comes from, instead of the file's form.")
@pass_cli
def show(context: CliContext, fmt: str, origins: bool) -> None:
    """Show the configuration that counts, defaults and references filled in, secrets masked."""
    from crawler.config.display import as_document, as_toml

    settings = context.settings()
    document = as_document(settings)
    if origins:
        from crawler.config.display import origins_of

        found = origins_of(settings, database_given=context.database is not None)
        lines = [f"{path:<40}  {origin}\n" for path, origin in found.items()]
        write_out([json_line(found), "\n"] if fmt == "json" else lines)
        return
    if fmt == "json":
        write_out([json_line(document), "\n"])
        return
    write_out([f"# from {settings.source or 'the environment'}\n", as_toml(document)])
