"""`crawler schedule`: ready files for cron, systemd and Kubernetes, for this installation and configuration."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from crawler.cli.calling import options, program, user
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.options import OneOf, SentenceGroup, WholeNumber, account_option
from crawler.cli.output import write_out
from crawler.domain.filters import EVERYTHING, Filters
from crawler.errors import UsageError

if TYPE_CHECKING:
    from crawler.config.models import Settings
    from crawler.ops.deploy import Installation

#: Minutes between runs where nobody says otherwise.
EVERY = 15
F = TypeVar("F", bound=Callable[..., Any])


def _every(command: F) -> F:
    return click.option(
        "--every",
        "minutes",
        type=WholeNumber(1, 1440),
        default=EVERY,
        show_default=True,
        metavar="MINUTES",
        help="How often to run: minutes that divide an hour, or hours that divide a day, such as 10, 60 or 240.",
    )(command)


def _image(command: F) -> F:
    return click.option(
        "--image",
        envvar="CRAWLER_IMAGE",
        show_envvar=True,
        metavar="IMAGE",
        help="The container image that has the program [default: crawler:VERSION].",
    )(command)


@click.group(cls=SentenceGroup)
def schedule() -> None:
    """Print ready files that run the crawler on a schedule."""


@schedule.command()
@_every
@account_option
@pass_cli
def cron(context: CliContext, minutes: int, selected: Filters) -> None:
    """
    Print the line to add to your crontab.

    Refused where a key would have to come from the environment: what stands in a crontab goes out with cron's mails.
    With --account it runs those accounts; give the others lines of their own.
    """
    from crawler.ops.deploy import cron as render

    installation = _installation(context, minutes, selected=selected)
    write_out([render(installation)])
    again = f"{program()}{options(context.config_path, context.database)}"
    words = shlex.join(("schedule", "cron", *_rhythm(minutes), *installation.account_words))
    context.say(f"Add it with crontab -e, or (crontab -l; {again} {words}) | crontab -")
    _tell_of_the_lock(context, installation)
    _tell_of_environment(context, "cron")


@schedule.command()
@_every
@click.option(
    "--write",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="Write crawler.service and crawler.timer there (/etc/systemd/system), instead of printing them.",
)
@account_option
@pass_cli
def systemd(context: CliContext, minutes: int, folder: Path | None, selected: Filters) -> None:
    """
    Print a hardened service and its timer.

    With --account they run those accounts, and are called by them, as in crawler-prod.service: give the others units of
    their own.
    """
    from crawler.ops.deploy import ENVIRONMENT_FILE, systemd_service, systemd_timer

    installation = _installation(context, minutes, selected=selected)
    timer = f"{installation.name}.timer"
    files = {f"{installation.name}.service": systemd_service(installation), timer: systemd_timer(installation)}
    _tell_of_the_lock(context, installation)
    if folder is None:
        write_out(f"# --- {name} ---\n{text}\n" for name, text in files.items())
        _tell_of_keys(context, installation, "systemd", f"into {ENVIRONMENT_FILE} (root's alone, mode 0600)")
        _tell_of_environment(context, "systemd")
        return
    for name, text in files.items():
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as exc:
            raise UsageError(f"{folder / name} cannot be written: {exc.strerror}.") from None
        context.say(f"Wrote {folder / name}.")
    _tell_of_keys(context, installation, "systemd", f"into {ENVIRONMENT_FILE} (root's alone, mode 0600)")
    _tell_of_environment(context, "systemd")
    context.say(f"Next: systemctl daemon-reload && systemctl enable --now {timer}")


@schedule.command()
@_every
@_image
@account_option
@pass_cli
def kubernetes(context: CliContext, minutes: int, image: str | None, selected: Filters) -> None:
    """
    Print a CronJob that never runs twice at once, and never runs a failed run again, with all that it uses.

    The rest: the configuration, a volume for a SQLite file, a pod to ask from, and whom the pods may call. With
    --account the CronJob runs those accounts, and is called by them, as in crawler-prod: give the others CronJobs of
    their own, which share the rest.
    """
    from crawler.ops.deploy import manifests

    installation = _with_files(context, _installation(context, minutes, image, selected))
    write_out([manifests(installation)])
    _tell_of_the_lock(context, installation)
    _tell_of_keys(context, installation, "Kubernetes", "into the secret that the first lines make")
    _tell_of_environment(context, "Kubernetes")


@schedule.command()
@click.argument("scheduler", type=OneOf(["systemd", "kubernetes"]), default="systemd")
@click.option(
    "--slots",
    type=WholeNumber(1, 200),
    default=16,
    show_default=True,
    help="How many accounts a worker crawls at a time.",
)
@_image
@pass_cli
def worker(context: CliContext, scheduler: str, slots: int, image: str | None) -> None:
    """
    Print what keeps a worker of a fleet alive: a systemd service, or a Kubernetes Deployment.

    A worker is started again whenever it ends, and has the time to end what it crawls. For KEDA the query is printed
    with the Deployment that says how many accounts are due.
    """
    from crawler.ops.deploy import ENVIRONMENT_FILE, systemd_worker, worker_manifests

    installation = replace(_installation(context, EVERY, image), slots=slots)
    if installation.database is not None:
        raise UsageError(
            "A fleet shares a PostgreSQL database; the configuration has a SQLite file: set `database` to a "
            "postgresql:// URL."
        )
    if scheduler == "systemd":
        write_out([systemd_worker(installation)])
        place = f"into {ENVIRONMENT_FILE} (root's alone, mode 0600)"
    else:
        write_out([worker_manifests(_with_files(context, installation))])
        place = "into the secret that the first lines make"
    _tell_of_keys(context, installation, scheduler, place)
    _tell_of_environment(context, scheduler)


def _rhythm(minutes: int) -> tuple[str, ...]:
    """Return the option that says how often to run, where that is not the usual."""
    return () if minutes == EVERY else ("--every", str(minutes))


def _tell_of_the_lock(context: CliContext, installation: Installation) -> None:
    """Say what becomes of runs of other accounts that begin at the same time where the history is one file."""
    if installation.accounts and installation.database is not None and len(context.settings().accounts) > 1:
        context.say(
            "Warning: a SQLite history has one lock for all accounts: of runs that begin together one is made, and the "
            "others leave with 75. Let each begin at a time of its own, or use PostgreSQL.",
            level="warning",
        )


def _tell_of_keys(context: CliContext, installation: Installation, scheduler: str, place: str) -> None:
    """Say where keys go that come from this shell's variables."""
    if installation.secrets:
        context.say(
            f"Warning: {scheduler} does not know this shell's {', '.join(installation.secrets)}: write the values "
            f"{place}, or into files that the configuration names (private_key_file; crawler init --key-file).",
            level="warning",
        )


