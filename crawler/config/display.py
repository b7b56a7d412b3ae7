"""
Settings shown to people: the document of `config show`, where each value comes from, and what a scheduler has to
bring.

Secrets are masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from crawler.config.models import AUTO, DEFAULT_ENDPOINT, MASK, PUBLIC_TABLES, SECRET_KEYS, Settings, Table, keys_of
from crawler.config.sources import texts_of, without_environment
from crawler.config.toml import read_toml
from crawler.domain.models import DEFAULT_VARIANT
from crawler.domain.proxies import DIRECT, Proxy
from crawler.domain.subscriptions import Pin, When, show_when
from crawler.domain.text import quoted
from crawler.domain.timefmt import show_duration, zone_name


def as_document(settings: Settings) -> dict[str, Any]:
    """Return the settings as the tables of a file; keys, passwords and headers are masked."""
    document = {**_table(settings), "database": settings.database_shown}
    for table, account in zip(document["accounts"], settings.accounts, strict=True):
        table["limits"] = {key: own for key, own in table["limits"].items() if own != document["limits"][key]}
        table["variants"] = (
            AUTO
            if account.is_auto
            else [
                {"name": name, **parameters}
                for name, parameters in account.named_variants.items()
                if name != DEFAULT_VARIANT
            ]
        )
        if not account.is_auto:
            del table["matrix"]
        elif len(account.matrix.versions) == 1:
            table["matrix"]["versions"] = account.matrix.versions[0]
        table |= _way(account.proxy, account.ca_file)
        _drop_empty(table["ignore"], "fields")
        _drop_empty(table, "tolerate", "ignore", "headers", "limits")
        _move_last(table, "proxy", "ca_file", "tolerate", "headers", "ignore", "limits", "matrix", "variants", "places")
    for table, report in zip(document["reports"], settings.reports, strict=True):
        if report.channel != "email":
            del table["to"]
        if report.channel != "webhook":
            del table["format"]
        if report.channel in ("webhook", "feishu"):
            table |= _way(report.proxy, report.ca_file)
            _move_last(table, *keys_of(report))
        _drop_empty(table["filters"], *table["filters"])
        _move_last(table["filters"], "gpu")
        _drop_empty(table, "filters")
    _drop_empty(document, "metrics")
    if settings.ping is not None:
        document["network"] = _way(settings.ping_proxy, settings.ping_ca_file)
    else:
        del document["network"]
    if "smtp" in document:
        _move_last(document["smtp"], "username", "password", "timeout_seconds", "verify", "ca_file")
    _move_last(document, "ping", "network", "metrics", "publish", "smtp", "accounts", "reports")
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


def _drop_empty(table: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if table[key] in ({}, []):
            del table[key]


def _move_last(table: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if key in table:
            table[key] = table.pop(key)


def _table(table: Table) -> dict[str, Any]:
    """Return what is set in *table* by its keys."""
    found = {key: (getattr(table, one.name), one.repr) for key, one in keys_of(table).items()}
    return {key: _shown(value, is_shown) for key, (value, is_shown) in found.items() if value is not None}


def _shown(value: Any, is_shown: bool) -> Any:
    """Return *value* as a file has it."""
    if isinstance(value, Mapping):
        return {name: _shown(item, is_shown) for name, item in value.items()}
    if not is_shown:
        return MASK
    if isinstance(value, Table):
        return _table(value)
    if isinstance(value, tuple) and not isinstance(value, Pin):
        return [_shown(item, is_shown) for item in value]
    return next((write(value) for kind, write in _FORMS.items() if isinstance(value, kind)), value)


#: How values that are no plain ones are written.
_FORMS: dict[type, Callable[[Any], str]] = {
    ZoneInfo: zone_name,
    timedelta: show_duration,
    When: show_when,
    Pin: " ".join,
    Path: str,
}


def as_toml(document: dict[str, Any], path: str = "") -> str:
    """Write *document* as TOML: plain values first, then tables, then arrays of tables."""
    lines = [f"{_key(key)} = {quoted(value)}" for key, value in document.items() if not _is_table(value)]
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
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else quoted(key)


_DEFAULT = "default"
#: What of an account the environment gives, or a profile of the UCloud CLI, instead of the file.
_GIVEN = ("public_key", "private_key", "endpoint", "projects")


def origins_of(settings: Settings, *, database_given: bool = False) -> dict[str, str]:
    """Return the origin of every value that `as_document` gives of *settings*, by its path, such as `limits.rate`."""
    document, source = as_document(settings), settings.source
    raw = read_toml(source) if source else {}
    name = source.name if source else "environment"
    found = dict(_walk(document, raw, "", name))
    if "accounts" not in raw:
        found |= {
            f"accounts[{index}].{key}": "environment"
            for index, row in enumerate(document["accounts"])
            for key in _GIVEN
            if _is_given(row[key])
        }
    if database_given:
        found["database"] = "--database"
    return found | _proxy_origins(settings, found)


def _proxy_origins(settings: Settings, found: Mapping[str, str]) -> dict[str, str]:
    """Return the origins of what `[network]` or the environment says of proxies and certificates."""
    proxies: dict[str, Proxy | None] = {"network": settings.ping_proxy}
    proxies |= {f"accounts[{index}]": account.proxy for index, account in enumerate(settings.accounts)}
    proxies |= {f"reports[{index}]": report.proxy for index, report in enumerate(settings.reports)}
    variables = {f"{at}.proxy": proxy.variable for at, proxy in proxies.items() if proxy is not None}
    origins = {path: f"environment ({variable})" for path, variable in variables.items() if variable}
    shared = {path for path in variables.keys() - origins.keys() if found.get(path) == _DEFAULT}
    shared |= {path for path, origin in found.items() if path.endswith(".ca_file") and origin == _DEFAULT}
    return origins | dict.fromkeys(shared, "[network]")


def _is_given(value: Any) -> bool:
    """Return whether the *value* of one of these keys is another than that which counts where nobody gives one."""
    return value not in (DEFAULT_ENDPOINT, ["*"])


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
            yield path, _origin(table, key, item, name)


def _origin(table: Mapping[str, Any], key: str, value: Any, name: str) -> str:
    if f"{key}_file" in table:
        return f"file {table[f'{key}_file']}"
    if key in table:
        return f"{name}, environment" if "${" in str(table[key]) else name
    if key in _GIVEN and "profile" in table and _is_given(value):
        return f"profile {table['profile']}"
    return _DEFAULT


#: `${NAME}` without a default; `$${` is a literal.
_NEEDED = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
#: The same with a default.
_OPTIONAL = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*):-([^}]*)\}")

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
    #: Those with a default, and what that is.
    optional: tuple[tuple[str, str], ...] = ()
    #: Those without one that stand where a key, a password or another secret does.
    secrets: tuple[str, ...] = ()


def needs_of(path: Path) -> Needs:
    """Return what the configuration at *path*, which was read before, needs around it."""
    document = read_toml(path)
    folder = path.absolute().parent
    credentials: dict[str, Path] = {}
    files: dict[Path, None] = {}
    variables: dict[str, None] = {}
    secrets: dict[str, None] = {}
    optional: dict[tuple[str, str], None] = {}
    for keys, text in texts_of(document):
        key, named = keys[-1], dict.fromkeys(_NEEDED.findall(text))
        variables.update(named)
        optional.update(dict.fromkeys(_OPTIONAL.findall(text)))
        if keys[0] not in PUBLIC_TABLES and not SECRET_KEYS.isdisjoint(keys):
            secrets.update(named)
        if not key.endswith("_file") or key in _PUBLIC_FILES:
            continue
        name, unset = without_environment(text)
        if unset or not name.strip():
            continue
        if "/" in name:
            files[folder / Path(name).expanduser()] = None
        else:
            credentials[name] = folder / name
    return Needs(
        credentials=tuple(credentials.items()),
        files=tuple(files),
        variables=tuple(variables),
        optional=tuple(optional),
        secrets=tuple(secrets),
    )


def files_beside(path: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """
    Return the public files that the configuration at *path* names: those in its folder, and the others.

    Among the others are those that a variable without a default names.
    """
    folder = path.absolute().parent
    files: dict[Path, bool] = {}
    for keys, text in texts_of(read_toml(path)):
        if keys[-1] in _PUBLIC_FILES:
            name, unset = without_environment(text)
            file = folder / Path(name).expanduser()
            files[file] = file.parent == folder and not unset
    beside = tuple(file for file, is_beside in files.items() if is_beside)
    return beside, tuple(file for file in files if file not in beside)
