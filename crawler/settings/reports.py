"""
The reports of a file: pins read from files of their own, filters checked against the accounts, tables made values.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from crawler.domain.kinds import KINDS
from crawler.domain.subscriptions import Subscription, Watch, parse_pin, parse_when, pin_lines
from crawler.domain.suggest import did_you_mean
from crawler.domain.timefmt import parse_duration
from crawler.settings.schema import ReportTable
from crawler.settings.sources import Findings, Location, SecretFiles, in_home
from crawler.settings.values import ReportSettings, Secret
from crawler.textfiles import read_text

_LARGEST_FILE = 1024 * 1024


def resolve_reports(document: dict[str, Any], secrets: SecretFiles, findings: Findings) -> None:
    """Read the files that reports name, pins and secrets, and check the filters against the accounts."""
    reports = document.get("reports")
    for index, report in enumerate(reports if isinstance(reports, list) else []):
        if isinstance(report, dict):
            secrets.inline(report, "url", ("reports", index))
            secrets.inline(report, "secret", ("reports", index))
            _read_pins(report, ("reports", index), secrets, findings)
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
    if isinstance(report.get("pins", []), list):
        report["pins"] = [*report.get("pins", []), *found]


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
            if isinstance(glob, str) and glob.strip() and not any(fnmatchcase(name, glob) for name in known):
                hint = did_you_mean(glob, known) or f"; there is {', '.join(sorted(known))}"
                findings.problem((*at, "filters", key), f"{glob!r} fits none {what}{hint}")


def freeze_report(table: ReportTable, timezone: str) -> ReportSettings:
    """Give the values of one report; *timezone* is the file's, for a report without one."""
    filters = table.filters
    return ReportSettings(
        channel=table.channel,
        to=tuple(dict.fromkeys(table.to)) if table.url is None else (_shown_address(table.channel, table.url),),
        url=Secret(str(table.url)) if table.url is not None else None,
        secret=Secret(str(table.secret)) if table.secret is not None else None,
        alert_after=parse_duration(table.alert_after),
        subscription=Subscription(
            name=table.name,
            timezone=ZoneInfo(table.timezone or timezone),
            language=table.language,
            when=parse_when(table.when),
            watch=Watch(
                account=tuple(filters.account),
                project=tuple(filters.project),
                region=tuple(filters.region),
                zone=tuple(filters.zone),
                kind=tuple(filters.kind),
                name=tuple(filters.name),
                event=tuple(filters.event),
                gpu=filters.gpu,
            ),
            pins=tuple(dict.fromkeys(map(parse_pin, table.pins))),
            urgent=tuple(dict.fromkeys(table.urgent)),
            empty=table.empty,
            patience=parse_duration(table.patience),
        ),
    )


def _shown_address(channel: str, url: str) -> str:
    """Give the name of an address without its secret; an Apprise URL may have one in place of a host."""
    return f"{channel}:{url.partition('://')[0].lower() if channel == 'apprise' else urlsplit(url).hostname}"
