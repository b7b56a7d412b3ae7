"""
`load()`: one TOML file and the environment in, frozen `Settings` out, or one error that names every problem.

The order: find the file, parse it, expand references, read secret files and profiles, check. No step stops at its first
problem.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from crawler.errors import ConfigurationError
from crawler.model import DEFAULT_VARIANT
from crawler.moments import parse_duration
from crawler.settings import checks
from crawler.settings.complaints import describe
from crawler.settings.schema import AccountTable, FileTable, LimitsTable, SmtpTable
from crawler.settings.sources import (
    Findings,
    Location,
    SecretFiles,
    candidates,
    expand_all,
    in_home,
    plain_project,
    read_profile,
)
from crawler.settings.values import (
    AccountSettings,
    GuardSettings,
    Limits,
    PlaceSettings,
    ReportSettings,
    Secret,
    Settings,
    SmtpSettings,
    hide_password,
)

_SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")
#: Readers need none of these; a secret that only cron's environment knows must not keep anyone from the history.
_CRAWL_ONLY = ("accounts", "limits", "guard", "smtp", "reports")


def load(
    config: Path | None,
    database: str | None,
    environ: Mapping[str, str],
    *,
    need_accounts: bool = True,
    cwd: Path | None = None,
) -> Settings:
    """
    Read the settings from *config*, or from the first file of the search order, and from *environ*.

    *database* (a URL or path, relative to *cwd*) overrides the file's. Without *need_accounts* only what readers of
    the history need is looked at. Raises ConfigurationError with every problem at once.
    """
    cwd = cwd or Path.cwd()
    path = _find(config, environ, cwd)
    raw = _parse(path) if path else {}
    return _build(raw, path, database, environ, need_accounts=need_accounts, cwd=cwd)


def loads(text: str, environ: Mapping[str, str], *, path: Path, need_accounts: bool = True) -> Settings:
    """Read the settings from *text*, as if it stood in *path*."""
    return _build(_parse_text(text, path), path, None, environ, need_accounts=need_accounts, cwd=path.parent)


def find(config: Path | None, environ: Mapping[str, str], cwd: Path | None = None) -> Path | None:
    """Give the file that `load` would read, None when there is none."""
    return _find(config, environ, cwd or Path.cwd())


def _find(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    named = config or (Path(environ["CRAWLER_CONFIG"]) if environ.get("CRAWLER_CONFIG") else None)
    if named is not None:
        path = cwd / in_home(str(named), environ)
        if not path.exists():
            said = "" if config else " (named by CRAWLER_CONFIG)"
            raise ConfigurationError(str(named), [f"there is no such file{said}"])
        return path
    return next((path for path in candidates(environ, cwd) if path.is_file()), None)


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as exc:
        raise ConfigurationError(str(path), [f"cannot be read: {exc.strerror or exc}"]) from None
    except UnicodeDecodeError as exc:
        raise ConfigurationError(str(path), [f"is not UTF-8 text (at byte {exc.start})"]) from None
    return _parse_text(text, path)


def _parse_text(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigurationError(str(path), [f"is not TOML: {exc}"]) from None


def _build(
    raw: dict[str, Any],
    path: Path | None,
    database: str | None,
    environ: Mapping[str, str],
    *,
    need_accounts: bool,
    cwd: Path,
) -> Settings:
    findings = Findings()
    folder = path.parent.absolute() if path else cwd.absolute()
    if not need_accounts:
        raw = {key: value for key, value in raw.items() if key not in _CRAWL_ONLY}
    if database is not None:
        raw = {key: value for key, value in raw.items() if key not in ("database", "database_file")}
    if path is not None:
        _warn_open_file(raw, path, findings)
    document = expand_all(raw, environ, findings)
    secrets = SecretFiles(folder=folder, environ=environ, findings=findings)
    secrets.inline(document, "database", ())
    if need_accounts:
        _resolve_accounts(document, secrets, environ, findings, path)
        if isinstance(document.get("smtp"), dict):
            secrets.inline(document["smtp"], "password", ("smtp",))
        checks.check(document, findings)
    model = _validate(document, findings)
    url = _database_url(database, cwd, "--database", environ, findings) if database is not None else None
    if url is None and isinstance(document.get("database", ""), str):
        shown = str(document.get("database") or FileTable.model_fields["database"].default)
        if not findings.covers(("database",)):
            url = _database_url(shown, folder, "database", environ, findings)
    if findings.problems or model is None or url is None:
        raise ConfigurationError(str(path or "environment"), findings.sentences()) from None
    return _freeze(model, url, path, tuple(dict.fromkeys(findings.warnings)))


def _validate(document: dict[str, Any], findings: Findings) -> FileTable | None:
    try:
        return FileTable.model_validate(document)
    except ValidationError as exc:
        for location, sentence in describe(exc):
            if not findings.covers(location):
                findings.problem(location, sentence)
        return None


# --- accounts --------------------------------------------------------------------------------------------------------


def _resolve_accounts(
    document: dict[str, Any],
    secrets: SecretFiles,
    environ: Mapping[str, str],
    findings: Findings,
    path: Path | None,
) -> None:
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
    found = read_profile(profile, environ, lambda sentence: findings.problem((*at, "profile"), sentence))
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


def _warn_open_file(raw: dict[str, Any], path: Path, findings: Findings) -> None:
    """Warn when the file itself holds a secret, not a reference to one, and everyone may read it."""
    tables: list[tuple[Any, str]] = [(raw.get("smtp"), "password")]
    accounts = raw.get("accounts")
    tables += [(account, "private_key") for account in (accounts if isinstance(accounts, list) else [])]
    literal = any(
        isinstance(table, dict) and isinstance(table.get(key), str) and "${" not in table[key] for table, key in tables
    )
    try:
        if literal and path.stat().st_mode & 0o004:
            findings.warnings.append(f"{path} holds a secret and is readable by everyone; chmod 600 it")
    except OSError:
        return


# --- the database ----------------------------------------------------------------------------------------------------


def _database_url(text: str, folder: Path, key: str, environ: Mapping[str, str], findings: Findings) -> str | None:
    """Give *text*, a URL or a path relative to *folder*, as a URL whose path is absolute."""
    location: Location = (key,)
    scheme = _SCHEME.match(text)
    name = scheme.group(1).lower() if scheme else "sqlite"
    if name in ("postgresql", "postgres", "postgresql+psycopg"):
        if any(char.isspace() for char in text):
            findings.problem(location, "must not contain spaces")
            return None
        return text
    if name not in ("sqlite", "sqlite+pysqlite"):
        findings.problem(location, f"{hide_password(text)!r} is neither a path nor a sqlite:// or postgresql:// URL")
        return None
    file, mark, query = text[scheme.end() :].partition("?") if scheme else (text, "", "")
    if scheme and file and not file.startswith("/"):
        findings.problem(location, f"{text!r} needs three slashes: sqlite:///{file}")
        return None
    file = file[1:] if scheme else file
    if not file.strip() or file == ":memory:":
        findings.problem(location, "must name a file: a history in memory would be forgotten at once")
        return None
    absolute = Path(folder, in_home(file, environ)).absolute()
    if "?" in str(absolute) or any(ord(char) < 32 for char in file):
        findings.problem(location, "must not contain ? or control characters in its path")
        return None
    if absolute.is_dir():
        findings.problem(location, f"{absolute} is a folder")
        return None
    return f"sqlite:///{absolute}{mark}{query}"


# --- models to values ------------------------------------------------------------------------------------------------


def _freeze(model: FileTable, url: str, path: Path | None, warnings: tuple[str, ...]) -> Settings:
    limits = Limits(**model.limits.model_dump())
    return Settings(
        database=url,
        timezone=ZoneInfo(model.timezone),
        stale_after=parse_duration(model.stale_after),
        accounts=tuple(_account(account, limits) for account in model.accounts),
        limits=limits,
        guard=GuardSettings(**model.guard.model_dump()),
        smtp=_smtp(model.smtp) if model.smtp else None,
        reports=tuple(
            ReportSettings(name=report.name, channel=report.channel, to=tuple(report.to), when=report.when)
            for report in model.reports
        ),
        source=path,
        warnings=warnings,
    )


def _account(table: AccountTable, limits: Limits) -> AccountSettings:
    variants: dict[str, dict[str, str]] = {DEFAULT_VARIANT: {}}
    for variant in table.variants:
        extra = variant.model_extra or {}
        variants[variant.name] = {key: checks.parameter_text(value) or "" for key, value in sorted(extra.items())}
    return AccountSettings(
        name=table.name,
        endpoint=table.endpoint,
        public_key=table.public_key,
        private_key=Secret(str(table.private_key)),
        projects=tuple(table.projects),
        regions=tuple(table.regions),
        zones=tuple(table.zones),
        kinds=tuple(checks.expand_kinds(table.kinds)),
        headers={name: value for name, value in table.headers.items() if value},
        variants=variants,
        places=tuple(PlaceSettings(region=p.region, zone=p.zone, project=p.project) for p in table.places),
        limits=_merged(table.limits, limits),
    )


def _merged(table: LimitsTable, limits: Limits) -> Limits:
    return replace(limits, **{name: getattr(table, name) for name in table.model_fields_set})


def _smtp(table: SmtpTable) -> SmtpSettings:
    return SmtpSettings(
        host=table.host,
        port=table.port,
        security=table.security,
        username=table.username,
        password=Secret(str(table.password)) if table.password is not None else None,
        sender=table.sender,
    )
