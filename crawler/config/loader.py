"""
`load()`: one TOML file and the environment in, frozen `Settings` out, or one error that names every problem.

The order: find the file, parse it, expand references, read secret files and profiles, validate, freeze. Keys of
accounts come from the file, secret files, the UCloud CLI's profiles, or the environment alone; pins of reports from
files of their own; the database is a URL, or a path relative to the file that says so.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crawler.config.models import (
    DEFAULT_DATABASE,
    AccountSettings,
    MetricsSettings,
    NetworkSettings,
    ReportSettings,
    Settings,
    keys_of,
)
from crawler.config.sources import (
    Findings,
    Location,
    SecretFiles,
    candidates,
    expand_all,
    home_of,
    in_home,
    plain_project,
    read_profile,
    warn_open,
    warn_open_configuration,
)
from crawler.config.textfiles import read_bytes, read_text
from crawler.config.texts import read_texts
from crawler.config.toml import parse_toml, read_toml
from crawler.db.url import parse_address, url_of
from crawler.domain.filters import named_by
from crawler.domain.kinds import KINDS
from crawler.domain.proxies import Proxy, proxy_for
from crawler.domain.subscriptions import LIVE, Pin, parse_pin, pin_lines
from crawler.domain.suggest import did_you_mean
from crawler.errors import ConfigurationError, UsageError

#: Readers need none of these; a secret that only cron's environment knows must not keep anyone from the history.
#: Workers could not be told from dead ones sooner.
SHORTEST_SILENCE = timedelta(seconds=5)

_CRAWL_ONLY = keys_of(Settings).keys() - {"database", "timezone", "stale_after"}


def load(
    config: Path | None,
    database: str | None,
    environ: Mapping[str, str],
    *,
    need_accounts: bool = True,
    is_thorough: bool = False,
    cwd: Path | None = None,
) -> Settings:
    """
    Read the settings from *config*, or from the first file of the search order, and from *environ*.

    *database* (a URL or path, relative to *cwd*) overrides the file's. Without *need_accounts* only what readers of
    the history need is looked at; with *is_thorough* also what is named for later. Raises ConfigurationError with every
    problem at once.
    """
    cwd = cwd or Path.cwd()
    path = _find(config, environ, cwd)
    raw = read_toml(path) if path else {}
    return _build(raw, path, database, environ, need_accounts=need_accounts, is_thorough=is_thorough, cwd=cwd)


def loads(text: str, environ: Mapping[str, str], *, path: Path, need_accounts: bool = True) -> Settings:
    """Read the settings from *text*, as if it stood in *path*."""
    return _build(parse_toml(text, str(path)), path, None, environ, need_accounts=need_accounts, cwd=path.parent)


def find(config: Path | None, environ: Mapping[str, str], cwd: Path | None = None) -> Path | None:
    """Return the file that `load` would read, None when there is none."""
    return _find(config, environ, cwd or Path.cwd())


def load_judging(config: Path | None, environ: Mapping[str, str], cwd: Path | None = None) -> Settings:
    """
    Return what says how answers are read and judged: `[guard]`, and each account's `tolerate` and `ignore`.

    Nothing else of the configuration is looked at: keys may be out of reach. Raises ConfigurationError with every
    problem at once.
    """
    path = _find(config, environ, cwd or Path.cwd())
    raw = read_toml(path) if path else {}
    from crawler.config import validation  # loads pydantic

    findings = Findings()
    kept = ("name", "tolerate", "ignore")
    accounts = raw.get("accounts", [])
    rows = [
        {"public_key": "-", "private_key": "-", **{key: value for key, value in row.items() if key in kept}}
        for row in (accounts if isinstance(accounts, list) else [])
        if isinstance(row, dict)
    ]
    document = expand_all({"guard": raw.get("guard", {}), "accounts": rows}, environ, findings)
    settings = validation.read(document, findings)
    if settings is None or findings.problems:
        raise ConfigurationError(str(path), findings.sentences()) from None
    return settings


def load_pins(
    config: Path | None, environ: Mapping[str, str], cwd: Path | None = None
) -> tuple[list[tuple[str, Pin]], list[str]]:
    """
    Return the pins of all reports with the reports' names, and the files and folders that reports name for more.

    Nothing else of the configuration is looked at: secrets of reports may be out of reach. Raises ConfigurationError
    with every problem at once.
    """
    path = _find(config, environ, cwd or Path.cwd())
    if path is None:
        return [], []
    findings = Findings()
    kept = ("name", "pins", "pins_file", "pins_from")
    rows = read_toml(path).get("reports", [])
    raw = [
        {key: value for key, value in row.items() if key in kept}
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict)
    ]
    reports = expand_all({"reports": raw}, environ, findings)["reports"]
    secrets = SecretFiles(folder=path.parent.absolute(), environ=environ, findings=findings)
    pins: list[tuple[str, Pin]] = []
    names: list[str] = []
    for index, report in enumerate(reports):
        _read_pins(report, ("reports", index), secrets, findings)
        _place_pins(report, secrets)
        for text in _texts(report.get("pins")):
            try:
                pins.append((str(report.get("name", "")), parse_pin(text)))
            except ValueError as exc:
                findings.problem(("reports", index, "pins"), f"{text!r} {exc}")
        names += _texts(report.get("pins_from"))
    if findings.problems:
        raise ConfigurationError(str(path), findings.sentences()) from None
    return list(dict.fromkeys(pins)), list(dict.fromkeys(names))


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _find(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    named = config or (Path(environ["CRAWLER_CONFIG"]) if environ.get("CRAWLER_CONFIG") else None)
    if named is not None:
        path = cwd / in_home(str(named), environ)
        if not os.path.lexists(path):
            said = "" if config else " (named by CRAWLER_CONFIG)"
            writes = f"`crawler init --file {shlex.quote(str(named))}` writes one"
            raise ConfigurationError(str(named), [f"there is no such file{said}; {writes}"])
        return path
    # Whatever has the name, or it would be passed over in silence; no error where a folder on the way is closed.
    return next((path for path in candidates(environ, cwd) if os.path.lexists(path)), None)


def _build(
    raw: dict[str, Any],
    path: Path | None,
    database: str | None,
    environ: Mapping[str, str],
    *,
    need_accounts: bool,
    is_thorough: bool = False,
    cwd: Path,
) -> Settings:
    findings = Findings()
    folder = path.parent.absolute() if path else cwd.absolute()
    if not need_accounts:
        raw = {key: value for key, value in raw.items() if key.removesuffix("_file") not in _CRAWL_ONLY}
    if path is not None:
        warn_open_configuration(raw, path, findings)
    if database is not None:
        raw = {key: value for key, value in raw.items() if key not in ("database", "database_file")}
    document = expand_all(raw, environ, findings)
    secrets = SecretFiles(folder=folder, environ=environ, findings=findings)
    secrets.inline(document, "database", ())
    if need_accounts:
        resolve_accounts(document, secrets, environ, findings, path)
        if isinstance(document.get("smtp"), dict):
            secrets.inline(document["smtp"], "password", ("smtp",))
        secrets.inline(document, "ping", ())
        resolve_reports(document, secrets, findings)
        resolve_networks(document, secrets, findings)
    settings = None if need_accounts else read_texts(document)
    if settings is None:
        from crawler.config import validation  # loads pydantic

        if need_accounts:
            validation.check(document, findings)
        settings = validation.read(document, findings)
    at, base = (("--database",), cwd) if database is not None else (("database",), folder)
    url = _database(
        str(document.get("database", DEFAULT_DATABASE)) if database is None else database, base, at, environ, findings
    )
    if is_thorough:
        from crawler.config.named_files import look_for_database, look_for_named

        look_for_database(url, at, findings)
        look_for_named(document, folder, environ, findings)
    if findings.problems or settings is None:
        raise ConfigurationError(str(path or "environment"), findings.sentences()) from None
    settings = _inherited(settings, document, environ, findings)
    _check_fleet(settings, url, findings)
    if findings.problems:
        raise ConfigurationError(str(path or "environment"), findings.sentences())
    textfile, publish = settings.metrics.textfile, settings.publish
    return replace(
        settings,
        database=url,
        metrics=MetricsSettings(textfile=textfile and folder / in_home(str(textfile), environ)),
        publish=publish and replace(publish, dir=folder / in_home(str(publish.dir), environ)),
        source=path,
        warnings=tuple(dict.fromkeys(findings.warnings)),
    )


def _database(text: str, folder: Path, at: Location, environ: Mapping[str, str], findings: Findings) -> str:
    if findings.covers(at):
        return ""
    try:
        return database_url(text, folder, environ)
    except ValueError as exc:
        findings.problem(at, str(exc))
        return ""


def resolve_networks(document: dict[str, Any], secrets: SecretFiles, findings: Findings) -> None:
    """Read the files of proxies, and look at those of certificates, wherever *document* names them."""
    tables: list[tuple[Location, Any]] = [(("network",), document.get("network")), (("smtp",), document.get("smtp"))]
    for key in ("accounts", "reports"):
        rows = document.get(key)
        tables += [((key, index), row) for index, row in enumerate(rows if isinstance(rows, list) else [])]
    for at, table in tables:
        if isinstance(table, dict):
            if at != ("smtp",):
                secrets.inline(table, "proxy", at)
            _find_certificates(table, at, secrets, findings)


def _find_certificates(table: dict[str, Any], at: Location, secrets: SecretFiles, findings: Findings) -> None:
    name = table.get("ca_file")
    if not isinstance(name, str) or not name.strip():
        return  # the schema says so
    path = secrets.folder / in_home(name, secrets.environ)
    try:
        body = read_bytes(path)
    except ValueError as exc:
        findings.problem((*at, "ca_file"), f"{path} {exc}")
        return
    if b"-----BEGIN CERTIFICATE-----" not in body:
        findings.problem((*at, "ca_file"), f"{path} holds no certificate in PEM form")
    else:
        _try_certificates(path, at, findings)
    table["ca_file"] = str(path)


def _try_certificates(path: Path, at: Location, findings: Findings) -> None:
    import ssl  # most configurations name no certificates

    try:
        ssl.create_default_context(cafile=path)
    except OSError:  # as ssl.SSLError is; what it says is the name of a function
        findings.problem((*at, "ca_file"), f"{path} holds a certificate that is damaged")


class Network:
    """How addresses are reached: `[network]`, what an account or report says instead, and the environment."""

    def __init__(self, table: NetworkSettings, environ: Mapping[str, str], findings: Findings) -> None:
        self._table = table
        self._environ = environ
        self._findings = findings

    def proxy(self, url: str | None, own: str | None, at: Location) -> Proxy | None:
        """Return the proxy that leads to *url*, which the table at *at* names with its *own* setting, if it has one."""
        if url is None:
            return None
        no_proxy = () if own is not None else self._table.no_proxy
        try:
            return proxy_for(url, own or self._table.proxy_text, no_proxy, self._environ)
        except ValueError as exc:
            self._findings.problem(at, str(exc))
            return None


def _inherited(
    settings: Settings, document: dict[str, Any], environ: Mapping[str, str], findings: Findings
) -> Settings:
    """Complete accounts and reports with what the *document* and *environ* say for all of them."""
    network, ca_file = Network(settings.network, environ, findings), settings.network.ca_file
    accounts = []
    for index, (account, row) in enumerate(zip(settings.accounts, document.get("accounts", ()), strict=True)):
        own = {key: getattr(account.limits, key) for key in row.get("limits", ())}
        accounts.append(
            replace(
                account,
                limits=replace(settings.limits, **own),
                proxy=network.proxy(account.endpoint, account.proxy_text, ("accounts", index)),
                ca_file=account.ca_file or ca_file,
            )
        )
    reports = []
    for index, report in enumerate(settings.reports):
        hook = report.url if report.channel != "apprise" else None
        reports.append(
            replace(
                report,
                to=_receivers(report),
                timezone=report.timezone or settings.timezone,
                page_url=settings.publish.url if settings.publish else None,
                proxy=network.proxy(hook.reveal() if hook else None, report.proxy_text, ("reports", index)),
                ca_file=(report.ca_file or ca_file) if hook is not None else None,
            )
        )
    ping = settings.ping.reveal() if settings.ping else None
    return replace(
        settings,
        accounts=tuple(accounts),
        reports=tuple(reports),
        smtp=settings.smtp and replace(settings.smtp, ca_file=settings.smtp.ca_file or ca_file),
        ping_proxy=network.proxy(ping, None, ("ping",)),
        ping_ca_file=ca_file,
    )


def _check_fleet(settings: Settings, database: str, findings: Findings) -> None:
    """Note budgets that cannot be kept, without a database that hosts share or with two rates, and a short silence."""
    if settings.fleet.evict_after < SHORTEST_SILENCE:
        findings.problem(("fleet", "evict_after"), "must be 5s or longer: a worker shows every 2 s that it is alive")
    first: dict[str, AccountSettings] = {}
    for index, account in enumerate(settings.accounts):
        limits, at = account.limits, ("accounts", index, "limits", "budget")
        if limits.budget is None:
            continue
        if parse_address(database).path is not None:
            findings.problem(
                at, "is shared through a PostgreSQL database, and there is none: leave it out, or set `database`"
            )
        other = first.setdefault(limits.budget, account)
        if (other.limits.rate, other.limits.period_seconds) != (limits.rate, limits.period_seconds):
            findings.problem(
                at,
                f"is one rate: {account.name} has {_rate(account)} and {other.name} has {_rate(other)} for it; "
                "give both the same",
            )


def _rate(account: AccountSettings) -> str:
    return f"{account.limits.rate:g} per {account.limits.period_seconds:g} s"


def _receivers(report: ReportSettings) -> tuple[str, ...]:
    """Return where *report* goes, without a secret; an Apprise URL may have one in place of a host."""
    if report.url is None:
        return report.to
    url = report.url.reveal()
    where = url.partition("://")[0].lower() if report.channel == "apprise" else urlsplit(url).hostname
    return (f"{report.channel}:{where}",)


# --- accounts and reports --------------------------------------------------------------------------------------------


def resolve_accounts(
    document: dict[str, Any],
    secrets: SecretFiles,
    environ: Mapping[str, str],
    findings: Findings,
    path: Path | None,
) -> None:
    """Complete every account of *document* with its keys, or make one from *environ* when there is none."""
    if "accounts" not in document:
        account = _environment_account(environ, findings, path)
        document["accounts"] = [account] if account else []
        return
    accounts = document["accounts"]
    if accounts == []:
        findings.problem(("accounts",), "is empty: there is nothing to ask")
    for index, account in enumerate(accounts if isinstance(accounts, list) else []):
        if isinstance(account, dict):
            _resolve_account(account, ("accounts", index), secrets, environ, findings)


def _resolve_account(
    account: dict[str, Any], at: Location, secrets: SecretFiles, environ: Mapping[str, str], findings: Findings
) -> None:
    secrets.inline(account, "public_key", at)
    secrets.inline(account, "private_key", at)
    headers = account.get("headers")
    if isinstance(headers, dict):
        for name in [name.removesuffix("_file") for name in headers if name.endswith("_file")]:
            secrets.inline(headers, name, (*at, "headers"))
    profile = account.get("profile")
    if not isinstance(profile, str):
        for key in ("public_key", "private_key"):
            if key not in account:
                findings.problem((*at, key), f"is missing (or give {key}_file, or a profile of the UCloud CLI)")
        return
    both = [key for key in ("public_key", "private_key") if key in account]
    if both:
        findings.problem((*at, "profile"), f"gives the keys, so {' and '.join(both)} must go (or the profile)")
        return
    del account["profile"]
    found = read_profile(profile, environ, lambda sentence: findings.problem((*at, "profile"), sentence))
    if home := home_of(environ):
        credentials = home / ".ucloud" / "credential.json"
        warn_open(credentials, str(credentials), findings)
    # Placeholders keep a profile that cannot be read from also being two missing keys.
    account["public_key"] = found.get("public_key", "unreadable")
    account["private_key"] = found.get("private_key", "unreadable")
    if found.get("base_url"):
        account.setdefault("endpoint", found["base_url"])
    if found.get("project_id"):
        account.setdefault("projects", [plain_project(found["project_id"])])


def _environment_account(environ: Mapping[str, str], findings: Findings, path: Path | None) -> dict[str, Any] | None:
    names = ("UCLOUD_PUBLIC_KEY", "UCLOUD_PRIVATE_KEY")
    absent = [name for name in names if not environ.get(name)]
    if absent:
        where = f"[[accounts]] to {path.name}" if path else "a crawler.toml (crawler init writes one)"
        state = "are not set" if len(absent) == 2 else f"is set without {absent[0]}"
        lead = " and ".join(names) if len(absent) == 2 else next(name for name in names if name not in absent)
        findings.problem((), f"there is no account: add {where}; {lead} {state} in the environment")
        return None
    account: dict[str, Any] = {
        "name": "default",
        "public_key": environ["UCLOUD_PUBLIC_KEY"].strip(),
        "private_key": environ["UCLOUD_PRIVATE_KEY"].strip(),
    }
    if environ.get("UCLOUD_BASE_URL"):
        account["endpoint"] = environ["UCLOUD_BASE_URL"]
    if environ.get("UCLOUD_PROJECT_ID"):
        account["projects"] = [plain_project(environ["UCLOUD_PROJECT_ID"])]
    return account


_LARGEST_FILE = 1024 * 1024


def resolve_reports(document: dict[str, Any], secrets: SecretFiles, findings: Findings) -> None:
    """Read the files that reports name, pins and secrets, and check the filters against the accounts."""
    reports = document.get("reports")
    for index, report in enumerate(reports if isinstance(reports, list) else []):
        if isinstance(report, dict):
            secrets.inline(report, "url", ("reports", index))
            secrets.inline(report, "secret", ("reports", index))
            secrets.inline(report, "old_secret", ("reports", index))
            _read_pins(report, ("reports", index), secrets, findings)
            _place_pins(report, secrets)
            _check_filters(report, ("reports", index), document, findings)


def _read_pins(report: dict[str, Any], at: Location, secrets: SecretFiles, findings: Findings) -> None:
    name = report.get("pins_file")
    if not isinstance(name, str) or not name.strip():
        return  # the schema says so
    path = secrets.folder / in_home(name, secrets.environ)
    try:
        text = read_text(path, _LARGEST_FILE)
    except ValueError as exc:
        findings.problem((*at, "pins_file"), f"{path} {exc}")
        return
    found = []
    for number, line in pin_lines(text):
        try:
            parse_pin(line)
        except ValueError as exc:
            findings.problem((*at, "pins_file"), f"{path}, line {number}: {exc}")
        else:
            found.append(line)
    del report["pins_file"]
    if isinstance(report.get("pins", []), list):
        report["pins"] = [*report.get("pins", []), *found]


def _place_pins(report: dict[str, Any], secrets: SecretFiles) -> None:
    """Make the paths of `pins_from` absolute: they are relative to the configuration's folder."""
    names = report.get("pins_from")
    words = [names] if isinstance(names, str) else names
    if isinstance(words, list) and all(isinstance(word, str) and word.strip() for word in words):
        report["pins_from"] = [
            word if word == LIVE else str(secrets.folder / in_home(word, secrets.environ)) for word in words
        ]


