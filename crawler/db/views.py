"""
The public views: what SQL users and dashboards may rely on, on both databases.

They speak to outsiders. An open end is NULL and `is_open` is true; every instant is there as a timestamp (SQLite: ISO
8601 text in UTC with milliseconds and `Z`, so that text order is time order; PostgreSQL: timestamptz) and as
`<name>_epoch` (seconds). Lists and objects are JSON text. A change here needs a migration that names the new
`views_digest`, even one with an empty body.

Written so that a condition on a zone or a target reaches the indexes: nothing ranks or groups everything;
what needs another table is looked up per row, and not at all when its column is not selected.

The columns of the public views, in order, each with its meaning; docs/sql.md tells them, a test compares.
"""

# ruff: noqa: S608 - every piece of SQL here is a constant of this module

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crawler.db.types import to_micros
from crawler.domain.models import DEFAULT_KIND, END_OF_TIME, IMAGE_EVENTS, OUTCOMES, SCHEMA, digest_of
from crawler.domain.staleness import STALE_AFTER

__all__ = ["VIEWS", "VIEW_COLUMNS", "create_views", "drop_views", "views_digest"]

_END = to_micros(END_OF_TIME)
#: `stale_after` where no run has stored the setting yet.
_DEFAULT_STALE_SECONDS = int(STALE_AFTER.total_seconds())
#: What the mark of a run counts while it goes on; then the run itself has it.
_MARKED = (*OUTCOMES, "baseline_targets", "baseline_images", *IMAGE_EVENTS)


def create_views(dialect: str) -> list[str]:
    """Return the statements that create the views on *dialect* (`sqlite` or `postgresql`)."""
    speech = _SPEECH[dialect]
    bodies = {
        "current_images": _current_images(speech),
        "image_history": _image_history(speech),
        "change_log": _change_log(speech),
        "coverage": _coverage(speech),
        "unknown_spans": _unknown_spans(speech),
        "run_log": _run_log(speech),
        "current_items": _current_items(speech),
        "item_history": _item_history(speech),
    }
    return [f"CREATE VIEW {name} AS\n{bodies[name]}" for name in VIEWS]


def drop_views() -> list[str]:
    """Return the statements that drop the views; a migration that alters a table begins with them."""
    return [f"DROP VIEW IF EXISTS {name}" for name in reversed(VIEWS)]


def views_digest() -> str:
    """Return a short hash over the views of both databases; the newest migration names it."""
    return digest_of([create_views("sqlite"), create_views("postgresql")])[:16]


# --- how the two databases say the same thing ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speech:
    now: str
    instant: str
    epoch: str
    text_field: str
    number_field: str
    number: str
    count: str
    account_names: str

    def field(self, name: str) -> str:
        return f"{self.text_field.format(field=name)} AS {name}"

    def amount(self, name: str) -> str:
        return f"{self.number_field.format(field=name)} AS {name}"

    def moment(self, expression: str, name: str) -> Iterator[str]:
        yield f"{self.instant.format(x=expression)} AS {name}"
        yield f"{self.epoch.format(x=expression)} AS {name}_epoch"


_SPEECH = {
    "sqlite": _Speech(
        now="(CAST(strftime('%s', 'now') AS INTEGER) * 1000000)",
        instant=("(strftime('%Y-%m-%dT%H:%M:%S', {x} / 1000000, 'unixepoch') || printf('.%03dZ', {x} / 1000 % 1000))"),
        epoch="({x} / 1000000.0)",
        text_field="json_extract(v.attributes, '$.{field}')",
        number_field="json_extract(v.attributes, '$.{field}')",
        number="CAST({x} AS REAL)",
        count="json_extract(m.counters, '$.{field}')",
        account_names=(
            "(SELECT json_group_array(a.name) FROM json_each(r.accounts) AS j JOIN accounts AS a ON a.id = j.value)"
        ),
    ),
    "postgresql": _Speech(
        now="CAST(extract(epoch FROM now()) * 1000000 AS bigint)",
        instant="to_timestamp({x} / 1000000.0)",
        epoch="CAST({x} / 1000000.0 AS double precision)",
        text_field="(CAST(v.attributes AS json) ->> '{field}')",
        number_field=(
            "(CASE WHEN json_typeof(CAST(v.attributes AS json) -> '{field}') = 'number'"
            " THEN CAST(CAST(v.attributes AS json) ->> '{field}' AS numeric) END)"
        ),
        number="CAST({x} AS double precision)",
        count="CAST(CAST(m.counters AS json) ->> '{field}' AS integer)",
        account_names=(
            "(SELECT CAST(json_agg(a.name ORDER BY a.id) AS text)"
            " FROM json_array_elements_text(CAST(r.accounts AS json)) AS j(id)"
            " JOIN accounts AS a ON a.id = CAST(j.id AS bigint))"
        ),
    ),
}


