"""
What is wrong with an installation, and the fix: one finding per check, each with its state.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from sqlalchemy import Connection

from crawler.client.api import ApiClient, NetworkFailure
from crawler.client.api_options import Timing
from crawler.client.cancellation import Cancelled, CancelScope
from crawler.client.discovery import Discovery, discover
from crawler.client.fetcher import as_page
from crawler.client.responses import Refusal, read_answer
from crawler.client.retry import classify_ret_code
from crawler.config.models import AccountSettings, Settings
from crawler.config.named_files import unfit_folder
from crawler.config.pin_files import pins_in
from crawler.config.sources import OPEN_TO_ALL
from crawler.crawl.run import connect
from crawler.db import integrity, workers
from crawler.db.engine import is_in_wal_mode, opened, read
from crawler.db.locks import take_locks
from crawler.db.migrations import schema_state
from crawler.db.rights import missing_rights, schema_owner
from crawler.db.url import parse_address
from crawler.domain.composing import Composition
from crawler.domain.kinds import KINDS, Kind
from crawler.domain.kinds.instance_type import INSTANCE_TYPE
from crawler.domain.kinds.uk8s_version import UK8S_VERSION
from crawler.domain.models import Catalog, Target
from crawler.domain.objections import tolerance
from crawler.domain.proxies import Proxy
from crawler.domain.rows import JsonRow
from crawler.domain.subscriptions import LIVE
from crawler.domain.targets import configured_catalog, configured_projects, reconcile
from crawler.domain.text import agreeing, counted
from crawler.domain.timefmt import show_duration, zone_name
from crawler.domain.unmatched import of_report, unmatched
from crawler.errors import CrawlerError, LockTaken, SchemaMismatch
from crawler.notifications.channels.base import Channel, TransportError
from crawler.notifications.channels.registry import channels_of
from crawler.ops.deploy import GRACE_SECONDS
from crawler.ops.healthcheck_ping import connection_problem
from crawler.queries import runs

#: The Date header tells whole seconds, and an answer takes its time.
SKEW_WARN = timedelta(seconds=30)
SKEW_FAIL = timedelta(minutes=5)
#: So far off that the other side may well be the one that is wrong.
ODD_SKEW = timedelta(days=2)
#: A run needs little; an upgrade copies the database first.
LEAST_FREE_BYTES = 64 * 1024 * 1024
#: The longest look at one account.
PATIENCE_SECONDS = 60.0
#: So many projects are tried of each kind, and so many zones of a project whose first zones are closed to the key.
PROJECTS_TRIED = 20
ZONES_TRIED = 3
#: Refusals of a place, not of the key or the project: another zone may answer.
ZONE_REFUSALS = frozenset({230, 293})
#: The longest try to connect to a webhook or the dead man's switch.
REACH_SECONDS = 10.0

#: What a connection that was refused needs to close, before its loop ends.
_CLOSING_SECONDS = 0.1

Clock = Callable[[], datetime]


def examine(
    settings: Settings, *, clock: Clock, environ: Mapping[str, str], test_mail: str | None = None
) -> Iterator[Finding]:
    """Return the findings one by one, as they are made; raises nothing of what it looks for."""
    yield from _files(settings)
    yield _time_zone(settings, environ)
    yield from _pins(settings)
    findings, catalogs = asyncio.run(_accounts(settings, clock))
    yield from findings
    yield from _reports(settings, catalogs)
    yield from list(_database(settings, clock))  # nothing stays open while a person reads
    yield from _mail(settings, clock, test_mail)
    yield from _hooks(settings)
    yield from _textfile(settings)


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


# --- the cloud -------------------------------------------------------------------------------------------------------


async def _accounts(settings: Settings, clock: Clock) -> tuple[list[Finding], list[Catalog | None]]:
    """Return the findings about all accounts, and of each what it lists as a whole, as far as that is asked."""
    discoveries: dict[str, Discovery] = {}
    found = await asyncio.gather(*(_account(account, clock, discoveries) for account in settings.accounts))
    catalogs = [_asked_of(account, _whole(discoveries.get(account.name, Discovery()))) for account in settings.accounts]
    return [finding for findings in found for finding in findings], catalogs


def _whole(discovery: Discovery) -> Catalog | None:
    """Return what was listed as a whole; None where the places were not."""
    if discovery.places is None or discovery.incomplete:
        return None
    is_listed = discovery.projects is not None
    return Catalog(projects=discovery.projects or (), places=discovery.places, is_listed=is_listed)


def _asked_of(account: AccountSettings, listed: Catalog | None) -> Catalog | None:
    if listed is None:
        return None
    selection = account.selection()
    projects = tuple(filter(selection.wants_project, listed.projects))
    return replace(listed, projects=projects, places=tuple(filter(selection.wants_place, listed.places)))


def _reports(settings: Settings, catalogs: Collection[Catalog | None]) -> Iterator[Finding]:
    """Say which filters and pins of reports are about nothing that runs ask, where all of that is known."""
    known = [catalog for catalog in catalogs if catalog is not None]
    for report in settings.reports if len(known) == len(catalogs) else ():
        about = report.subscription
        for one in of_report(report.name, about.watch.given(), about.pins, known):
            yield warn("reports", one.sentence, "correct it, or have `accounts` select it", about=report.name)


async def _account(account: AccountSettings, clock: Clock, discoveries: dict[str, Discovery]) -> list[Finding]:
    """Return the findings about one account; what it answered about its places goes into *discoveries*."""
    timing = Timing(clock=clock)
    deadline = timing.monotonic() + PATIENCE_SECONDS
    try:
        async with connect(account, timing) as client:
            try:
                findings = [await _endpoint(client, account, timing, deadline)]
            except (NetworkFailure, Cancelled) as exc:
                return [
                    fail(
                        "endpoint",
                        f"{account.endpoint}: {exc}",
                        _way_fix(account.proxy),
                        about=account.name,
                    )
                ]
            skew = findings.pop()
            discovery = await discover(client, deadline=deadline, tolerated=account.tolerate)
            discoveries[account.name] = discovery
            catalog = known_catalog(account, discovery)
            asked: tuple[Target, ...] = ()
            if catalog is not None and discovery.credential is None:
                asked = reconcile(catalog, account.selection(), (), previous=None, is_good=True).asked
            brake = CancelScope(monotonic=timing.monotonic, deadline=deadline)
            async with brake.watched():
                tried = [
                    finding
                    async for finding in _actions(
                        client, account, (*asked, *(_offered(account, catalog) if asked else ())), brake
                    )
                ]
    except (OSError, ValueError) as exc:
        return [fail("endpoint", str(exc), "check the configuration of the account", about=account.name)]
    protocol = "over TLS, its certificate is good" if account.endpoint.startswith("https:") else "without TLS"
    reached = ok("endpoint", f"{account.endpoint} answers {protocol}{_via(account.proxy)}", about=account.name)
    return [reached, skew, *_discovered(account, discovery, catalog, asked), *tried]


async def _endpoint(client: ApiClient, account: AccountSettings, timing: Timing, deadline: float) -> Finding:
    """Ask once, and compare the clocks; raises NetworkFailure and Cancelled."""
    brake = CancelScope(monotonic=timing.monotonic, deadline=deadline)
    async with brake.watched():
        answer = await client.attempt(client.form("GetRegion"), brake)
    if answer.served_at is None:
        return ok("clock", "the answers carry no date to compare with", about=account.name)
    skew = answer.received_at - answer.served_at
    seconds = abs(round(skew.total_seconds()))
    lag = f"{seconds} s" if abs(skew) < ODD_SKEW else f"{abs(skew).days:,} days"
    message = f"this machine's clock is {lag} {'ahead of' if skew > timedelta() else 'behind'} the cloud's"
    fix = "let the machine follow a time server (timedatectl set-ntp true); observations are dated by its clock"
    if abs(skew) >= ODD_SKEW:
        message += f", which says it is {answer.served_at:%Y-%m-%d}"
        fix = f"see which of the two is right: a proxy may date the answers; if it is the cloud, {fix}"
    if abs(skew) > SKEW_FAIL:
        return fail("clock", message, fix, about=account.name)
    if abs(skew) > SKEW_WARN:
        return warn("clock", message, fix, about=account.name)
    return ok("clock", "this machine's clock agrees with the cloud's", about=account.name)


def known_catalog(account: AccountSettings, discovery: Discovery) -> Catalog | None:
    """Return what a run would ask now, without a history; None where it knows no place."""
    configured, _ = configured_projects(account.projects)
    if discovery.places is not None:
        return Catalog(projects=discovery.projects or configured, places=discovery.places)
    if not account.places:
        return None
    places = [(place.region, place.zone, place.project) for place in account.places]
    return configured_catalog(places, discovery.projects or configured)


def _offered(account: AccountSettings, catalog: Catalog | None) -> tuple[Target, ...]:
    """Return what is asked to find out what a matrix is made of; nothing where the account has none."""
    if not account.is_auto or catalog is None:
        return ()
    selection = replace(account.selection(), kinds=(UK8S_VERSION.name, INSTANCE_TYPE.name))
    return reconcile(catalog, selection, (), previous=None, is_good=True).asked


async def _actions(
    client: ApiClient, account: AccountSettings, asked: tuple[Target, ...], brake: CancelScope
) -> AsyncIterator[Finding]:
    """Call each action that lists images once per project, and in a few more zones where the first is refused."""
    groups: dict[tuple[str, str], dict[str, Target]] = {}
    for target in asked:
        groups.setdefault((target.kind, target.project), {}).setdefault(target.zone, target)
    refusals: dict[str, list[tuple[Target, Refusal]]] = {}
    tried: Counter[str] = Counter()
    for (name, _), zones in groups.items():
        kind, refusal = KINDS[name], None
        action = kind.action
        if tried[action] == PROJECTS_TRIED:
            continue
        for target in list(zones.values())[:ZONES_TRIED]:
            try:
                answer = await _ask(
                    client, Composition(target, kind, account.named_variants[target.variant]), kind, brake
                )
            except (NetworkFailure, Cancelled) as exc:
                yield warn("actions", f"{action} was not tried: {exc}", "try again later", about=account.name)
                return
            refusal = (target, client.heeded(answer)) if isinstance(answer, Refusal) else None
            if refusal is None or refusal[1].ret_code not in ZONE_REFUSALS:
                break
        tried[action] += 1
        if refusal is not None:
            refusals.setdefault(action, []).append(refusal)
    for action, count in tried.items():
        if action not in refusals:
            yield ok("actions", f"{action} is open to this key", about=account.name)
            continue
        target, said = refusals[action][0]
        where = f"in {target.place} of project {target.project}"
        others = len(refusals[action]) - 1
        more = f" and {counted(others, 'more project')}" if others else ""
        happened, fix = (
            ("failed", "try again later; where it lasts, show the provider the message")
            if said.ret_code is None or classify_ret_code(said.ret_code) == "transient"
            else ("is refused", "grant the action to this key there (docs/permissions.md), or deselect the project")
        )
        yield (fail if len(refusals[action]) == count else warn)(
            "actions",
            f"{action} {happened} {where}{more}: {said.message}",
            fix,
            about=account.name,
        )


async def _ask(
    client: ApiClient, composition: Composition, kind: Kind, brake: CancelScope
) -> Mapping[str, Any] | Refusal:
    """Ask the first question of an observation, and the other one where the cloud does not know its action."""
    while True:
        action, params = composition.question
        answered = await client.attempt(client.form(action, params), brake, secrets=kind.secrets)
        answer = read_answer(answered, action)
        if not isinstance(answer, Refusal) or composition.refused(as_page(answer)) is None:
            return answer


def _discovered(
    account: AccountSettings, discovery: Discovery, catalog: Catalog | None, asked: tuple[Target, ...]
) -> Iterator[Finding]:
    name = account.name
    if discovery.credential is not None:
        fix = {
            174: "check the public key, and whether this brand wants a channel-key header",
            171: "check the private key: the signature does not fit",
            294: "add this machine's address to the account's white-list",
        }.get(discovery.credential.ret_code or 0, "check both keys of the account, and that they are not disabled")
        yield fail("keys", discovery.credential.message, fix, about=name)
        return
    yield ok("keys", "a signed call was accepted", about=name)
    for sentence in tolerance(account.tolerate):
        yield warn("answers", sentence, "take out of `tolerate` what this brand answers rightly", about=name)
    for problem in discovery.problems:
        yield warn("catalog", problem, "runs fall back to the last catalog, or the configured places", about=name)
    for sentence in discovery.incomplete:
        yield warn("catalog", sentence, "show the provider the answer; nothing is retired while it is so", about=name)
    if discovery.projects_refused and not account.project_ids:
        yield warn(
            "catalog",
            f"the list of projects is not open to this key ({discovery.refusal})",
            "name the project ids under `projects`, where the default project is not meant",
            about=name,
        )
    _, unknown = configured_projects(account.projects)
    if discovery.projects is None and unknown:
        yield warn(
            "catalog",
            f"without the list of projects nobody knows the ids of {', '.join(map(repr, unknown))}",
            "give the ids (org-…) under `projects`",
            about=name,
        )
    if catalog is None:
        return
    if (listed := _whole(discovery)) is not None:
        for one in unmatched(account.selection(), listed):
            yield warn("catalog", one.sentence, "correct the word, or take it out", about=name)
    zones = {target.zone for target in asked if target.zone}
    regions = {target.region for target in asked}
    places = counted(len(zones), "zone") if zones else counted(len(regions), "region")
    if not asked:
        yield fail(
            "catalog",
            f"the selection matches none of {counted(len(catalog.places), 'zone')}",
            "widen projects, regions, zones or kinds; `crawler config show` tells what counts",
            about=name,
        )
        return
    yield ok("catalog", f"{counted(len(asked), 'target')} in {places}", about=name)
    yield _rate(account, len(asked))


def _rate(account: AccountSettings, targets: int) -> Finding:
    limits = account.limits
    seconds = targets * limits.period_seconds / limits.rate
    each = f"{limits.rate:g} {agreeing(limits.rate, 'request')} per {limits.period_seconds:g} s"
    if seconds > limits.run_deadline_seconds:
        return fail(
            "rate",
            f"at {each} asking {counted(targets, 'target')} takes {seconds:.0f} s, and the run ends after "
            f"{limits.run_deadline_seconds:g} s",
            "raise rate as far as the provider allows, or run_deadline_seconds, or select less",
            about=account.name,
        )
    more = ", and longer with the matrix: `crawler run --dry-run`" if account.is_auto else ""
    return ok("rate", f"at {each} a run takes at least {max(1, round(seconds))} s{more}", about=account.name)


def _via(proxy: Proxy | None) -> str:
    return f", through the proxy {proxy}" if proxy is not None else ""


def _way_fix(proxy: Proxy | None) -> str:
    """Say what to look at where an address cannot be reached."""
    if proxy is None:
        return "check the address, the network, a proxy or firewall, and the certificates of this machine"
    said = f"${proxy.variable}" if proxy.variable else "`proxy`"
    return (
        f"check {said}: its host, port, user and password, and what it lets through; `proxy`, `no_proxy` and `ca_file` "
        "in [network] say otherwise"
    )


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
        return fail(check, problem, _way_fix(proxy), about=name)
    protocol = "over TLS, its certificate is good" if url.lower().startswith("https:") else "without TLS"
    return ok(check, f"takes a connection {protocol}{_via(proxy)}", about=name)


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
            yield from rights
            yield from fleet
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


State = Literal["ok", "warn", "fail"]
_ORDER: dict[State, int] = {"ok": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(JsonRow):
    """The outcome of one check."""

    check: str
    #: The account, file or server it is about.
    about: str = ""
    state: State
    message: str
    #: What to do about it; empty where all is fine.
    fix: str = ""


def ok(check: str, message: str, *, about: str = "") -> Finding:
    """Say that a check found nothing wrong."""
    return Finding(check=check, state="ok", message=message, about=about)


def warn(check: str, message: str, fix: str, *, about: str = "") -> Finding:
    """Say what will do for now."""
    return Finding(check=check, state="warn", message=message, fix=fix, about=about)


def fail(check: str, message: str, fix: str, *, about: str = "") -> Finding:
    """Say what keeps runs from working."""
    return Finding(check=check, state="fail", message=message, fix=fix, about=about)


def worst(findings: Iterable[Finding]) -> State:
    """Return the worst state among *findings*."""
    return max((finding.state for finding in findings), key=_ORDER.__getitem__, default="ok")
