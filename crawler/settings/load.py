"""
`load()`: one TOML file and the environment in, frozen `Settings` out, or one error that names every problem.

The order: find the file, parse it, expand references, read secret files and profiles, check. No step stops at its first
problem.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from crawler.domain.models import DEFAULT_VARIANT
from crawler.domain.timefmt import parse_duration
from crawler.errors import ConfigurationError
from crawler.settings import checks
from crawler.settings.accounts import resolve_accounts
from crawler.settings.complaints import describe
from crawler.settings.database import database_url
from crawler.settings.exposure import warn_open_configuration
from crawler.settings.reports import freeze_report, resolve_reports
from crawler.settings.schema import AccountTable, FileTable, LimitsTable, SmtpTable
from crawler.settings.sources import (
    Findings,
    Location,
    SecretFiles,
    candidates,
    expand_all,
    in_home,
)
from crawler.settings.toml import parse_toml, read_toml
from crawler.settings.values import (
    DEFAULT_DATABASE,
    AccountSettings,
    GuardSettings,
    Limits,
    PlaceSettings,
    Secret,
    Settings,
    SmtpSettings,
)
from crawler.textfiles import read_bytes

#: Readers need none of these; a secret that only cron's environment knows must not keep anyone from the history.
_CRAWL_ONLY = ("accounts", "limits", "guard", "smtp", "reports", "ping", "ping_file", "metrics")


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
    raw = read_toml(path) if path else {}
    return _build(raw, path, database, environ, need_accounts=need_accounts, cwd=cwd)


def loads(text: str, environ: Mapping[str, str], *, path: Path, need_accounts: bool = True) -> Settings:
    """Read the settings from *text*, as if it stood in *path*."""
    return _build(parse_toml(text, str(path)), path, None, environ, need_accounts=need_accounts, cwd=path.parent)


def find(config: Path | None, environ: Mapping[str, str], cwd: Path | None = None) -> Path | None:
    """Give the file that `load` would read, None when there is none."""
    return _find(config, environ, cwd or Path.cwd())


def _find(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    named = config or (Path(environ["CRAWLER_CONFIG"]) if environ.get("CRAWLER_CONFIG") else None)
    if named is not None:
        path = cwd / in_home(str(named), environ)
        if not os.path.lexists(path):
            said = "" if config else " (named by CRAWLER_CONFIG)"
            raise ConfigurationError(str(named), [f"there is no such file{said}"])
        return path
    # Unlike Path.is_file, no error where a folder on the way does not let this user in.
    return next((path for path in candidates(environ, cwd) if os.path.isfile(path)), None)  # noqa: PTH113 - see above


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
            _find_certificates(document["smtp"], folder, environ, findings)
        secrets.inline(document, "ping", ())
        resolve_reports(document, secrets, findings)
        checks.check(document, findings)
    model = _validate(document, findings)
    url = ""
    if database is not None:
        url = _database(database, cwd, ("--database",), environ, findings)
    elif not findings.covers(("database",)):
        named = document.get("database", DEFAULT_DATABASE)
        url = _database(str(named), folder, ("database",), environ, findings)
    if findings.problems or model is None:
        raise ConfigurationError(str(path or "environment"), findings.sentences()) from None
    return _freeze(model, url, folder, path, environ, tuple(dict.fromkeys(findings.warnings)))


def _database(text: str, folder: Path, at: Location, environ: Mapping[str, str], findings: Findings) -> str:
    try:
        return database_url(text, folder, environ)
    except ValueError as exc:
        findings.problem(at, str(exc))
        return ""


def _find_certificates(smtp: dict[str, Any], folder: Path, environ: Mapping[str, str], findings: Findings) -> None:
    name = smtp.get("ca_file")
    if not isinstance(name, str) or not name.strip():
        return  # the schema says so
    path = folder / in_home(name, environ)
    try:
        body = read_bytes(path)
    except ValueError as exc:
        findings.problem(("smtp", "ca_file"), f"{path} {exc}")
        return
    if b"-----BEGIN CERTIFICATE-----" not in body:
        findings.problem(("smtp", "ca_file"), f"{path} holds no certificate in PEM form")
    smtp["ca_file"] = str(path)


def _validate(document: dict[str, Any], findings: Findings) -> FileTable | None:
    try:
        return FileTable.model_validate(document)
    except ValidationError as exc:
        for location, sentence in describe(exc):
            if not findings.covers(location):
                findings.problem(location, sentence)
        return None


# --- models to values ------------------------------------------------------------------------------------------------


def _freeze(
    model: FileTable, url: str, folder: Path, path: Path | None, environ: Mapping[str, str], warnings: tuple[str, ...]
) -> Settings:
    limits = Limits(**model.limits.model_dump())
    return Settings(
        database=url,
        timezone=ZoneInfo(model.timezone),
        stale_after=parse_duration(model.stale_after),
        accounts=tuple(_account(account, limits) for account in model.accounts),
        limits=limits,
        guard=GuardSettings(**model.guard.model_dump()),
        smtp=_smtp(model.smtp) if model.smtp else None,
        reports=tuple(freeze_report(report, model.timezone) for report in model.reports),
        report_deadline_seconds=model.report_deadline_seconds,
        ping=Secret(str(model.ping)) if model.ping is not None else None,
        metrics_textfile=folder / in_home(model.metrics.textfile, environ) if model.metrics.textfile else None,
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
        tolerate=tuple(dict.fromkeys(table.tolerate)),
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
        timeout_seconds=table.timeout_seconds,
        ca_file=Path(table.ca_file) if table.ca_file is not None else None,
        verify=table.verify,
    )