# --- pieces shared by several views ----------------------------------------------------------------------------------

_TARGET_COLUMNS = (
    "t.id AS target_id",
    "a.name AS account",
    "t.project",
    "t.project_name",
    "t.region",
    "t.zone",
    "t.kind",
    "t.variant",
)


#: What the views about images have always shown; those about items have every kind.
_OF_IMAGES = f"t.kind = '{DEFAULT_KIND}'"


def _item_columns(speech: _Speech) -> Iterator[str]:
    yield "v.image_set"
    yield "v.image_id"
    yield "NULLIF(v.image_name, '') AS image_name"
    yield speech.field("extra")
    yield "v.attributes"


def _image_columns(speech: _Speech) -> Iterator[str]:
    yield "v.image_set"
    yield "v.image_id"
    yield "NULLIF(v.image_name, '') AS image_name"
    yield "v.gpu"
    for name in ("os_type", "os_name", "features", "gpu_types", "software"):
        yield speech.field(name)
    for name in ("size_gb", "zone_id"):
        yield speech.amount(name)
    yield speech.field("extra")
    yield "v.attributes"


def _select(columns: Iterator[str] | tuple[str, ...] | list[str], source: str) -> str:
    return "SELECT\n  " + ",\n  ".join(columns) + f"\n{source}"


#: The last finished run that had target `t` in its scope, by its end.
_LAST_RUN_END = """(
    SELECT max((SELECT max(r.finished_at) FROM runs AS r WHERE r.scope_id = s.scope_id AND r.finished_at IS NOT NULL))
    FROM scope_targets AS s WHERE s.target_id = t.id
  )"""
#: Of that run `l`, the exception of target `t`, if there is one.
_LAST_EXCEPTION = """(
    SELECT x.id FROM exceptions AS x WHERE x.target_id = t.id AND x.from_run_id <= l.id
    ORDER BY x.from_run_id DESC LIMIT 1
  )"""
_IS_BAD = "(e.outcome IS NOT NULL AND e.outcome <> 'held')"
_OBSERVED = f"(CASE WHEN {_IS_BAD} THEN e.last_good_at ELSE l.finished_at END)"
_ABSENCE = f"(SELECT min(b.reason) FROM absences AS b WHERE b.target_id = t.id AND b.valid_to = {_END})"
_ON_HOLD = """EXISTS (
    SELECT 1 FROM holds AS h JOIN hold_images AS hi ON hi.hold_id = h.id
    WHERE h.target_id = t.id AND h.status = 'open' AND hi.image_set = v.image_set AND hi.image_id = v.image_id
  )"""
#: Of the images of the same set and name at the target, the one that came last, where one did and it is not this one.
_SUPERSEDED = f"""(
    SELECT CASE WHEN count(*) = 1 THEN max(y.image_id) END
    FROM (
      SELECT w.image_id, rank() OVER (ORDER BY n.present_since DESC) AS place
      FROM intervals AS n JOIN image_versions AS w ON w.id = n.version_id
      WHERE n.target_id = i.target_id AND n.valid_to = {_END} AND n.present_since > i.present_since
        AND w.image_set = v.image_set AND w.name_key = v.name_key AND w.name_key <> ''
    ) AS y WHERE y.place = 1
  )"""
#: Intervals with their target, and what is known of the target now: its last finished run and that run's exception.
_INTERVALS = f"""FROM targets AS t
JOIN accounts AS a ON a.id = t.account_id
JOIN intervals AS i ON i.target_id = t.id
JOIN image_versions AS v ON v.id = i.version_id
LEFT JOIN runs AS l ON l.id = (
    SELECT r.id FROM scope_targets AS s JOIN runs AS r ON r.scope_id = s.scope_id
    WHERE s.target_id = t.id AND r.finished_at = {_LAST_RUN_END} ORDER BY r.id DESC LIMIT 1
  )
LEFT JOIN exceptions AS e ON e.id = {_LAST_EXCEPTION} AND e.to_run_id > l.id"""


