"""
Settings shown to people: the document of `config show`, where each value comes from, and what a scheduler has to
bring.

Secrets are masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crawler.config.models import MASK, AccountSettings, Limits, ReportSettings, Settings
from crawler.config.schema import SECRET_KEYS
from crawler.config.sources import texts_of
from crawler.config.toml import read_toml
from crawler.domain.models import DEFAULT_VARIANT
from crawler.domain.proxies import DIRECT, Proxy
from crawler.domain.subscriptions import show_when
from crawler.domain.timefmt import show_duration, zone_name


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
        document["network"] = _way(settings.ping_proxy, settings.ping_ca_file)
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


def _way(proxy: Proxy | None, ca_file: Path | None) -> dict[str, Any]:
    """Return what leads to an address: the proxy that counts, by whatever setting, and the certificates."""
    shown = {"proxy": shown_proxy(proxy)}
    return shown | ({"ca_file": str(ca_file)} if ca_file is not None else {})


def shown_proxy(proxy: Proxy | None) -> str:
    """Return *proxy* as `proxy` has it, its password masked."""
    if proxy is None:
        return DIRECT
    return proxy.url.replace("://", f"://{quote(proxy.username)}:{MASK}@", 1) if proxy.username else proxy.url


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
    table |= _way(account.proxy, account.ca_file)
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
        **(_way(report.proxy, report.ca_file) if report.channel in ("webhook", "feishu") else {}),
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


_DEFAULT = "default"


def origins_of(settings: Settings, *, database_given: bool = False) -> dict[str, str]:
    """Return the origin of every value that `as_document` gives of *settings*, by its path, such as `limits.rate`."""
    document, source = as_document(settings), settings.source
    raw = read_toml(source) if source else {}
    name = source.name if source else "environment"
    found = dict(_walk(document, raw, "", name))
    if "accounts" not in raw:
        found |= {path: "environment" for path in found if path.startswith("accounts[") and _is_key(path)}
    if database_given:
        found["database"] = "--database"
    return found | _proxy_origins(settings, found)


def _proxy_origins(settings: Settings, found: Mapping[str, str]) -> dict[str, str]:
    """Return the origins of what `[network]` or the environment says of proxies and certificates."""
    ways: dict[str, Proxy | None] = {"network": settings.ping_proxy}
    ways |= {f"accounts[{index}]": account.proxy for index, account in enumerate(settings.accounts)}
    ways |= {f"reports[{index}]": report.proxy for index, report in enumerate(settings.reports)}
    variables = {f"{at}.proxy": proxy.variable for at, proxy in ways.items() if proxy is not None}
    origins = {path: f"environment ({variable})" for path, variable in variables.items() if variable}
    shared = {path for path in variables.keys() - origins.keys() if found.get(path) == _DEFAULT}
    shared |= {path for path, origin in found.items() if path.endswith(".ca_file") and origin == _DEFAULT}
    return origins | dict.fromkeys(shared, "[network]")


def _is_key(path: str) -> bool:
    return path.endswith(("public_key", "private_key", "endpoint", "projects"))


def _walk(value: Mapping[str, Any], raw: Any, at: str, name: str) -> Iterator[tuple[str, str]]:
    table = raw if isinstance(raw, dict) else {}
    for key, item in value.items():
        path = f"{at}.{key}" if at else key
        inner = table.get(key)
        if isinstance(item, dict):
            yield from _walk(item, inner, path, name)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            rows = inner if isinstance(inner, list) else []
            for index, row in enumerate(item):
                yield from _walk(row, rows[index] if index < len(rows) else {}, f"{path}[{index}]", name)
        else:
            yield path, _origin(table, key, name)


def _origin(table: Mapping[str, Any], key: str, name: str) -> str:
    if f"{key}_file" in table:
        return f"file {table[f'{key}_file']}"
    if key in table:
        return f"{name}, environment" if "${" in str(table[key]) else name
    if key in ("public_key", "private_key") and "profile" in table:
        return f"profile {table['profile']}"
    return _DEFAULT


#: `${NAME}` without a default; `$${` is a literal.
_NEEDED = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


#: Files that hold no secret.
_PUBLIC_FILES = ("ca_file", "pins_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the file does not hold itself."""

    #: Secret files under a bare name, which systemd's credentials may stand for: name and path.
    credentials: tuple[tuple[str, Path], ...] = ()
    #: Other secret files.
    files: tuple[Path, ...] = ()
    #: Environment variables without a default.
    variables: tuple[str, ...] = ()
    #: Those of them that stand where a key, a password or another secret does.
    secrets: tuple[str, ...] = ()


def needs_of(path: Path) -> Needs:
    """Give what the configuration at *path*, which was read before, needs around it."""
    document = read_toml(path)
    folder = path.absolute().parent
    credentials: dict[str, Path] = {}
    files: dict[Path, None] = {}
    variables: dict[str, None] = {}
    secrets: dict[str, None] = {}
    for keys, text in texts_of(document):
        key, named = keys[-1], dict.fromkeys(_NEEDED.findall(text))
        variables.update(named)
        if not SECRET_KEYS.isdisjoint(keys):
            secrets.update(named)
        if not key.endswith("_file") or "${" in text or key in _PUBLIC_FILES:
            continue
        if "/" in text:
            files[folder / Path(text).expanduser()] = None
        else:
            credentials[text] = folder / text
    return Needs(
        credentials=tuple(credentials.items()), files=tuple(files), variables=tuple(variables), secrets=tuple(secrets)
    )


def files_beside(path: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the public files that the configuration at *path* names: those in its folder, and the others."""
    folder = path.absolute().parent
    named = [text for keys, text in texts_of(read_toml(path)) if keys[-1] in _PUBLIC_FILES]
    files = dict.fromkeys(folder / Path(text).expanduser() for text in named)
    beside = tuple(file for file in files if file.parent == folder)
    return beside, tuple(file for file in files if file not in beside)
