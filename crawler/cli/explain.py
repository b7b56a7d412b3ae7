"""`crawler explain`: the two answers behind a change, or the one of a target that was not believed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.changes import told_fields
from crawler.cli.context import CliContext, pass_cli
from crawler.cli.hints import unheard_image
from crawler.cli.options import NUMBER, table_options
from crawler.cli.output import emit, json_line, write_notes, write_out
from crawler.cli.table import Column
from crawler.domain.models import SCHEMA, is_storable
from crawler.domain.text import counted, visible
from crawler.domain.timefmt import show_moment, tell_moment
from crawler.errors import EmptySelection

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from crawler.domain.evidence import DoubtedAnswer, Explanation, KeptAnswer
    from crawler.domain.rows import RunSummary

FIELDS = ("image_set", "image_id", "field", "before", "after")
COLUMNS = (
    Column("record", "RECORD", cell=lambda row: row["record"] or " "),
    Column("field", "FIELD"),
    Column("before", "BEFORE", kind="words", folds=True),
    Column("differs", "", cell=lambda row: row["differs"] or " "),
    Column("after", "AFTER", kind="words", folds=True),
)


class _Subject(click.ParamType[int | str]):
    """The number of a change, an image id, or a target as it is shown: six parts with slashes between."""

    name = "subject"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return int(NUMBER.convert(value, param, ctx)) if re.fullmatch(r"-?\d+", str(value)) else str(value)


@click.command()
@click.argument("subject", metavar="CHANGE|IMAGE|TARGET", type=_Subject())
@table_options
@pass_cli
def explain(context: CliContext, subject: int | str, fmt: str) -> None:
    """
    Show the two raw answers behind a change: the records in which they differ side by side, the runs, the request ids.

    CHANGE is an `id` of `crawler changes`; an IMAGE id means its last change, in any zone. In json and jsonl both
    answers are there whole; in csv a line is one field of one record. TARGET is one that failed because its answer was
    not believed, such as prod/org-x/hk/hk-02/uk8s-image/default: its last such answer is shown, and why.
    """
    if isinstance(subject, str) and "/" in subject:
        _explain_target(context, subject, fmt)
    else:
        _explain_change(context, subject, fmt)


def _explain_target(context: CliContext, name: str, fmt: str) -> None:
    from crawler.queries import explain as store
    from crawler.queries import history_lookup

    zone = context.history_settings().timezone
    with context.history() as conn:
        found = store.doubted(conn, name)
        is_image = found is None and name in history_lookup.image_ids(conn, name)
    if is_image:  # the spot capacity of a machine type is called `V100/spot`
        _explain_change(context, name, fmt)
        return
    if found is None:
        raise EmptySelection(
            f"No answer of a target {visible(name)} was kept as not believed; `crawler status` lists targets."
        )
    if fmt == "table":
        write_notes(_describe_doubted(found, zone))
    elif fmt == "csv":
        emit([found.as_dict()], [], fmt, fields=tuple(found.as_dict()))
    else:
        write_out([json_line(found.as_dict()), "\n"])


def _describe_doubted(found: DoubtedAnswer, zone: tzinfo) -> Iterator[str]:
    yield visible(f"target    {found.target}")
    yield visible(f"why       {found.message}")
    yield f"since     {show_moment(found.since, zone)}"
    yield f"answer    {_answer(found.answer, zone)}"
    yield ""
    yield from map(visible, found.answer.text().splitlines())


def _explain_change(context: CliContext, subject: int | str, fmt: str) -> None:
    from crawler.db import changelog
    from crawler.queries import explain as store

    zone = context.history_settings().timezone
    with context.history() as conn:
        number = subject if isinstance(subject, int) else _last_change(conn, subject)
        found = store.explain(conn, number)
        last, pruned = changelog.last_change(conn), changelog.pruned_to(conn)
    if found is None:
        known = f"they go from 1 to {last}" if last else "none is recorded yet"
        if number <= pruned:
            known += ", and this one was pruned"
        raise EmptySelection(f"There is no change {number}: {known}; `crawler changes` lists them.")
    if fmt == "table":
        write_notes(describe(found, zone))
        emit(_side_by_side(found), COLUMNS, fmt, zone=zone)
    elif fmt == "csv":
        emit(_fields(found), [Column(name, name.upper()) for name in FIELDS], fmt, fields=FIELDS)
    else:
        write_out([json_line(found.as_dict()), "\n"])


def _last_change(conn: Connection, image_id: str) -> int:
    from crawler.queries import history_lookup
    from crawler.queries.explain import last_change_of

    number = last_change_of(conn, image_id) if is_storable(image_id) else None
    if number is not None:
        return number
    if not history_lookup.image_ids(conn, image_id):
        raise unheard_image(conn, image_id, by_id=True)
    raise EmptySelection(
        visible(f"No change of {image_id} was recorded; `crawler history {image_id}` shows what is known of it.")
    )


def _fields(found: Explanation) -> Iterator[dict[str, Any]]:
    from crawler.domain.evidence import MISSING

    for pair in found.records():
        for name, before, after in pair.fields():
            yield {
                "image_set": pair.image_set,
                "image_id": pair.image_id,
                "field": name,
                "before": None if before == MISSING else before,
                "after": None if after == MISSING else after,
            }


def describe(found: Explanation, zone: tzinfo) -> Iterator[str]:
    """Tell a change and its evidence in lines of text."""
    change = found.change
    about = f" {change.image_id} ({change.image_name or 'no name'}, {change.image_set})" if change.image_id else ""
    yield visible(f"change    {change.id}, {change.event}{about}")
    yield visible(f"target    {change.target}")
    if change.counterpart:
        yield visible(f"re-issue  {'as' if change.event == 'withdrawn' else 'of'} {change.counterpart}")
    if change.event == "modified":
        # What was known may be older than the answer before: one that does not state a field leaves it as it was.
        yield visible(f"changed   {told_fields(change.fields)}")
    after = f"after {show_moment(change.not_before, zone)} and " if change.not_before else ""
    yield (
        f"happened  {after}by {show_moment(change.observed_at, zone)}, written {tell_moment(change.recorded_at, zone)}"
    )
    yield ""
    for title, run, answer in (
        ("before", found.seen_run, found.before),
        ("after", found.observed_run, found.after),
    ):
        yield f"{title:10}{_run(run, zone)}"
        yield f"          {_answer(answer, zone)}"
    if found.written_run and (found.observed_run is None or found.written_run.run != found.observed_run.run):
        yield f"written   {_run(found.written_run, zone)}"
    yield ""
    if change.event == SCHEMA:
        yield "It is about which fields the answers state, not about an image."
    elif change.image_id is None:
        yield "It comes from what the cloud said exists, not from an answer about images."
    elif found.before is None and found.after is None:
        yield "It lies before the kept history: of its answers nothing is left."
    elif not found.records():
        yield "Both answers list the same records."


def _answer(answer: KeptAnswer | None, zone: tzinfo) -> str:
    if answer is None:
        return "no answer was kept"
    request = f"request {visible(answer.request_uuid)}" if answer.request_uuid else "no request id"
    return f"{request}, {counted(len(answer.body), 'byte')}, first received {show_moment(answer.received_at, zone)}"


def _run(run: RunSummary | None, zone: tzinfo) -> str:
    return (
        "no run was kept" if run is None else f"run {run.run}, {run.status}, from {show_moment(run.started_at, zone)}"
    )


def _side_by_side(found: Explanation) -> Iterator[dict[str, str]]:
    """Return the records in which the answers differ, field by field."""
    for pair in found.records():
        record = f"{pair.image_set} {pair.image_id}"
        for name, before, after in pair.fields():
            one, other = _text(before, pair.before), _text(after, pair.after)
            yield {
                "record": record,
                "field": name,
                "before": one,
                "differs": "" if one == other else "→",
                "after": other,
            }
            record = ""


def _text(value: Any, record: object) -> str:
    from crawler.domain.evidence import field_text

    return "not listed" if record is None else field_text(value)