def _tell_of_environment(context: CliContext, scheduler: str) -> None:
    """Say what of this shell's variables counts here and will not count there."""
    from crawler.config.display import needs_of

    source = context.settings().source
    optional = needs_of(source).optional if source else ()
    names = [name for name, default in optional if context.environ.get(name) not in (None, "", default)]
    if names:
        context.say(
            f"Warning: {scheduler} does not know this shell's {', '.join(dict.fromkeys(names))}: there the defaults "
            f"count that {source} has instead. What has none is asked for.",
            level="warning",
        )
    _tell_of_proxies(context, scheduler)


def _tell_of_proxies(context: CliContext, scheduler: str) -> None:
    """Say what to add to the configuration where a proxy stands in this shell's variables alone."""
    from crawler.domain.proxies import exceptions_of

    settings = context.settings()
    found = [settings.ping_proxy, *(report.proxy for report in settings.reports)]
    found += [account.proxy for account in settings.accounts]
    proxies = {proxy.variable: proxy for proxy in found if proxy is not None}
    exceptions = exceptions_of(context.environ)
    for variable, proxy in proxies.items():
        if not variable:
            continue
        lines = ["[network]", f"proxy = {json.dumps(proxy.url)}"]
        if proxy.username:
            scheme = "" if "://" in context.environ[variable] else "http://"
            lines[-1] = f'proxy_file = "proxy.url"   # a file of mode 0600 with the value of {scheme}${variable}'
        lines += [f"no_proxy = {json.dumps(exceptions)}"] if exceptions else []
        where = (
            f"Add to {settings.source}:" if settings.source else "`crawler init` writes a configuration that may say:"
        )
        context.say(
            f"Warning: {scheduler} does not know this shell's ${variable}, the proxy {proxy.url}. {where}\n"
            + "\n".join(lines),
            level="warning",
        )


