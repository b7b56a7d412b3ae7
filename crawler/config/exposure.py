"""Whether a configuration holds a secret itself, or only says where to find one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crawler.config.models import SECRET_KEYS
from crawler.config.sources import Findings, expand_text, texts_of, warn_open
from crawler.db.url import passwords

#: What is a secret wherever it stands; a URL of a database or proxy is one by its password, a public key alone is none.
_SECRETS = SECRET_KEYS - {"database", "proxy", "public_key", "headers"}


def warn_open_configuration(raw: dict[str, Any], path: Path, findings: Findings) -> None:
    """Warn when the configuration *raw*, as it stands in *path*, holds a secret itself and is open to others."""
    if holds_secret(raw):
        warn_open(path, f"{path} holds a secret and", findings)


def holds_secret(raw: dict[str, Any]) -> bool:
    """Return whether the configuration *raw*, as it stands in its file, holds a secret itself."""
    return any(_is_secret(keys, text) for keys, text in texts_of(raw))


def _is_secret(keys: tuple[str, ...], text: str) -> bool:
    if any(map(_is_literal, passwords(_expanded(text)[0]))):
        return True
    is_kept = "headers" in keys or not _SECRETS.isdisjoint(keys)
    return is_kept and not keys[-1].endswith("_file") and _is_literal(text)


def _is_literal(text: str) -> bool:
    """Return whether *text* says something without the environment; the default of a reference does."""
    plain, unset = _expanded(text)
    return bool(plain.strip()) and not unset


def _expanded(text: str) -> tuple[str, list[str]]:
    """Return *text* where nothing is set in the environment, and what is said of references without a default."""
    unset: list[str] = []
    return expand_text(text, {}, unset.append), unset
