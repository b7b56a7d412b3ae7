"""
pydantic's findings as sentences for people: the key, the value's problem, the nearest valid key.

Values of keys that may hold a secret, and values from the environment, are never shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crawler.domain.suggest import did_you_mean
from crawler.settings.schema import SECRET_KEYS, keys_of, tables
from crawler.settings.sources import Expanded, Location

_KINDS_OF_VALUE = {
    "string_type": "must be a text in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": 'must be a list, as in ["*"]',
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "missing": "is missing",
}
_BOUNDS = {
    "greater_than": ("gt", "must be greater than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


def describe(error: ValidationError) -> Iterator[tuple[Location, str]]:
    """Give the key's location and one sentence for each of pydantic's findings."""
    for details in error.errors(include_url=False):
        location = _plain(details["loc"])
        yield location, _sentence(details, location)


def _plain(location: tuple[str | int, ...]) -> Location:
    return tuple(part for part in location if part != "[key]")


def _sentence(details: ErrorDetails, location: Location) -> str:
    kind = details["type"]
    context = details.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown_key(location)
    if kind == "missing":
        return "is missing"
    shown = _shown(details["input"], location)
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{shown}{words} {context[bound]:.12g}"
    if kind == "too_short":
        return "is empty"
    if kind == "literal_error":
        return f"{shown}must be one of {str(context['expected']).replace(' or ', ', ')}"
    if kind == "value_error":
        return f"{shown}{context['error']}"
    return f"{shown}{_KINDS_OF_VALUE.get(kind, details['msg'])}"


def _unknown_key(location: Location) -> str:
    key = str(location[-1])
    table = tuple(str(part) for part in location[:-1] if isinstance(part, str))
    elsewhere = [path for path in tables() if path != table and key in keys_of(path)]
    hint = did_you_mean(key, keys_of(table))
    inside = [path for path in elsewhere if table and path[:-1] == table]
    if hint and inside:
        hint += f" (or {' or '.join(_header(path) for path in inside)} for it)"
    if not hint and elsewhere:
        hint = f"; it belongs in {' or '.join(_header(path) for path in elsewhere)}"
    return f"is no setting{hint or '; known here: ' + ', '.join(keys_of(table))}"


def _header(table: tuple[str, ...]) -> str:
    if not table:
        return "the top of the file"
    name = ".".join(table)
    return f"[[{name}]]" if table[-1] in ("accounts", "variants", "places", "reports") else f"[{name}]"


def _shown(value: Any, location: Location) -> str:
    if SECRET_KEYS.intersection(str(part) for part in location) or isinstance(value, Expanded):
        return ""
    if isinstance(value, bool):
        return f"{str(value).lower()} "
    if isinstance(value, int | float):
        return f"{value} "
    # A URL may carry a password, wherever it stands.
    if isinstance(value, str) and len(value) <= 80 and not ("://" in value and "@" in value):
        return f"{value!r} "
    return ""