def _installation(
    context: CliContext, minutes: int, image: str | None = None, selected: Filters = EVERYTHING
) -> Installation:
    from crawler import __version__
    from crawler.config.display import Needs, needs_of
    from crawler.db.url import parse_address
    from crawler.ops.deploy import Installation

    settings = context.settings()
    source = settings.source
    environment_keys = ("UCLOUD_PUBLIC_KEY", "UCLOUD_PRIVATE_KEY", "UCLOUD_BASE_URL", "UCLOUD_PROJECT_ID")
    from_environment = tuple(name for name in environment_keys if context.environ.get(name))
    needs = needs_of(source) if source else Needs()
    if not any(_names_accounts(source)):
        needs = replace(
            needs,
            variables=from_environment + needs.variables,
            secrets=tuple(name for name in from_environment if name.endswith("_KEY")) + needs.secrets,
        )
    path = parse_address(settings.database).path
    textfile = settings.metrics.textfile
    folders = [str(Path(_absolute(item)).parent) for item in (path, textfile) if item is not None]
    if path is not None and (real := Path(os.path.realpath(path)).parent) != Path(os.path.realpath(path.parent)):
        folders.append(str(real))  # of a file that is a link the lock and the journal lie beside what it leads to
    if settings.publish is not None:
        # the first run makes it, in the nearest folder that is there; not in the root, which would open all there is
        published = settings.publish.dir.absolute()
        places = (published, *published.parents[:-1])
        folders.append(_absolute(next((place for place in places if place.is_dir()), published)))
    # Where the configuration says it, it stays there: it may change, and may hold a secret.
    is_named = context.database is not None or (source is None and path is not None)
    deadlines = [account.limits.run_deadline_seconds for account in settings.narrowed_to(selected.account).accounts]
    return Installation(
        program=_program(),
        config=_absolute(source) if source else None,
        database=_absolute(path) if path is not None else None,
        option=_without_secret(settings) if is_named else None,
        user=user(),
        folders=tuple(dict.fromkeys(folders)),
        credentials=tuple((name, _absolute(file)) for name, file in needs.credentials),
        variables=tuple(dict.fromkeys(needs.variables)),
        secrets=tuple(dict.fromkeys(needs.secrets)),
        deadline_seconds=max(deadlines) + settings.report_deadline_seconds,
        minutes=minutes,
        image=image or f"crawler:{__version__}",
        accounts=selected.account,
    )


def _with_files(context: CliContext, installation: Installation) -> Installation:
    """Add the files of the configuration, where none is a secret, and the ports that it names."""
    from crawler.config.display import files_beside, needs_of
    from crawler.config.sources import holds_secret, texts_of
    from crawler.config.toml import read_toml

    settings = context.settings()
    source = settings.source
    ports = _called_ports(settings)
    if source is None:
        return replace(installation, ports=ports)
    document = read_toml(source)
    beside, elsewhere = files_beside(source)
    for path in elsewhere:
        context.say(
            f"Warning: {path} is not in what is printed: only files beside the configuration go along. Move it there, "
            "or mount it yourself.",
            level="warning",
        )
    for path in needs_of(source).files:
        context.say(
            f"Warning: {path} is not in what is printed: a file that is named without a folder is one of the secret.",
            level="warning",
        )
    for path in _places_of(settings, is_worker=bool(installation.slots)):
        if installation.database is None or not path.is_relative_to("/var/lib/crawler"):
            context.say(
                f"Warning: {path} is not in what is printed: mount a volume for it, and name its path there.",
                level="warning",
            )
    for profile in [text for keys, text in texts_of(document) if keys == ("accounts", "profile")]:
        context.say(
            f"Warning: no pod has the UCloud CLI's profile {profile}: name its keys in the configuration instead "
            "(public_key, private_key_file).",
            level="warning",
        )
    if holds_secret(document):
        if beside:
            names = ", ".join(path.name for path in beside)
            context.say(f"Warning: add {names} to the secret crawler-config, with --from-file.", level="warning")
        return replace(installation, ports=ports, is_config_secret=True)
    files = [("crawler.toml", source), *((path.name, path) for path in beside)]
    texts = tuple((name, _text_of(path)) for name, path in files)
    return replace(installation, ports=ports, config_files=texts)