def _reason(speech: _Speech) -> str:
    stale = speech.number.format(x="c.value")
    stale_after = (
        f"COALESCE((SELECT {stale} FROM settings AS c WHERE c.name = 'stale_after_seconds'), {_DEFAULT_STALE_SECONDS})"
    )
    return f"""CASE
    WHEN {_ABSENCE} IS NOT NULL THEN {_ABSENCE}
    WHEN {_ON_HOLD} THEN 'held'
    WHEN {_IS_BAD} THEN e.outcome
    WHEN {_OBSERVED} IS NULL THEN 'never_observed'
    WHEN {speech.now} - {_OBSERVED} > {stale_after} * 1000000 THEN 'stale'
  END"""


def _state_columns(speech: _Speech, *, only_open: str) -> Iterator[str]:
    reason = _reason(speech)
    state = f"CASE WHEN ({reason}) IS NULL THEN 'present' ELSE 'unknown' END"
    yield f"CASE WHEN {only_open} THEN {state} END AS state"
    yield f"CASE WHEN {only_open} THEN {reason} END AS reason"
    yield from speech.moment(_OBSERVED, "observed_at")


# --- the views -------------------------------------------------------------------------------------------------------


def _current_images(speech: _Speech) -> str:
    columns = [
        *_TARGET_COLUMNS,
        *_image_columns(speech),
        *speech.moment("i.valid_from", "valid_from"),
        *speech.moment("i.present_since", "present_since"),
        "i.baseline",
        f"{_SUPERSEDED} AS superseded_by",
        *_state_columns(speech, only_open=f"i.valid_to = {_END}"),
    ]
    return _select(columns, f"{_INTERVALS}\nWHERE i.valid_to = {_END} AND {_OF_IMAGES}")


def _current_items(speech: _Speech) -> str:
    columns = [
        *_TARGET_COLUMNS,
        *_item_columns(speech),
        *speech.moment("i.valid_from", "valid_from"),
        *speech.moment("i.present_since", "present_since"),
        "i.baseline",
        *_state_columns(speech, only_open=f"i.valid_to = {_END}"),
    ]
    return _select(columns, f"{_INTERVALS}\nWHERE i.valid_to = {_END}")


def _item_history(speech: _Speech) -> str:
    return _select(_history_columns(speech, _item_columns(speech)), _INTERVALS)


def _image_history(speech: _Speech) -> str:
    return _select(_history_columns(speech, _image_columns(speech)), f"{_INTERVALS}\nWHERE {_OF_IMAGES}")


def _history_columns(speech: _Speech, own: Iterator[str]) -> list[str]:
    return [
        "i.id AS interval_id",
        *_TARGET_COLUMNS,
        *own,
        *speech.moment("i.valid_from", "valid_from"),
        *speech.moment(f"NULLIF(i.valid_to, {_END})", "valid_to"),
        f"(i.valid_to = {_END}) AS is_open",
        *speech.moment("i.present_since", "present_since"),
        "i.baseline",
        "i.opened_run_id AS opened_run",
        "i.closed_run_id AS closed_run",
        *_state_columns(speech, only_open=f"i.valid_to = {_END}"),
    ]


def _change_log(speech: _Speech) -> str:
    columns = [
        "c.id",
        "c.run_id AS run",
        *_TARGET_COLUMNS,
        *(f"c.{name}" for name in ("event", "image_set", "image_id", "image_name", "fields", "counterpart")),
        *speech.moment("c.not_before", "not_before"),
        *speech.moment("c.observed_at", "observed_at"),
        *speech.moment("c.recorded_at", "recorded_at"),
    ]
    return _select(
        columns,
        "FROM changes AS c\nJOIN targets AS t ON t.id = c.target_id\nJOIN accounts AS a ON a.id = t.account_id"
        f"\nWHERE {_OF_IMAGES} AND c.event <> '{SCHEMA}'",
    )


def _coverage(speech: _Speech) -> str:
    columns = [
        *_TARGET_COLUMNS,
        "r.id AS run",
        "COALESCE(e.outcome, 'ok') AS outcome",
        "(e.outcome IS NULL OR e.outcome = 'held') AS is_good",
        *speech.moment("r.started_at", "started_at"),
        *speech.moment("r.finished_at", "finished_at"),
        *(f"e.{name}" for name in ("failure_class", "ret_code", "message", "request_uuid")),
    ]
    return _select(
        columns,
        f"""FROM targets AS t
JOIN accounts AS a ON a.id = t.account_id
JOIN scope_targets AS s ON s.target_id = t.id
JOIN runs AS r ON r.scope_id = s.scope_id AND r.finished_at IS NOT NULL
LEFT JOIN exceptions AS e ON e.id = (
    SELECT x.id FROM exceptions AS x WHERE x.target_id = t.id AND x.from_run_id <= r.id
    ORDER BY x.from_run_id DESC LIMIT 1
  ) AND e.to_run_id > r.id
WHERE {_OF_IMAGES}""",
    )


