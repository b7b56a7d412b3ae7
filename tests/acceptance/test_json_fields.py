"""The fields of all JSON that the program writes, by command: more may come, none goes and none gets another name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import jsonschema
import pytest

from crawler.cli.app import cli
from crawler.domain.evidence import KeptAnswer
from crawler.web.answers import answer_schemas
from tests.support.command import call
from tests.support.driving import Driver
from tests.unit.test_readme import commands


def of(parts: str, fields: str) -> str:
    """Return the *fields* of each of some *parts*: `part.field`."""
    return " ".join(f"{part} " + " ".join(f"{part}.{field}" for field in fields.split()) for part in parts.split())


TARGET = "account project region zone kind variant"
IMAGE = "image_set image_id image_name"
SPAN = "unknown_from unknown_to reason"
SIDE = "zone image_id image_name gpu valid_from present_since state reason observed_at image_state bootable"
CHANGE = f"{TARGET} id run event {IMAGE} fields counterpart not_before observed_at recorded_at"
COUNTS = " ".join(
    (
        of("targets", "total ok held denied failed skipped"),
        of("baseline", "targets images"),
        of("changes", "appeared returned withdrawn modified target_added target_retired"),
        of("requests", "sent retried throttled"),
        of("reports", "queued sent failed"),
    )
)
RUN = f"run status started_at finished_at {COUNTS} notices accounts restricted"
RUNS_BEHIND = of("seen observed written", "run status started_at finished_at")
CHECKED = (
    "rule zone image_id outcome successor detail source file line address image_name account project observed_at "
    "effect cluster_id cluster_name node_group_id"
)
FAILURES = of("failures", f"{of('target', TARGET)} outcome class ret_code message request_uuid")
FIELDS = {
    "run --json": f"{RUN} failures",
    "images": f"{TARGET} {IMAGE} gpu os_type os_name features gpu_types software size_gb zone_id extra valid_from "
    "present_since baseline superseded_by state reason observed_at",
    "inventory --kind uk8s-image": f"{TARGET} image_set image_id extra valid_from present_since baseline superseded_by "
    "state reason observed_at",
    "history 'Ubuntu 20.04'": f"{TARGET} {IMAGE} valid_from valid_to not_before reason state baseline present_since "
    f"ended_by ended_not_before replaces replaced_by fields {of('gaps gaps_before', SPAN)}",
    "changes": CHANGE,
    "diff 23h now": f"{TARGET} {IMAGE} event fields counterpart first second first_reason second_reason",
    "compare hk-02 sg-01": f"image_set image_name result {of('first second', SIDE)} fields reason kind variant "
    "projects",
    "where 'Ubuntu 20.04'": f"{TARGET} {IMAGE} state since previous_ids reason present_since id_since first_seen_at "
    "baseline lag_seconds also_open newer_elsewhere observed_at image_state bootable",
    "resolve --zone hk-02 --name 'Ubuntu 20.04'": "image_id image_name region zone observed_at",
    "check rules.toml": CHECKED,
    "pins infra/": CHECKED,
    "status": f"{TARGET} outcome since last_ok_at images message",
    "runs": RUN,
    "runs show 5": f"{RUN} {FAILURES}",
    "explain 1": f"{of('change', CHANGE)} {of('runs', RUNS_BEHIND)} {of('records', 'image_set image_id before after')} "
    f"{of('before after', 'request_uuid received_at size document')}",
    "holds list --all": f"{TARGET} id run status {of('images', IMAGE)} held_at not_before confirmations waits_for "
    "resolved_at resolved_by",
    "report list --all": "id report kind state channel first_run last_run subject message_id queued_at made_at "
    + of("recipients", "address state attempts next_at refused trouble ended_at"),
    "config show": "database timezone stale_after limits guard smtp accounts reports",
    "doctor --json": f"state {of('findings', 'check about state message fix')}",
    "db copy --to copy.db": "table rows digest",
    "replay": f"equal runs answers not_compared begun_late begins_at differences "
    f"{of('changes intervals', 'recorded replayed equal')}",
    "db stats": "table rows size_bytes",
    "db status": "database state schema program_schema runs targets intervals changes size_bytes last_finished_at",
}
#: What is written besides by commands that write something else as a rule; their tests hold it to its schema.
MORE_FIELDS = {
    "explain TARGET": f"{TARGET} message since answer",
    "fleet status --json": "at drained workers ticks queue oldest_observation connections budgets evictions "
    "fences_lost outbox undelivered_recipients",
    "doctor --assumptions": "version assumptions",
}
#: What a run has to come before, so that there is something to list; and which command says that all is not well.
#: What has rows on PostgreSQL alone, or of a matrix; the tests of these hold them to their schemas.
ELSEWHERE = {("fleet", "status"), ("matrix",)}
AFTER_A_RUN = ("report list --all", "history 'Ubuntu 20.04'")
CODES = {"doctor --json": 1}


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Return every field of a document, those of the objects inside it as `part.field`."""
    for inner in value if isinstance(value, list) else ():
        yield from paths(inner, at)
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield f"{at}{name}"
        yield from paths(inner, f"{at}{name}.")


