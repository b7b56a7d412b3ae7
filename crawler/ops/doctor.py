"""
What is wrong with an installation, and the fix: one finding per check, each with its state.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from sqlalchemy import Connection

from crawler.config.models import Settings
from crawler.config.named_files import unfit_folder
from crawler.config.pin_files import pins_in
from crawler.config.sources import OPEN_TO_ALL
from crawler.db import integrity, targets, workers
from crawler.db.engine import is_in_wal_mode, opened, read
from crawler.db.locks import take_locks
from crawler.db.migrations import schema_state
from crawler.db.rights import missing_rights, schema_owner
from crawler.db.url import parse_address
from crawler.domain.models import Catalog
from crawler.domain.proxies import Proxy
from crawler.domain.subscriptions import LIVE
from crawler.domain.text import counted
from crawler.domain.timefmt import show_duration, zone_name
from crawler.domain.unmatched import of_report
from crawler.errors import CrawlerError, LockTaken, SchemaMismatch
from crawler.notifications.channels.base import Channel, TransportError
from crawler.notifications.channels.registry import channels_of
from crawler.ops.deploy import GRACE_SECONDS
from crawler.ops.doctor_cloud import Clock, of_accounts, via, way_fix
from crawler.ops.findings import Finding, fail, ok, warn
from crawler.ops.healthcheck_ping import connection_problem
from crawler.queries import runs

#: A run needs little; an upgrade copies the database first.
LEAST_FREE_BYTES = 64 * 1024 * 1024
#: The longest try to connect to a webhook or the dead man's switch.
REACH_SECONDS = 10.0

#: What a connection that was refused needs to close, before its loop ends.
_CLOSING_SECONDS = 0.1


def examine(
    settings: Settings, *, clock: Clock, environ: Mapping[str, str], test_mail: str | None = None
) -> Iterator[Finding]:
    """Return the findings one by one, as they are made; raises nothing of what it looks for."""
    yield from _files(settings)
    yield _time_zone(settings, environ)
    yield from _pins(settings)
    findings, catalogs = asyncio.run(of_accounts(settings, clock))
    yield from findings
    yield from _reports(settings, catalogs)
    yield from list(_database(settings, clock))  # nothing stays open while a person reads
    yield from _mail(settings, clock, test_mail)
    yield from _hooks(settings)
    yield from _textfile(settings)
    yield from _published(settings)


# --- files and time --------------------------------------------------------------------------------------------------


def _files(settings: Settings) -> Iterator[Finding]:
    """Sort the warnings of the configuration: open files are one check, the rest another."""
    is_open = [warning for warning in settings.warnings if warning.endswith(OPEN_TO_ALL)]
    other = [warning for warning in settings.warnings if warning not in is_open]
    source = str(settings.source or "the environment")
    if other:
        for warning in other:
            yield warn("configuration", warning, "change it, unless this is meant", about=source)
    else:
        yield ok("configuration", counted(len(settings.accounts), "account"), about=source)
    for warning in is_open:
        sentence, _, advice = warning.partition("; ")
        yield warn("permissions", sentence, advice.replace(" it", " the file"))
    if not is_open:
        yield ok("permissions", "no secret is readable by everyone, or writable")


def _time_zone(settings: Settings, environ: Mapping[str, str]) -> Finding:
    configured = zone_name(settings.timezone)
    machine = environ.get("TZ", "").removeprefix(":")
    if machine and "/" in machine and not machine.startswith("/") and machine not in available_timezones():
        return warn(
            "time zone",
            f"this machine's TZ={machine} is no known zone, so cron's clock is UTC",
            "set TZ, or /etc/localtime, to a zone that exists",
        )
    there = f"; the machine's is {machine}" if machine and machine != configured else ""
    return ok("time zone", f"times are shown in {configured}{there}")


def _pins(settings: Settings) -> Iterator[Finding]:
    """Say which of the files and folders that reports find pins in are out of reach."""
    for report in settings.reports:
        for name in report.pins_from:
            try:
                for _ in pins_in(name) if name != LIVE else ():
                    pass
            except ValueError as exc:
                yield warn(
                    "pins",
                    f"{exc}; its pins are not watched",
                    "correct pins_from, or let it be read",
                    about=report.name,
                )


def _reports(settings: Settings, catalogs: Collection[Catalog | None]) -> Iterator[Finding]:
    """Say which filters and pins of reports are about nothing that runs ask, where all of that is known."""
    known = [catalog for catalog in catalogs if catalog is not None]
    for report in settings.reports if len(known) == len(catalogs) else ():
        about = report.subscription
        for one in of_report(report.name, about.watch.given(), about.pins, known):
            yield warn("reports", one.sentence, "correct it, or have `accounts` select it", about=report.name)


# --- webhooks and the ping -------------------------------------------------------------------------------------------


def _hooks(settings: Settings) -> Iterator[Finding]:
    """Connect to where reports and the ping go, without sending anything there."""
    for report in settings.reports:
        if report.url is not None and report.channel != "apprise":
            yield _reached("hook", report.to[0], report.url.reveal(), report.proxy, report.ca_file)
    if settings.ping is not None:
        url = settings.ping.reveal()
        host = urlsplit(url).hostname or ""
        yield _reached("ping", host, url, settings.ping_proxy, settings.ping_ca_file)


def _reached(check: str, name: str, url: str, proxy: Proxy | None, ca_file: Path | None) -> Finding:
    """Return whether a connection to *url* comes about, over TLS where it is https; *name* may be shown."""
    problem = connection_problem(url, proxy, ca_file, timeout_seconds=REACH_SECONDS)
    if problem:
        return fail(check, problem, way_fix(proxy), about=name)
    protocol = "over TLS, its certificate is good" if url.lower().startswith("https:") else "without TLS"
    return ok(check, f"takes a connection {protocol}{via(proxy)}", about=name)


# --- the database ----------------------------------------------------------------------------------------------------


def _database(settings: Settings, clock: Clock) -> Iterator[Finding]:
    address = parse_address(settings.database)
    path = address.path
    shown = settings.database_shown
    if path is not None:
        yield from _disk(path)
        yield from _names(path)
    yield _lock(settings, clock)
    if not address.may_exist:
        yield ok("database", "there is no history yet: the first run makes it", about=shown)
        return
    try:
        with opened(settings.database, read_only=True) as engine:
            state = schema_state(engine)
            upgrade = "crawler db upgrade"
            if state.name == "ahead":
                yield fail("schema", f"a newer program wrote {state.found}", "upgrade this program", about=shown)
                return
            if state.name != "current" and path is None:
                what = "has no schema yet" if state.name == "empty" else f"has an older schema, {state.found}"
                yield fail("schema", f"the database {what}", upgrade, about=shown)
                return
            if state.name != "current":
                message = "the next run upgrades the schema, after a copy"
                yield warn("schema", message, f"{upgrade}, to see that it works", about=shown)
                return
            yield ok("schema", f"{state.found}", about=shown)
            with read(engine) as conn:
                wrong = integrity.findings(conn)
                last = list(runs.runs(conn, 1))
                is_wal = path is not None and is_in_wal_mode(conn)
                rights = list(_rights(conn, shown)) if path is None else []
                fleet = list(_fleet(conn, settings, shown)) if path is None else []
                changed = list(_changed_variants(conn, settings))
            yield from rights
            yield from fleet
            yield from changed
            if is_wal:
                yield warn(
                    "journal",
                    "another tool put the file into WAL mode; runs and readers carry on in it, but while the file is "
                    "at rest a user without write permission on its folder cannot read it",
                    "close that tool, or take it out of WAL mode: the next run then puts the rollback journal back",
                    about=shown,
                )
            for sentence in wrong:
                yield fail("integrity", sentence, "restore a backup; `crawler db check` lists all", about=shown)
            if not wrong:
                yield ok("integrity", "the file and the history are sound", about=shown)
            for run in last:
                if run.requests["throttled"]:
                    yield warn(
                        "rate",
                        f"run {run.run} was told {counted(run.requests['throttled'], 'time')} that it asks too much",
                        "lower rate in [limits]: others may share the allowance",
                    )
    except (CrawlerError, sqlite3.DatabaseError) as exc:
        yield fail(
            "database", str(exc), "see that it exists, is reachable and readable; else restore a backup", about=shown
        )


def _changed_variants(conn: Connection, settings: Settings) -> Iterator[Finding]:
    """Return which variants mean another question than before: a run would not begin."""
    named = {account.name: account.named_variants for account in settings.accounts}
    for name, account_id in targets.find_accounts(conn, named).items():
        for sentence in targets.changed_variants(targets.known_variants(conn, account_id), named[name]):
            yield fail("variants", sentence, targets.NEW_NAME, about=name)


def _fleet(conn: Connection, settings: Settings, shown: str) -> Iterator[Finding]:
    """Return how the workers are, where there are any; those that left in order are none."""
    known = workers.workers(conn, silent_after=settings.fleet.evict_after)
    alive = [one for one in known if one.state == "alive"]
    if said := workers.drained(conn):
        yield warn("fleet", f"the fleet is drained {said}", "`crawler fleet resume` has the workers go on", about=shown)
    for one in known:
        if one.state == "silent":
            place = f"{one.host}:{one.pid}"
            yield warn("fleet", f"worker {place} stands still", f"crawler fleet evict {place}", about=shown)
    for what, found in (
        ("versions of the program", {one.version for one in alive}),
        ("configurations", {one.config for one in alive}),
    ):
        if len(found) > 1:
            listed = ", ".join(sorted(found))
            yield warn("fleet", f"workers have different {what}: {listed}", "bring all hosts to one", about=shown)
    if known and not alive:
        yield warn("fleet", "no worker is alive", "start `crawler worker`; `crawler fleet status`", about=shown)
    elif alive:
        hosts = counted(len({one.host for one in alive}), "host")
        yield ok("fleet", f"{counted(len(alive), 'worker')} on {hosts}", about=shown)


def _rights(conn: Connection, shown: str) -> Iterator[Finding]:
    """Return whether the role of *conn*, on PostgreSQL, may write what a run writes, and who upgrades."""
    missing = missing_rights(conn)
    if missing:
        yield fail(
            "rights",
            f"this role lacks what a run needs: {', '.join(missing)}",
            "let the role that owns the tables run, or grant it these (docs/permissions.md)",
            about=shown,
        )
        return
    owner = schema_owner(conn)
    upgrades = "this role" if owner is None else f"only the role {owner}, which owns the tables,"
    yield ok("rights", f"runs may write; {upgrades} can upgrade the schema", about=shown)


def _disk(path: Path) -> Iterator[Finding]:
    folder = path.parent
    try:
        free, size = shutil.disk_usage(folder).free, 0
        with suppress(FileNotFoundError):
            size = path.stat().st_size
    except OSError as exc:
        yield fail("disk", f"{folder}: {exc.strerror}", "make the folder, or change `database`")
        return
    wanted = max(LEAST_FREE_BYTES, 2 * size)
    text = f"{free / 2**20:.0f} MB free beside a database of {size / 2**20:.1f} MB"
    if free < wanted:
        fix = f"free {(wanted - free) / 2**20:.0f} MB: an upgrade copies the database first (crawler db prune)"
        yield (fail if free < size or free < LEAST_FREE_BYTES / 8 else warn)("disk", text, fix, about=str(folder))
    else:
        yield ok("disk", text, about=str(folder))


def _names(path: Path) -> Iterator[Finding]:
    """Warn of a file with several names: the lock, and the journal of SQLite, belong to the name that is used."""
    with suppress(OSError):
        count = path.stat().st_nlink
        if count > 1:
            yield warn(
                "names",
                f"the file has {count} names (hard links): runs by different ones do not keep each other out",
                "use one name and remove the others; a symbolic link is no other name",
                about=str(path),
            )


def _lock(settings: Settings, clock: Clock) -> Finding:
    names = [account.name for account in settings.accounts]
    try:
        with take_locks(settings.database, names, clock=clock, is_trial=True):
            return ok("lock", "free: no run is at work")
    except LockTaken as exc:
        deadline = max(account.limits.run_deadline_seconds for account in settings.accounts)
        limit = deadline + settings.report_deadline_seconds + GRACE_SECONDS
        if exc.since is not None and (clock() - exc.since).total_seconds() > limit:
            age = show_duration(timedelta(seconds=round((clock() - exc.since).total_seconds())))
            return fail("lock", f"{exc} That is {age}, longer than any run may take.", "look at that process; end it")
        return ok("lock", str(exc))
    except SchemaMismatch as exc:
        return warn("lock", f"not tried: {exc}", "crawler db upgrade")
    except CrawlerError as exc:
        fix = "run the doctor as the user who runs the crawler, with its rights"
        if parse_address(settings.database).path is None:
            fix = "see that PostgreSQL is reachable, without a pooler or through one with pool_mode = session"
        return fail("lock", str(exc), fix)


# --- mail and metrics ------------------------------------------------------------------------------------------------


def _mail(settings: Settings, clock: Clock, test_mail: str | None) -> Iterator[Finding]:
    smtp = settings.smtp
    if smtp is None:
        if test_mail is not None:
            yield fail("mail", "there is no [smtp] to send a test mail over", "add [smtp] to the configuration")
        return
    server = f"{smtp.host}:{smtp.port}"
    how = "logs in" if smtp.username else "takes a connection"
    try:
        asyncio.run(_try_mail(settings, clock, test_mail))
    except (TransportError, OSError, ValueError) as exc:
        said = str(exc).removeprefix(f"{server} ")
        yield fail("mail", said, "check [smtp]: host, port, security, username and password", about=server)
        return
    yield ok("mail", f"the server {how}, security {smtp.security}", about=server)
    if test_mail is not None:
        yield ok("test mail", f"handed over for {test_mail}; see whether it arrives", about=server)


async def _try_mail(settings: Settings, clock: Clock, test_mail: str | None) -> None:
    channel = channels_of(settings, clock)["email"]
    try:
        await _try_session(channel, settings, clock, test_mail)
    except TransportError:
        await asyncio.sleep(_CLOSING_SECONDS)
        raise


async def _try_session(channel: Channel, settings: Settings, clock: Clock, test_mail: str | None) -> None:
    async with channel.session() as session:
        if test_mail is None or settings.smtp is None:
            return
        sender = settings.smtp.sender
        message = EmailMessage(policy=SMTP)
        message["Subject"] = "Test mail of crawler doctor"
        message["From"], message["To"] = sender, test_mail
        message["Date"] = format_datetime(clock())
        message["Message-ID"] = make_msgid(domain=parseaddr(sender)[1].rpartition("@")[2] or "crawler.invalid")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("This mail came over the server that reports leave through. Nothing else is to be done.\n")
        for refusal in (await session.send(message.as_bytes(), [parseaddr(test_mail)[1]])).values():
            raise TransportError(refusal.message, permanent=refusal.permanent)


def _textfile(settings: Settings) -> Iterator[Finding]:
    path = settings.metrics.textfile
    if path is None:
        return
    if complaint := unfit_folder(path.parent):
        yield fail(
            "metrics", complaint, "make the folder writable for the user who runs the crawler, or change textfile"
        )
    elif path.suffix != ".prom":
        yield warn("metrics", f"{path.name} does not end in .prom, so node_exporter ignores it", "rename textfile")
    else:
        yield ok("metrics", f"written to {path}")


def _published(settings: Settings) -> Iterator[Finding]:
    if settings.publish is None:
        return
    path = settings.publish.dir
    # a publication makes what is missing of it
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if complaint := unfit_folder(there):
        yield fail("publish", complaint, "make the folder writable for the user who runs the crawler, or change dir")
    else:
        yield ok("publish", f"published into {path}")