def _unknown_spans(speech: _Speech) -> str:
    def columns(begin: str, end: str, reason: str, image_set: str, image_id: str) -> list[str]:
        return [
            *_TARGET_COLUMNS,
            f"{image_set} AS image_set",
            f"{image_id} AS image_id",
            f"{reason} AS reason",
            *speech.moment(begin, "unknown_from"),
            *speech.moment(f"NULLIF({end}, {_END})", "unknown_to"),
            f"({end} = {_END}) AS is_open",
        ]

    source = "FROM targets AS t\nJOIN accounts AS a ON a.id = t.account_id\n"
    nothing = "CAST(NULL AS text)"
    absences = _select(
        columns("b.valid_from", "b.valid_to", "b.reason", nothing, nothing),
        f"{source}JOIN absences AS b ON b.target_id = t.id\nWHERE {_OF_IMAGES}",
    )
    holds = _select(
        columns("h.held_at", "h.resolved_at", "'held'", "hi.image_set", "hi.image_id"),
        f"{source}JOIN holds AS h ON h.target_id = t.id\nJOIN hold_images AS hi ON hi.hold_id = h.id"
        f"\nWHERE {_OF_IMAGES}",
    )
    return f"{absences}\nUNION ALL\n{holds}"


def _run_log(speech: _Speech) -> str:
    def counter(name: str) -> str:
        if name not in _MARKED:
            return f"r.{name}"
        return f"COALESCE({speech.count.format(field=name)}, r.{name}) AS {name}"

    counters = list(VIEW_COLUMNS["run_log"])
    columns = [
        "r.id AS run",
        "r.status",
        *speech.moment("r.started_at", "started_at"),
        *speech.moment("r.finished_at", "finished_at"),
        "(r.finished_at IS NULL) AS is_open",
        f"{speech.account_names} AS accounts",
        "r.restricted",
        "COALESCE(s.size, 0) AS targets",
        *map(counter, counters[counters.index("ok") :]),
    ]
    return _select(
        columns,
        """FROM runs AS r
LEFT JOIN scopes AS s ON s.id = r.scope_id
LEFT JOIN marks AS m ON m.run_id = r.id AND r.finished_at IS NULL""",
    )


_TARGET = {
    "target_id": "the target's number; joins the views",
    "account": "name of the account",
    "project": "project id; `default` where none is sent",
    "project_name": "last known name of the project",
    "region": "region, as the cloud names it",
    "zone": "zone, as the cloud names it",
    "kind": "what is inventoried: `uk8s-image`; in the views about items every kind",
    "variant": "named set of request parameters; `default` adds none",
}
_IMAGE = {
    "image_set": "canonical name of the set that lists it",
    "image_id": "the id to boot from",
    "image_name": "name, NULL where the cloud states none",
    "gpu": "supports GPU; NULL: not stated",
    "os_type": "operating system family",
    "os_name": "operating system",
    "features": "features, a JSON list",
    "gpu_types": "supported GPU types, a JSON list",
    "software": "integrated software",
    "size_gb": "size in GB",
    "zone_id": "the zone's number, as the record states it",
    "extra": "fields nobody knew, a JSON object",
    "attributes": "all of these as one JSON object",
}
_ITEM = {
    "image_set": "the set that lists it: of an image its type, else the list's name",
    "image_id": "its id: an image id, a version, a machine type, a node group's id",
    "image_name": "name of an image, NULL for what has none",
    "extra": "fields nobody knew, a JSON object",
    "attributes": "every field that its kind declares and it states, one JSON object",
}
_STATE = {
    "state": "`present` or `unknown`, now; NULL once the interval is over",
    "reason": (
        "why unknown: `retired`, `deselected`, `held`, `denied`, `failed`, `skipped`, "
        "`stale` (older than `stale_after`), `never_observed`"
    ),
    "observed_at": "end of the last run that observed the target well",
    "observed_at_epoch": "the same in seconds since 1970",
}


def _instant(name: str, meaning: str) -> dict[str, str]:
    return {name: meaning, f"{name}_epoch": "the same in seconds since 1970"}