def _places_of(settings: Settings, *, is_worker: bool) -> list[Path]:
    """Return the files and folders that runs read or write beside the configuration and the database."""
    from crawler.domain.subscriptions import LIVE

    places = [Path(name) for report in settings.reports for name in report.pins_from if name != LIVE]
    places += [settings.publish.dir] if settings.publish is not None and not is_worker else []
    places += [settings.metrics.textfile.parent] if settings.metrics.textfile is not None else []
    return list(dict.fromkeys(places))


def _text_of(path: Path) -> str:
    from crawler.config.textfiles import read_text

    try:
        return read_text(path)
    except ValueError as exc:
        raise UsageError(f"{path} {exc}.") from None


def _called_ports(settings: Settings) -> tuple[int, ...]:
    """Return the TCP ports that runs of *settings* call: the API, proxies, hooks, the ping, mail, PostgreSQL."""
    urls = [account.endpoint for account in settings.accounts]
    urls += [report.url.reveal() for report in settings.reports if report.url is not None]
    urls += [settings.ping.reveal()] if settings.ping is not None else []
    proxies = [account.proxy for account in settings.accounts] + [report.proxy for report in settings.reports]
    urls += [proxy.url for proxy in (*proxies, settings.ping_proxy) if proxy is not None]
    ports = {_port(url) for url in urls} | _database_ports(settings.database)
    return tuple(sorted(ports | ({settings.smtp.port} if settings.smtp is not None else set())))


def _port(url: str) -> int:
    try:
        parts = urlsplit(url)
        return parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:  # an Apprise URL has a token there, which the error shows
        return 443


def _database_ports(database: str) -> set[int]:
    from crawler.db.url import parse_address

    address = parse_address(database)
    if address.path is not None:
        return set()
    from sqlalchemy.exc import ArgumentError

    from crawler.db.engine import connect_options

    try:
        stated = str(connect_options(address).get("port") or "")
        return {int(port or 5432) for port in stated.split(",")}
    except (ArgumentError, ValueError):  # opening it tells what is wrong
        return {5432}


def _without_secret(settings: Settings) -> str:
    """
    Return the database as an option names it; raise UsageError for a URL with a password, which no file here holds.
    """
    from crawler.db.url import masked, parse_address

    path = parse_address(settings.database).path
    if path is None and masked(settings.database) != settings.database:
        raise UsageError(
            "--database holds a password, and these files hold no secret: put the address into the configuration, as "
            "`database_file`, or leave the password to ~/.pgpass."
        )
    return _absolute(path) if path is not None else settings.database


def _absolute(path: Path) -> str:
    """Return *path* from the root on, without `..`; links on the way stay, for what they lead to may change."""
    path = path.absolute()
    return str(path.parent.resolve() / path.name) if ".." in path.parts else str(path)


def _names_accounts(source: Path | None) -> list[bool]:
    from crawler.config.toml import read_toml

    return [True] if source and "accounts" in read_toml(source) else []


def _program() -> tuple[str, ...]:
    """Return the words that start this very program from anywhere."""
    started = Path(sys.argv[0])
    if started.name == "crawler" and started.is_file() and os.access(started, os.X_OK):
        return (_absolute(started),)
    beside = Path(sys.executable).with_name("crawler")
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "crawler")
