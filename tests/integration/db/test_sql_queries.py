"""The worked queries of the docs: on both databases they give what our own readers give."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from crawler.db.engine import begin, opened, read
from crawler.db.schema import Absence, HoldImage
from crawler.db.views import VIEWS
from crawler.domain.filters import Filters
from crawler.domain.guard import GuardPolicy
from crawler.domain.models import END_OF_TIME
from crawler.queries import changes
from crawler.queries import images as queries_images
from tests.support.acceptance_table import Proven
from tests.support.diary import START, Answer, Diary, Refusal, target
from tests.support.examples import blocks
from tests.support.other_user import as_nobody

NOW_IN, AS_OF, WITHDRAWN, BY_ZONE, ROLL_OUT = blocks("sql", "docs/sql.md")
ZONE = "hk-01"
TARGETS = [target(zone, project=f"org-{project}") for zone in (ZONE, "hk-02") for project in (1, 2, 3)]
STALE = timedelta(hours=26)


def lived(engine: Engine, seed: int) -> Diary:
    """Play a history with changes, failures, holds, silences, a killed run, and targets that are asked no more."""
    rng = random.Random(seed)
    diary = Diary(engine, policy=GuardPolicy(confirmations=2))
    ids = [f"uimage-{letter}" for letter in "abcdefgh"]
    names = {image_id: f"Name {number % 4}" for number, image_id in enumerate(ids)}
    for number in range(50):
        diary.now += timedelta(minutes=rng.choice([15, 15, 60, 600, 2_400]))
        answers: dict[Any, Answer] = {}
        for where in rng.sample(TARGETS, rng.choice([1, 5, 6, 6])):
            listed = {image_id: names[image_id] for image_id in rng.sample(ids, rng.choice([0, 2, 6, 7, 8]))}
            answers[where] = Refusal(outcome=rng.choice(["failed", "skipped"])) if rng.random() < 0.2 else listed
        diary.run(answers, finish=number != 25)
    targets = diary.ids(TARGETS)
    with begin(engine) as conn:
        for number, (where, reason) in enumerate(((TARGETS[0], "retired"), (TARGETS[1], "deselected"))):
            away = START + (diary.now - START) * (0.3 + 0.2 * number)
            back = END_OF_TIME if number else away + timedelta(days=2)
            row = {"target_id": targets[where], "reason": reason, "valid_from": away, "valid_to": back}
            conn.execute(insert(Absence).values(**row))
    return diary


def asked(engine: Engine, query: str, **parameters: Any) -> list[dict[str, Any]]:
    with read(engine) as conn:
        return [dict(row) for row in conn.execute(text(query), parameters).mappings()]


def agree(engine: Engine, diary: Diary, count: int) -> tuple[int, set[str]]:
    """Compare the as-of query with our reader at random moments; give how many rows, and which states there were."""
    rng = random.Random(9)
    length = diary.now - START + timedelta(days=3)
    rows, states = 0, set()
    for _ in range(count):
        at = START + length * rng.random()
        with read(engine) as conn:
            images = list(queries_images.images(conn, at, Filters(zone=(ZONE,)), now=at, stale_after=STALE))
        expected = {
            (
                image.target.project,
                image.image_set,
                image.image_id,
                f"unknown ({image.reason})" if image.reason else "present",
            )
            for image in images
        }
        found = asked(engine, AS_OF, t=at.timestamp(), zone=ZONE)
        assert len(found) == len(images)
        assert {(r["project"], r["image_set"], r["image_id"], r["state"]) for r in found} == expected, at
        rows += len(found)
        states |= {row["state"] for row in found}
    return rows, states


def test_as_of(engine: Engine) -> None:
    """At 100 random moments the as-of query has the rows and states of `crawler images --at`."""
    diary = lived(engine, 1)
    rows, states = agree(engine, diary, 100)

    assert rows > 500
    assert states == {
        "present",
        "unknown (held)",
        "unknown (failed)",
        "unknown (skipped)",
        "unknown (stale)",
    } | (states & {"unknown (never_observed)"})
    with read(engine) as conn:
        assert conn.execute(text(f"SELECT count(*) FROM {HoldImage.__tablename__}")).scalar_one() > 0


@pytest.mark.prove
def test_as_of_in_full(engine: Engine, proven: Proven) -> None:
    """At 1,000 random moments of two histories the as-of query has the rows and states of `crawler images --at`."""
    rows, _ = agree(engine, lived(engine, 2), 1_000)

    proven(f"SQL: the as-of query equals `images --at` for 1,000 T ({engine.dialect.name})", f"{rows} rows compared")


def test_now(engine: Engine) -> None:
    """What can be booted now is what `images` says is present, without what is superseded."""
    diary = Diary(engine, now=datetime.now(START.tzinfo) - timedelta(minutes=20))
    diary.run({TARGETS[0]: {"uimage-a": "Ubuntu"}, TARGETS[1]: {"uimage-a": "Ubuntu"}, TARGETS[3]: {"uimage-z": "X"}})
    diary.run({TARGETS[0]: {"uimage-a": "Ubuntu", "uimage-b": "ubuntu"}, TARGETS[1]: Refusal()}, at=diary.now)
    found = asked(engine, NOW_IN, zone=ZONE)

    assert [(row["project"], row["image_id"]) for row in found] == [("org-1", "uimage-b")]


def test_withdrawn(engine: Engine) -> None:
    """What was withdrawn since a moment is what `changes` says, with what replaced it."""
    diary = lived(engine, 3)
    since = START + (diary.now - START) / 2
    with read(engine) as conn:
        expected = [
            (change.target.zone, change.image_id, change.counterpart)
            for change in changes.changes(conn, since=since, events=("withdrawn",))
        ]

    found = [(r["zone"], r["image_id"], r["replaced_by"]) for r in asked(engine, WITHDRAWN, since=since.timestamp())]
    assert found == expected
    assert any(replaced for *_, replaced in found)


def test_by_zone(engine: Engine) -> None:
    """How well zones were observed: of so many observations so many good ones, the last of them when."""
    diary = Diary(engine)
    diary.run({TARGETS[0]: {"uimage-a": "A"}, TARGETS[3]: {}})
    diary.run({TARGETS[0]: Refusal(), TARGETS[3]: {}})
    first, second = asked(engine, BY_ZONE, since=START.timestamp())

    assert (first["zone"], first["observations"], first["good"]) == ("hk-01", 2, 1)
    assert (second["zone"], second["observations"], second["good"]) == ("hk-02", 2, 2)
    assert first["last_good"] < second["last_good"]
    assert asked(engine, BY_ZONE, since=(diary.now + timedelta(hours=1)).timestamp()) == []


def test_roll_out(engine: Engine) -> None:
    """When each zone first had a name, how many ids it went through, and which one is open."""
    diary = Diary(engine)
    diary.run({TARGETS[0]: {"uimage-a": "Ubuntu", "x": "X"}, TARGETS[3]: {"x": "X"}})
    diary.run({TARGETS[0]: {"uimage-b": "Ubuntu", "x": "X"}, TARGETS[3]: {"x": "X"}})
    diary.run({TARGETS[0]: {"uimage-b": "Ubuntu", "x": "X"}, TARGETS[3]: {"x": "X", "uimage-c": "Ubuntu"}})

    assert [(r["zone"], r["ids"], r["open_id"]) for r in asked(engine, ROLL_OUT, name="Ubuntu")] == [
        ("hk-01", 2, "uimage-b"),
        ("hk-02", 1, "uimage-c"),
    ]


def test_another_unix_user(sqlite_url: str) -> None:
    """Who may read the file and its folder gets the rows of every worked query and view, with any SQLite there is."""
    with opened(sqlite_url) as engine:
        diary = lived(engine, 4)
    parameters = {"zone": ZONE, "t": diary.now.timestamp(), "since": START.timestamp(), "name": "Name 1"}
    queries = [NOW_IN, AS_OF, WITHDRAWN, BY_ZONE, ROLL_OUT, *(f"SELECT * FROM {view}" for view in VIEWS)]

    def look() -> str:
        with closing(sqlite3.connect(path)) as conn:
            rows = [conn.execute(query, parameters).fetchall() for query in queries]
        return f"{sum(map(bool, rows))} {hashlib.sha256(repr(rows).encode()).hexdigest()}"

    with TemporaryDirectory(prefix="crawler-readable-") as folder:
        path = Path(folder, "crawler.db")
        shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), path)
        path.chmod(0o644)
        Path(folder).chmod(0o755)
        seen = as_nobody(look)
        assert seen == look()
    # nothing is certain enough to be booted so long after the last run
    assert seen.startswith(f"{len(queries) - 1} ")
