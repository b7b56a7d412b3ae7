"""
What two lives of one inventory are compared by: a cloud that changes at every step, and all that a history says of it.

Compared is everything except times and run numbers, target by target (`histories`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine, text

from crawler.db.engine import is_sqlite, read
from crawler.db.runs import marked
from crawler.emulator import Timeline
from tests.support.worlds import make_record, make_timeline

PROJECTS = ("org-a", "org-b", "org-c", "org-d")
#: Zones in which one or two images change at a time.
LIVELY = ("bj-01", "bj-02", "hk-01", "hk-02", "th-01", "th-02")
#: A zone that loses most of its images now and then, so that the guard holds them.
SHAKEN = "sg-01"
#: A zone that comes later.
LATE = "us-01"
#: A target that fails for a while.
FAILING = {"project": "org-d", "zone": "hk-02", "ret_code": 160, "message": "not here"}
CYCLE = 12

Place = str


def changing_world(steps: int, seed: int, **more: Any) -> Timeline:
    """Make a cloud in which every step adds, removes, changes and brings back images; *more* is for the timeline."""
    rng = random.Random(seed)
    zones = [*LIVELY, SHAKEN, LATE]
    places = [*zones, *(f"org-b/{zone}" for zone in LIVELY)]
    listed: dict[Place, dict[str, Any]] = {place: _some(rng, place, 8) for place in places}
    gone: dict[Place, dict[str, Any]] = {place: {} for place in places}
    first = {place: list(images.values()) for place, images in listed.items()}
    changes: list[dict[str, Any]] = []
    for step in range(2, steps + 1):
        touched = rng.sample([place for place in places if SHAKEN not in place], 6)
        for place in touched:
            _change(rng, place, listed[place], gone[place])
        phase = step % CYCLE
        if phase == 3:  # held, and confirmed by the next runs …
            gone[SHAKEN] = dict(list(listed[SHAKEN].items())[1:])
            listed[SHAKEN] = dict(list(listed[SHAKEN].items())[:1])
        elif phase == 10:  # … and back
            listed[SHAKEN] |= gone[SHAKEN]
        if phase in (3, 10):
            touched.append(SHAKEN)
        change: dict[str, Any] = {"images": {place: list(listed[place].values()) for place in touched}}
        if phase in (5, 6):
            change["faults"] = [FAILING]
        if step == 4:
            change["zones"] = zones
        changes.append(change)
    return make_timeline(
        zones=[zone for zone in zones if zone != LATE], images=first, projects=PROJECTS, steps=changes, **more
    )


def _some(rng: random.Random, place: Place, count: int) -> dict[str, Any]:
    return dict(_image(rng, place) for _ in range(count))


def _image(rng: random.Random, place: Place, name: str | None = None) -> tuple[str, Any]:
    image_id = f"uimage-{rng.getrandbits(48):012x}"
    return image_id, make_record(image_id, name or f"Ubuntu {image_id[-4:]}", place.rpartition("/")[2])


def _change(rng: random.Random, place: Place, listed: dict[str, Any], gone: dict[str, Any]) -> None:
    """Change one or two images of a place, never so many that the guard would hold them."""
    what = rng.choice(["add", "take", "modify", "re-issue", "return"])
    if what == "take" and len(listed) > 5:
        image_id = rng.choice(sorted(listed))
        gone[image_id] = listed.pop(image_id)
    elif what == "return" and gone:
        image_id = rng.choice(sorted(gone))
        listed[image_id] = gone.pop(image_id)
    elif what == "modify":
        image_id = rng.choice(sorted(listed))
        listed[image_id] = {**listed[image_id], "Features": [f"Feature{rng.randrange(9)}"]}
    elif what == "re-issue":
        image_id = rng.choice(sorted(listed))
        old = gone[image_id] = listed.pop(image_id)
        new_id, record = _image(rng, place, old["ImageName"])
        listed[new_id] = record
    else:
        image_id, record = _image(rng, place)
        listed[image_id] = record


# --- what a history says ---------------------------------------------------------------------------------------------

_TARGETS = "SELECT id, project || '/' || zone AS place, body_hash, snapshot_digest FROM targets"
_INTERVALS = """
    SELECT i.target_id, v.digest, i.baseline, i.present_since = i.valid_from AS is_first, i.closed_run_id
    FROM intervals AS i JOIN image_versions AS v ON v.id = i.version_id ORDER BY i.valid_from, v.digest
"""
_CHANGES = """
    SELECT c.target_id, c.event, c.image_set, c.image_id, c.image_name, c.fields, c.counterpart,
           b.digest AS before_body, a.digest AS after_body
    FROM changes AS c LEFT JOIN payloads AS b ON b.id = c.before_payload_id
    LEFT JOIN payloads AS a ON a.id = c.after_payload_id ORDER BY c.observed_at, c.event, c.image_id
