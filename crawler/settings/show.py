"""Settings as a document for people: the keys of `crawler.toml`, what counts for each, secrets masked."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from crawler.domain.models import DEFAULT_VARIANT
from crawler.domain.subscriptions import show_when
from crawler.domain.timefmt import show_duration, zone_name
from crawler.settings.values import MASK, AccountSettings, Limits, ReportSettings, Settings


def as_document(settings: Settings) -> dict[str, Any]:
    """Give the settings as the tables of a file; keys, passwords and headers are masked."""
    document: dict[str, Any] = {
        "database": settings.database_shown,
        "timezone": zone_name(settings.timezone),
        "stale_after": show_duration(settings.stale_after),
        "report_deadline_seconds": settings.report_deadline_seconds,
        "limits": asdict(settings.limits),
        "guard": asdict(settings.guard),
    }
    if settings.ping is not None:
        document["ping"] = MASK
    if settings.metrics_textfile is not None:
        document["metrics"] = {"textfile": str(settings.metrics_textfile)}
    if settings.smtp:
        smtp = settings.smtp
        document["smtp"] = {"host": smtp.host, "port": smtp.port, "security": smtp.security, "from": smtp.sender}
        if smtp.username is not None:
            document["smtp"] |= {"username": smtp.username, "password": MASK}
        document["smtp"] |= {"timeout_seconds": smtp.timeout_seconds, "verify": smtp.verify}
        if smtp.ca_file is not None:
            document["smtp"]["ca_file"] = str(smtp.ca_file)
    document["accounts"] = [_account(account, settings.limits) for account in settings.accounts]
    document["reports"] = [_report(report) for report in settings.reports]
    return document


def _account(account: AccountSettings, limits: Limits) -> dict[str, Any]:
    table: dict[str, Any] = {
        "name": account.name,
        "endpoint": account.endpoint,
        "public_key": MASK,
        "private_key": MASK,
        "projects": list(account.projects),
        "regions": list(account.regions),
        "zones": list(account.zones),
        "kinds": list(account.kinds),
    }
    if account.tolerate:
        table["tolerate"] = list(account.tolerate)
    if account.headers:
        table["headers"] = dict.fromkeys(account.headers, MASK)
    if account.limits != limits:
        own, common = asdict(account.limits), asdict(limits)
        table["limits"] = {key: value for key, value in own.items() if value != common[key]}
    table["variants"] = [
        {"name": name, **parameters} for name, parameters in account.variants.items() if name != DEFAULT_VARIANT
    ]
    table["places"] = [
        {key: value for key, value in place._asdict().items() if value is not None} for place in account.places
    ]
    return table


def _report(report: ReportSettings) -> dict[str, Any]:
    subscription = report.subscription
    table: dict[str, Any] = {
        "name": report.name,
        "channel": report.channel,
        **_address(report),
        "when": show_when(subscription.when),
        "timezone": zone_name(subscription.timezone),
        "language": subscription.language,
        "empty": subscription.empty,
        "patience": show_duration(subscription.patience),
        "alert_after": show_duration(report.alert_after),
        "urgent": list(subscription.urgent),
        "pins": [" ".join(pin) for pin in subscription.pins],
    }
    filters = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(subscription.watch).items()
        if value not in ((), None)
    }
    return {**table, "filters": filters} if filters else table


def _address(report: ReportSettings) -> dict[str, Any]:
    if report.channel == "email":
        return {"to": list(report.to)}
    return {"url": MASK, **({"secret": MASK} if report.secret is not None else {})}


def as_toml(document: dict[str, Any], path: str = "") -> str:
    """Write *document* as TOML: plain values first, then tables, then arrays of tables."""
    lines = [f"{_key(key)} = {_value(value)}" for key, value in document.items() if not _is_table(value)]
    for key, value in document.items():
        inner = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, dict):
            lines += ["", f"[{inner}]", as_toml(value, inner).rstrip("\n")]
        elif _is_table(value):
            for row in value:
                lines += ["", f"[[{inner}]]", as_toml(row, inner).rstrip("\n")]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _value(key)


def _value(value: Any) -> str:
    """Write a text, number, flag or list of texts; a JSON string is a TOML string but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