def _check_filters(report: dict[str, Any], at: Location, document: dict[str, Any], findings: Findings) -> None:
    filters = report.get("filters")
    if not isinstance(filters, dict):
        return
    accounts = document.get("accounts")
    rows = accounts if isinstance(accounts, list) else []
    names = {row["name"] for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)}
    for key, known, what in (("account", names, "of the accounts"), ("kind", set(KINDS), "of the known kinds")):
        globs = filters.get(key)
        for glob in [globs] if isinstance(globs, str) else globs if isinstance(globs, list) else []:
            if isinstance(glob, str) and glob.strip() and not any(fnmatchcase(name, named_by(glob)) for name in known):
                hint = did_you_mean(glob, known) or f"; there is {', '.join(sorted(known))}"
                findings.problem((*at, "filters", key), f"{glob!r} fits none {what}{hint}")


def database_url(text: str, folder: Path, environ: Mapping[str, str]) -> str:
    """
    Return *text*, a URL or a path relative to *folder*, as a URL; SQLite's holds an absolute path.

    Raises ValueError saying what is wrong, without a password.
    """
    if any(ord(char) < 32 for char in text):
        raise ValueError("must not contain control characters")
    try:
        address = parse_address(text)
    except UsageError as exc:
        raise ValueError(str(exc)) from None
    if address.path is None:
        return text
    # Taken from the text again: the home folder is that of the given environment.
    named = in_home(text, environ) if "://" not in text else address.path
    return url_of(Path(folder, named).absolute())
