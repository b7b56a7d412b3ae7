"""
The two whole doors to the readers: `crawler.History`, and the commands, called in this process with a clock of ours.

A question is told once, in the words that both understand; both give rows of the same JSON, so answers compare equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from tempfile import NamedTemporaryFile
from typing import Any

from crawler.api import History
from crawler.domain.filters import Filters
from crawler.errors import CrawlerError
from crawler.queries.check.rules import PinRule, Require, exit_code
from tests.support.command import call

Rows = list[dict[str, Any]]
#: `kind` (require or pinned) and what the table says, in the words of a rules file.
Rule = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a reader is asked, and when."""

    reader: str
    now: datetime
    words: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Of `check`.
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back; the code is None where the door tells none."""

    rows: Rows
    code: int | None = None


# --- from Python -----------------------------------------------------------------------------------------------------


class PythonDoor:
    """`from crawler import History`."""

    def __init__(self, database: str) -> None:
        self._now: datetime | None = None
        self._history = History(database, clock=self._clock).__enter__()

    def close(self) -> None:
        """Close the connection."""
        self._history.close()

    def ask(self, question: Question) -> Answer:
        """Ask, and give the rows as JSON would have them."""
        self._now = question.now
        try:
            rows, code = self._rows(question)
        except CrawlerError as exc:
            return Answer(rows=[], code=int(exc.exit_code))
        return Answer(rows=json.loads(json.dumps([row.as_dict() for row in rows])), code=code)

    def _rows(self, question: Question) -> tuple[Iterable[Any], int | None]:
        if question.reader == "check":
            found = self._history.check(list(_rules(question.rules)), **question.options)
            return found, int(exit_code(found))
        if question.reader == "resolve":
            return [self._history.resolve(*question.words, **question.options)], 0
        if question.reader == "runs show":
            return [self._history.run(*question.words)], 0
        if question.reader == "explain":
            explained = self._history.explain(*question.words)
            return [explained] if explained else [], None
        return getattr(self._history, question.reader)(*question.words, **question.options), None

    def _clock(self) -> datetime:
        assert self._now is not None
        return self._now


def _rules(rules: Iterable[Rule]) -> Iterator[Require | PinRule]:
    for rule in rules:
        scope = {"project": rule.get("projects", ()), "variant": rule.get("variant", ())}
        if rule["kind"] == "require":
            scope["variant"] = scope["variant"] or ("default",)
            zones = rule.get("zones", ("*",))
            yield Require(name=rule["name"], zones=zones, gpu=rule.get("gpu", False), scope=Filters(**scope))
            continue
        for image_id in rule["ids"]:
            for zone in rule.get("zones", (None,)):
                yield PinRule(image_id=image_id, zone=zone, gpu=rule.get("gpu"), scope=Filters(**scope))


# --- from the command line -------------------------------------------------------------------------------------------

#: Of the positional words of `resolve`, the options that they are to the command.
_RESOLVE_WORDS = ("zone", "name")


class CommandDoor:
    """`crawler READER … -o json`."""

    def __init__(self, database: str) -> None:
        self._database = database

    def ask(self, question: Question) -> Answer:
        """Call the command."""
        with NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as rules:
            rules.write("".join(_tables(question.rules)))
            rules.flush()
            words = list(_argv(question, rules.name))
            result = call("--database", self._database, *words, "-o", "json", now=question.now, code=None)
        assert result.exit_code in (0, 1, 2, 7, 8), (words, result.output, result.exception)
        document = json.loads(result.stdout) if result.stdout.strip() else []
        return Answer(rows=document if isinstance(document, list) else [document], code=result.exit_code)


def _argv(question: Question, rules_file: str) -> Iterator[Any]:
    yield from question.reader.split()
    options = dict(question.options)
    if question.reader == "resolve":
        options |= dict(zip(_RESOLVE_WORDS, question.words, strict=True))
    else:
        yield from (word.isoformat() if isinstance(word, datetime) else word for word in question.words)
    if question.reader == "check":
        yield rules_file
    if question.reader == "diff":
        yield from ("--exit-code", "--unknown")
    for name, value in options.items():
        option = f"--{'event' if name == 'events' else name.replace('_', '-')}"
        for one in value if isinstance(value, tuple) else (value,):
            match one:
                case None | False:
                    continue
                case True:
                    yield option
                case datetime():
                    yield from (option, one.isoformat())
                case timedelta():
                    yield from (option, f"{one.total_seconds():.6f}s")
                case _:
                    yield from (option, one)


def _tables(rules: Iterable[Rule]) -> Iterator[str]:
    """Write a rules file."""
    for rule in rules:
        yield f"[[{rule['kind']}]]\n"
        for name, value in rule.items():
            if name != "kind":
                yield f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