_STAY = {
    **_instant("valid_from", "start of the interval, included"),
    **_instant("valid_to", "end of the interval, not included; NULL while open"),
    "is_open": "true: the interval has not ended",
    **_instant("present_since", "start of the unbroken presence this interval is part of"),
    "baseline": "true: it was there before anyone looked",
    "opened_run": "run that opened it",
    "closed_run": "run that closed it; NULL while open",
    **_STATE,
}


#: Every column of every view, in order, with its meaning.
VIEW_COLUMNS: dict[str, dict[str, str]] = {
    "current_images": {
        **_TARGET,
        **_IMAGE,
        **_instant("valid_from", "since when it is so, with exactly these attributes"),
        **_instant("present_since", "since when it has been there without a break, whatever its attributes"),
        "baseline": "true: it was there before anyone looked",
        "superseded_by": "id of the image of its set and name here that came last, after it; NULL: none or several",
        **_STATE,
    },
    "image_history": {
        "interval_id": "number of the interval",
        **_TARGET,
        **_IMAGE,
        **_STAY,
    },
    "change_log": {
        "id": "number of the change",
        "run": "run that recorded it",
        **_TARGET,
        "event": "`appeared`, `returned`, `withdrawn`, `modified`, `target_added`, `target_retired`",
        "image_set": "canonical name of the set; NULL for events of targets, as the next two",
        "image_id": "the image",
        "image_name": "its name then",
        "fields": "`{field: [before, after]}` of a modified image, or of what a matrix lost or gained, a JSON object",
        "counterpart": "image id of the other half of a re-issue",
        **_instant("not_before", "the good observation before it: it happened after this; NULL: unknown"),
        **_instant("observed_at", "the answer that showed it: it happened at or before this"),
        **_instant("recorded_at", "when it was written; poll by this one"),
    },
    "coverage": {
        **_TARGET,
        "run": "a finished run that asked the target",
        "outcome": "`ok`, `held`, `denied`, `failed`, `skipped`",
        "is_good": "true for `ok` and `held`: the images of the target were observed",
        **_instant("started_at", "start of the run"),
        **_instant("finished_at", "end of the run"),
        "failure_class": "class of the failure; NULL where there is none",
        "ret_code": "the cloud's RetCode, where it gave one",
        "message": "the first message of this lasting failure",
        "request_uuid": "the request id of that answer",
    },
    "unknown_spans": {
        **_TARGET,
        "image_set": "canonical name of the set; NULL: of the whole target",
        "image_id": "the image that is on hold; NULL: all images of the target",
        "reason": "`retired`, `deselected` (of targets), `held` (of images); failed runs are in `coverage`",
        **_instant("unknown_from", "start of the span, included"),
        **_instant("unknown_to", "end of the span, not included; NULL while it lasts"),
        "is_open": "true: it lasts",
    },
    "run_log": {
        "run": "number of the run",
        "status": "`running`, `complete`, `incomplete`, `failed`, `interrupted`",
        **_instant("started_at", "start"),
        **_instant("finished_at", "end; NULL while it runs, or died and no later run has noted it yet"),
        "is_open": "true: no end is recorded",
        "accounts": "names of its accounts, a JSON list",
        "restricted": "true: narrowed on the command line",
        "targets": "targets it was to ask (of a killed run: that it had recorded)",
        "ok": "targets observed well",
        "held": "targets whose withdrawals wait for confirmation",
        "denied": "targets not open to this key",
        "failed": "targets whose answer failed",
        "skipped": "targets not asked",
        "baseline_targets": "targets observed well for the first time",
        "baseline_images": "images found there",
        "appeared": "changes of this event, as the next five",
        "returned": "changes",
        "withdrawn": "changes",
        "modified": "changes",
        "target_added": "changes",
        "target_retired": "changes",
        "sent": "requests sent",
        "retried": "of these, second and later attempts",
        "throttled": "of these, answered with a refusal for speed",
        "notices": "what was not understood, a JSON list; NULL: nothing",
    },
    "current_items": {
        **_TARGET,
        **_ITEM,
        **_instant("valid_from", "since when it is so, with exactly these attributes"),
        **_instant("present_since", "since when it has been there without a break, whatever its attributes"),
        "baseline": "true: it was there before anyone looked",
        **_STATE,
    },
    "item_history": {
        "interval_id": "number of the interval",
        **_TARGET,
        **_ITEM,
        **_STAY,
    },
}
VIEWS: tuple[str, ...] = tuple(VIEW_COLUMNS)
