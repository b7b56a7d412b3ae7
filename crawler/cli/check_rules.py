"""
A rules file of `crawler check`: TOML in, rules out, or every problem of it at once.

    [[require]]                 [[pinned]]
    name = "Ubuntu 20.04"       ids = ["uimage-vareox"]
    zones = ["cn-*", "hk-02"]   zone = "hk-02"
    gpu = true
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from crawler.cli.hints import kind_not_asked
from crawler.config.toml import parse_toml
from crawler.domain.filters import Filters, is_glob, named_by, part_fits
from crawler.domain.models import is_storable
from crawler.domain.suggest import did_you_mean
from crawler.errors import ConfigurationError
from crawler.queries.check.rules import PinRule, Require

#: Other spellings of a key.
_SAME = {
    "zone": "zones", "id": "ids", "image_id": "ids", "image_ids": "ids", "account": "accounts", "project": "projects",
    "region": "regions", "kinds": "kind", "variants": "variant",
}  # fmt: skip
_SCOPE = {"accounts": "account", "projects": "project", "regions": "region", "kind": "kind", "variant": "variant"}
_KEYS = {
    "require": ("name", "zones", "gpu", *_SCOPE),
    "pinned": ("ids", "zones", "gpu", *_SCOPE),
}


@dataclass(slots=True, kw_only=True)
class _RulesReader:
    """Reads one file and collects its problems; *known*: the words of the history, by part of a target."""

    known: Mapping[str, Collection[str]]
    problems: list[str] = field(default_factory=list)

    def rules(self, document: Mapping[str, Any], source: str) -> Iterator[Require | PinRule]:
        for table, value in document.items():
            if table not in _KEYS:
                hint = did_you_mean(table, _KEYS)
                self.problems.append(f"{table}: is no table of rules{hint or '; write [[require]] or [[pinned]]'}")
            elif not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
                self.problems.append(f"{table}: must be a list of tables, as in [[{table}]]")
            else:
                for number, entry in enumerate(value, start=1):
                    yield from self._rule(table, entry, f"{table}[{number}]", source)

    def _rule(self, table: str, entry: Mapping[str, Any], where: str, source: str) -> Iterator[Require | PinRule]:
        values = self._values(table, entry, where)
        scope_words = {part: self._words(values, key, where) for key, part in _SCOPE.items()}
        self._known_words(scope_words, where)
        zones = self._words(values, "zones", where)
        gpu = values.get("gpu")
        if gpu is not None and not isinstance(gpu, bool):
            self.problems.append(f"{where}.gpu: must be true or false")
            gpu = None
        file, source = source, f"{source}, {where}"
        if table == "require":
            self._known_words({"zone": zones}, where)
            name = values.get("name")
            if not isinstance(name, str) or not _is_word(name):
                self.problems.append(f"{where}.name: {'is missing' if name is None else 'must be a text in quotes'}")
                return
            scope = Filters(**{**scope_words, "variant": scope_words["variant"] or ("default",)})
            yield Require(name=name, zones=zones or ("*",), gpu=bool(gpu), scope=scope, source=source, file=file)
            return
        ids = self._words(values, "ids", where)
        if "ids" not in values:
            self.problems.append(f"{where}.ids: is missing")
        self._plain(zones, f"{where}.zones")
        self._plain(ids, f"{where}.ids")
        self._known_words({"zone": tuple(zone for zone in zones if not is_glob(zone))}, where)
        scope = Filters(**scope_words)
        for image_id in ids:
            for zone in zones or (None,):
                yield PinRule(image_id=image_id, zone=zone, gpu=gpu, scope=scope, source=source, file=file)

    def _values(self, table: str, entry: Mapping[str, Any], where: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in entry.items():
            plain = key if key in _KEYS[table] else _SAME.get(key, key)
            if plain not in _KEYS[table]:
                hint = did_you_mean(key, _KEYS[table]) or f"; known: {', '.join(_KEYS[table])}"
                self.problems.append(f"{where}.{key}: is no key of a rule{hint}")
            elif plain in values:
                self.problems.append(f"{where}.{key}: says the same as {plain}; keep one")
            else:
                values[plain] = value
        return values

    def _words(self, values: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = values.get(key)
        if value is None:
            return ()
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not words or not all(map(_is_word, words)):
            self.problems.append(f'{where}.{key}: must be a text or a list of texts, as in ["hk-02"]')
            return ()
        return tuple(words)

    def _plain(self, words: tuple[str, ...], where: str) -> None:
        self.problems.extend(f"{where}: {word!r} is a glob; a pin names one" for word in words if is_glob(word))

    def _known_words(self, words: Mapping[str, tuple[str, ...]], where: str) -> None:
        """Note words that fit nothing the history knows; a variant may be one that nobody asks for yet."""
        for part, globs in words.items():
            known = self.known.get(part, ())
            if part == "variant" or not known:
                continue
            for glob in globs:
                if not any(part_fits(part, word, [named_by(glob)]) for word in known):
                    hint = kind_not_asked(part, named_by(glob)) or did_you_mean(glob, known)
                    self.problems.append(f"{where}: the history knows no {part} {glob!r}{hint}")


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and is_storable(value)


def read_rules(text: str, source: str, known: Mapping[str, Collection[str]]) -> list[Require | PinRule]:
    """
    Return the rules in *text*; *known* are the words of the history by part of a target, empty where it has none yet.

    Raises ConfigurationError with every problem at once.
    """
    reader = _RulesReader(known=known)
    rules = list(reader.rules(parse_toml(text, source), source))
    if not rules and not reader.problems:
        reader.problems.append("holds no rule; write [[require]] or [[pinned]]")
    if reader.problems:
        raise ConfigurationError(source, reader.problems)
    return rules