@pytest.mark.parametrize("line", FIELDS)
def test_fields(desk: Driver, line: str) -> None:
    """Each command's JSON has all of its fields, under their names."""
    if line in AFTER_A_RUN:
        desk.call("run")
    words = [*shlex.split(line), *(() if "--json" in line else ("-o", "json"))]
    document = json.loads(desk.call(*words, code=CODES.get(line, 0)).stdout)

    assert set(FIELDS[line].split()) - set(paths(document)) == set()
    if line != "config show":
        schema = answer_schemas()[words_of(line)]
        jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())


def words_of(line: str) -> str:
    """Return the words of the command in a *line*, as its schema is called."""
    return max((words for words in answer_schemas() if f"{line} ".startswith(f"{words} ")), key=len)


def test_lines_of_resolve(desk: Driver) -> None:
    """So has that of `resolve -`."""
    lines = "hk-02 Ubuntu 20.04\nhk-02 Debian\n"
    said = call("--config", desk.config, "resolve", "-", "-o", "json", now=desk.now, code=1, stdin=lines)

    jsonschema.validate(json.loads(said.stdout), answer_schemas()["resolve -"])


def test_schemas_are_strict() -> None:
    """A schema is one, and demands every field that is listed here."""
    for words, schema in answer_schemas().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        line = next((line for line in FIELDS if f"{line} ".startswith(f"{words} ")), None)
        inside = schema["items"] if schema["type"] == "array" else schema
        if line is not None and words_of(line) == words:
            assert {field for field in FIELDS[line].split() if "." not in field} <= set(inside["required"])
    for words, fields in MORE_FIELDS.items():
        assert set(fields.split()) <= set(answer_schemas()[words]["required"])


def test_answer_without_a_request_id() -> None:
    """What a server answers that gives no request id is shown with null for it, as the schema of `explain` says."""
    answer = KeptAnswer(body=b"{}", request_uuid="", received_at=datetime(2026, 6, 1, tzinfo=UTC)).as_dict()

    assert answer["request_uuid"] is None
    jsonschema.validate(answer, answer_schemas()["explain TARGET"]["properties"]["answer"])
    jsonschema.validate(answer, answer_schemas()["explain"]["properties"]["before"])


def test_every_command_is_here() -> None:
    """No command that can write JSON is left out."""
    told = {tuple(shlex.split(line)) for line in FIELDS}
    writers = set()
    for words in commands(cli):
        command: click.Command = cli
        for word in words:
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word) or command
        writers |= {words for option in command.params if _writes_json(option)}

    assert [words for words in writers - ELSEWHERE if not any(line[: len(words)] == words for line in told)] == []


def _writes_json(option: click.Parameter) -> bool:
    is_format = option.name == "fmt" and isinstance(option.type, click.Choice) and "json" in option.type.choices
    return is_format or "--json" in option.opts
