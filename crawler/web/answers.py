"""
The JSON Schemas of what every command writes with `-o json` or `--json`, made from the rows that it writes.

Those that have no row class of their own are said here; tests validate what each command writes.
"""

from __future__ import annotations

from crawler.db.copy import CopiedTable
from crawler.db.workers import WorkerState
from crawler.domain.models import Target
from crawler.domain.rows import (
    ChangeRow,
    DigestRecord,
    HoldRow,
    ImageRow,
    RunSummary,
    StatusRow,
)
from crawler.domain.shapes import Schema, array_of, document, item_schema, nullable, object_of, row_schema
from crawler.queries.check.rules import CheckRow
from crawler.queries.compare import CompareRow
from crawler.queries.diff import DiffRow
from crawler.queries.history import HistoryRow
from crawler.queries.matrix import MachineRow
from crawler.queries.replay import ReplayReport
from crawler.queries.where import WhereRow
from crawler.web.published_json import PublicChange

_TEXT, _COUNT, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_NUMBER = {"type": "number"}
_MAY_BE_TEXT, _MAY_BE_COUNT = nullable(_TEXT), nullable(_COUNT)
_TIME = {"type": "string", "format": "date-time"}


def answer_schemas() -> dict[str, Schema]:
    """Return the schema of each command's JSON by its words: `runs show`; that of one array where it has many rows."""
    summary = row_schema(RunSummary)
    rows = {
        "images": _foldable(row_schema(ImageRow)),
        "inventory": item_schema(),
        "matrix": row_schema(MachineRow),
        "history": row_schema(HistoryRow),
        "changes": _foldable(_change()),
        "diff": _foldable(row_schema(DiffRow)),
        "compare": _foldable(row_schema(CompareRow)),
        "where": _foldable(row_schema(WhereRow)),
        "check": row_schema(CheckRow),
        "pins": row_schema(CheckRow),
        "status": row_schema(StatusRow),
        "runs": _without(summary, "failures"),
        "holds list": row_schema(HoldRow),
        "report list": row_schema(DigestRecord),
        "fleet status": row_schema(WorkerState),
        "db copy": row_schema(CopiedTable),
        "db stats": object_of({"table": _TEXT, "rows": _COUNT, "size_bytes": _MAY_BE_COUNT}),
        "db status": _database(),
        "resolve -": object_of({"zone": _TEXT, "name": _TEXT, "image_id": _MAY_BE_TEXT, "outcome": _TEXT}),
    }
    one = {
        "resolve": object_of(dict.fromkeys(("image_id", "image_name", "region", "zone", "observed_at"), _TEXT)),
        "run": summary,
        "runs show": summary,
        "explain": _explanation(summary),
        "replay": row_schema(ReplayReport),
        "explain TARGET": _doubted(),
        "fleet status --json": _fleet(),
        "doctor": _doctor(),
        "doctor --assumptions": _assumptions(),
    }
    found = {words: array_of(schema) for words, schema in rows.items()} | one
    return {
        words: document(schema, f"crawler {words}", f"The JSON of `crawler {words}`.")
        for words, schema in sorted(found.items())
    }


def _foldable(schema: Schema) -> Schema:
    """Return the schema of rows of which one may stand for several variants of a matrix, that it names then."""
    lacking = [name for name in schema["properties"] if name not in schema["required"]]
    return object_of({**schema["properties"], "variants": array_of(_TEXT)}, optional=(*lacking, "variants"))


def _without(schema: Schema, name: str) -> Schema:
    properties = {key: value for key, value in schema["properties"].items() if key != name}
    return object_of(properties)


def _change() -> Schema:
    schema = row_schema(ChangeRow)
    return object_of({**schema["properties"], "cursor": row_schema(PublicChange)["properties"]["cursor"]})


def _database() -> Schema:
    counts = dict.fromkeys(("runs", "targets", "intervals", "changes", "size_bytes"), _MAY_BE_COUNT)
    texts = {"database": _TEXT, "schema": _MAY_BE_TEXT, "program_schema": _TEXT, "state": _TEXT}
    return object_of({**texts, **counts, "last_finished_at": nullable(_TIME)})


def _explanation(summary: Schema) -> Schema:
    named = ("run", "status", "started_at", "finished_at")
    run = nullable(object_of({name: summary["properties"][name] for name in named}))
    answer = nullable(_answer())
    record = object_of({"image_set": _MAY_BE_TEXT, "image_id": _MAY_BE_TEXT, "before": {}, "after": {}})
    return object_of(
        {
            "change": _change(),
            "runs": object_of(dict.fromkeys(("seen", "observed", "written"), run)),
            "records": array_of(record),
            "before": answer,
            "after": answer,
        }
    )


def _answer() -> Schema:
    return object_of({"request_uuid": _MAY_BE_TEXT, "received_at": _TIME, "size": _COUNT, "document": {}})


def _doubted() -> Schema:
    target = dict.fromkeys(Target._fields, _TEXT)
    return object_of({**target, "message": _TEXT, "since": _TIME, "answer": _answer()})


def _fleet() -> Schema:
    ages = dict.fromkeys(("p50_seconds", "p99_seconds", "max_seconds"), nullable(_NUMBER))
    return object_of(
        {
            "at": _TIME,
            "drained": _MAY_BE_TEXT,
            "workers": array_of(row_schema(WorkerState)),
            "ticks": array_of(object_of({"tick": _TIME, "due": _COUNT, "done": _COUNT, "late_seconds": _NUMBER})),
            "queue": object_of(dict.fromkeys(("due", "later", "doing", "failed"), _COUNT)),
            "oldest_observation": object_of({**ages, "never_observed_accounts": _COUNT}),
            "connections": _COUNT,
            "budgets": array_of(object_of({"name": _TEXT, "rate_in_use": _NUMBER, "rate": _NUMBER})),
            "evictions": _COUNT,
            "fences_lost": _COUNT,
            "outbox": _COUNT,
            "undelivered_recipients": _COUNT,
        }
    )


def _doctor() -> Schema:
    texts = dict.fromkeys(("check", "about", "state", "message", "fix"), _TEXT)
    return object_of({"state": _TEXT, "findings": array_of(object_of(texts))})


def _assumptions() -> Schema:
    texts = dict.fromkeys(("endpoint", "question", "answer"), _TEXT)
    asked = object_of({"account": _COUNT, **texts, "details": {"type": "object"}})
    return object_of({"version": _TEXT, "assumptions": array_of(asked)})
