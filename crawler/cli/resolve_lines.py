"""`crawler resolve -`: the ids of many images, by lines on standard input."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta

from crawler.cli.context import CliContext
from crawler.cli.hints import not_observed_since, require_records
from crawler.cli.output import emit, write_out
from crawler.cli.selection import check_words
from crawler.config.textfiles import decoded, read_stream
from crawler.domain.filters import Filters
from crawler.domain.text import visible
from crawler.errors import Ambiguous, CrawlerError, ExitCode, NoAnswer, Revoked, UnknownKnowledge, UsageError

FORMATS = ("id", "json", "jsonl", "csv")
_FIELDS = ("zone", "name", "image_id", "outcome")
#: What a row says of a line without an answer; else its zone was never heard of.
_OUTCOMES = {NoAnswer: "missing", Revoked: "revoked", Ambiguous: "ambiguous", UnknownKnowledge: "unknown"}
_LARGEST = 1 << 20
_NO_LINES = "Standard input has no lines `ZONE NAME`."


def print_answers(
    context: CliContext,
    selected: Filters,
    image_set: str | None,
    gpu: bool,
    max_age: timedelta | None,
    min_age: timedelta,
    fmt: str,
) -> ExitCode:
    """Print a row for each line of standard input; say on stderr why there is no answer to one."""
    from crawler.queries.resolve_lookup import resolve_all

    wanted = _lines()
    if not wanted:
        context.say(_NO_LINES)
    settings = context.history_settings()
    with context.history() as conn:
        now = context.now(conn, is_strict=True)
        require_records(conn)
        check_words(conn, selected, selected.of_images())
        answers = resolve_all(
            conn,
            replace(selected, image_set=(image_set,) if image_set else ()),
            wanted,
            now=now,
            stale_after=settings.stale_after,
            max_age=max_age,
            min_age=min_age,
            gpu=gpu,
            timezone=settings.timezone,
        )
    code = ExitCode.DONE
    rows = []
    doubts: dict[str, None] = {}  # each once, however many lines are about its zone
    for (zone, name), answer in zip(wanted, answers, strict=True):
        image_id, outcome = None, "found"
        if isinstance(answer, CrawlerError):
            outcome = _OUTCOMES.get(type(answer), "unheard")
            context.say(f"{zone} {name}: {answer}", level="warning")
            code = min(code or answer.exit_code, answer.exit_code)
        else:
            found, last = answer
            image_id = found.image_id
            if doubt := not_observed_since(found, last, settings.timezone):
                doubts[doubt] = None
        rows.append({"zone": zone, "name": name, "image_id": image_id, "outcome": outcome})
    for doubt in doubts:
        context.say(doubt, level="warning")
    if fmt == "id":
        write_out(f"{visible(row['image_id'] or '')}\n" for row in rows)
    else:
        emit(rows, (), fmt, fields=_FIELDS)
    return code


def _lines() -> list[tuple[str, str]]:
    """Return the zone and the name in every line but the empty ones; raise UsageError for what is no such line."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(_NO_LINES)
    try:
        text = decoded(read_stream(sys.stdin.buffer, _LARGEST))
    except ValueError as exc:
        raise UsageError(f"Standard input {exc}.") from None
    wanted = []
    for number, line in enumerate(text.splitlines(), start=1):
        zone, name = (*line.split(maxsplit=1), "", "")[:2]
        if zone and not name:
            raise UsageError(
                f"Line {number} of standard input has no name: write `ZONE NAME`, as in `hk-02 Ubuntu 20.04`."
            )
        if zone:
            wanted.append((zone, name.strip()))
    return wanted
