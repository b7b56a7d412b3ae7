"""`crawler demo`: see it work in a minute, offline."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from crawler.cli.calling import program
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.language import spoken, tr
from crawler.cli.output import write_out
from crawler.domain.text import padded
from crawler.errors import UsageError

DEFAULT_FILE = "crawler-demo.db"


@click.command()
@click.option(
    "--keep-in",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_FILE,
    show_default=True,
    help="The database to make; the default one is made anew each time.",
)
@click.option("--serve", "is_kept_open", is_flag=True, help="Keep the web page open until Ctrl-C.")
@pass_cli
def demo(context: CliContext, path: Path, is_kept_open: bool) -> None:
    """
    Play five runs on a built-in cloud and show what they found.

    The cloud is emulated on a free port of this machine and replays what UCloud published: 24 zones, 71 node images,
    two re-issues, one zone that emptied. Nothing leaves this machine. The database it makes is yours to query; the mail
    about it is shown as text, and written beside the database as HTML, as are the web pages. -q leaves the mail out.
    """
    from crawler.demo import default_zone, mail, pages, play
    from crawler.domain.staleness import STALE_AFTER

    if context.database is not None:
        raise UsageError("The demo makes a database of its own; --keep-in FILE says where.")
    path = path.absolute()
    page = path.with_name(f"{path.name}.html") if path.suffix == ".html" else path.with_suffix(".html")
    if path.name != DEFAULT_FILE:
        for there in (path, page):
            if there.exists():
                raise UsageError(f"{there} exists already; name a file that does not.")
    path.unlink(missing_ok=True)
    context.say("Playing five runs on the built-in cloud; a few seconds…")
    screen = play(path, clock=context.clock, say=tr)
    message = mail(path, clock=context.clock, language=spoken())
    page.write_text(message.html, encoding="utf-8")
    context.say(f"\nThe mail that somebody gets who pinned uimage-vareox; as it looks: {os.path.relpath(page)}\n")
    context.say(f"{tr('Subject')}{tr(': ')}{message.subject}\n\n{message.text}")
    command, file = program(), shlex.quote(os.path.relpath(path))
    then = "" if " " in command else f" && {command} run"  # a long way to call it is not told twice
    site = path.with_name(f"{path.stem}-page")
    pages(path, site, clock=context.clock)
    calls = (
        ("Look", shlex.quote(os.path.relpath(site / "index.html"))),
        ("Try", f"{command} --database {file} history uimage-vareox"),
        ("", f"{command} --database {file} where 'Ubuntu 20.04'"),
        ("", f"{command} --database {file} diff 20h now"),
        ("Yours", f"export UCLOUD_PUBLIC_KEY=… UCLOUD_PRIVATE_KEY=…; {command} init{then}"),
    )
    write_out(f"{line}\n" for line in (*screen, *(padded(tr(label), 6) + call for label, call in calls)))
    if is_kept_open:
        from crawler.cli.serve import serve_until_stopped
        from crawler.db.url import url_of
        from crawler.web.page_server import ServeOptions

        serve_until_stopped(context, ServeOptions(port=0), url_of(path), default_zone(), STALE_AFTER)
