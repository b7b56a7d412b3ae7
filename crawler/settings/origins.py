"""Where each value of the configuration comes from: the file, the environment, a secret file, a profile, a default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crawler.settings.toml import read_toml

_DEFAULT = "default"


def origins_of(document: Mapping[str, Any], source: Path | None, *, database_given: bool = False) -> dict[str, str]:
    """Give the origin of every value of *document* (`show.as_document`) by its path, such as `limits.rate`."""
    raw = read_toml(source) if source else {}
    name = source.name if source else "environment"
    found = dict(_walk(document, raw, "", name))
    if "accounts" not in raw:
        found |= {path: "environment" for path in found if path.startswith("accounts[") and _is_key(path)}
    if database_given:
        found["database"] = "--database"
    return found


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