"""
_SPANS = "SELECT target_id, outcome, failure_class, ret_code, to_run_id FROM exceptions ORDER BY id"
_HOLDS = """
    SELECT h.target_id, h.status, i.image_set, i.image_id FROM holds AS h
    JOIN hold_images AS i ON i.hold_id = h.id ORDER BY h.id, i.image_set, i.image_id
"""
_UNFINISHED = """
    SELECT r.id, r.scope_id, m.reached FROM runs AS r LEFT JOIN marks AS m ON m.run_id = r.id
    WHERE r.finished_at IS NULL
"""
_OPEN = 10**15


@dataclass
class TargetHistory:
    """What the history says of one target, without times and run numbers."""

    place: Place = ""
    #: What the next run compares with.
    memory: tuple[Any, ...] = ()
    intervals: list[tuple[Any, ...]] = field(default_factory=list)
    changes: list[tuple[Any, ...]] = field(default_factory=list)
    spans: list[tuple[Any, ...]] = field(default_factory=list)
    holds: list[tuple[Any, ...]] = field(default_factory=list)

    def observed(self) -> TargetHistory:
        """Return what comes from answers; that a target was added is known before its first one."""
        return replace(self, changes=[change for change in self.changes if change[0] != "target_added"])


def histories(engine: Engine) -> dict[Place, TargetHistory]:
    """Read what the whole history says, by place, at one moment."""
    with read(engine) as conn:
        found: dict[int, TargetHistory] = defaultdict(TargetHistory)
        for row in _rows(conn, _TARGETS):
            found[row["id"]].place = row["place"]
            found[row["id"]].memory = (_plain(row["body_hash"]), row["snapshot_digest"])
        for row in _rows(conn, _INTERVALS):
            is_open = row["closed_run_id"] is None
            found[row["target_id"]].intervals.append((row["digest"], bool(row["baseline"]), is_open, row["is_first"]))
        for row in _rows(conn, _CHANGES):
            told = [_plain(row[name]) for name in row if name != "target_id"]
            found[row["target_id"]].changes.append(tuple(told))
        for row in _rows(conn, _SPANS):
            is_open = row["to_run_id"] > _OPEN
            found[row["target_id"]].spans.append((row["outcome"], row["failure_class"], row["ret_code"], is_open))
        for row in _rows(conn, _HOLDS):
            found[row["target_id"]].holds.append((row["status"], row["image_set"], row["image_id"]))
    return {history.place: history for history in found.values()}


def _rows(conn: Connection, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for row in conn.execute(text(statement)).mappings()]


def _plain(value: Any) -> Any:
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The run that was killed, as it left the ledger."""

    run_id: int
    reached: frozenset[Place]
    scope: frozenset[Place]


def unfinished(engine: Engine) -> list[Unfinished]:
    """Return the runs without an end, and what each had reached."""
    with read(engine) as conn:
        places = {row["id"]: row["place"] for row in _rows(conn, _TARGETS)}
        found = []
        for run in _rows(conn, _UNFINISHED):
            scope = sorted(
                conn.execute(
                    text("SELECT target_id FROM scope_targets WHERE scope_id = :scope"), {"scope": run["scope_id"]}
                ).scalars()
            )
            reached = marked(run["reached"], scope)
            found.append(
                Unfinished(run["id"], frozenset(places[i] for i in reached), frozenset(places[i] for i in scope))
            )
        return found


def complaints(engine: Engine) -> list[str]:
    """Look for damage: SQLite's own integrity check, dangling references, overlapping intervals."""
    found: list[str] = []
    with read(engine) as conn:
        if is_sqlite(engine):
            found += [line for line in conn.execute(text("PRAGMA integrity_check")).scalars() if line != "ok"]
            found += [f"dangling reference: {row}" for row in conn.execute(text("PRAGMA foreign_key_check"))]
        overlapping = conn.execute(
            text(
                "SELECT a.id, b.id FROM intervals a JOIN image_versions v ON v.id = a.version_id"
                " JOIN intervals b ON b.target_id = a.target_id AND b.id > a.id"
                " JOIN image_versions w ON w.id = b.version_id AND w.image_id = v.image_id"
                " AND w.image_set = v.image_set WHERE a.valid_from < b.valid_to AND b.valid_from < a.valid_to"
            )
        )
        found += [f"overlapping intervals: {row}" for row in overlapping]
    return found


def differences(one: Mapping[Place, TargetHistory], other: Mapping[Place, TargetHistory]) -> list[str]:
    """Name the places of which the two histories say something else."""
    nothing = TargetHistory()
    return [
        f"{place}: {one.get(place, nothing)}\n   not {other.get(place, nothing)}"
        for place in sorted({*one, *other})
        if one.get(place, nothing) != other.get(place, nothing)
    ]
