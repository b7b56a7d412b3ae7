"""Pruning a random history changes no answer about the kept window, whichever reader gives it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from crawler import History
from crawler.db.engine import address_of, read
from crawler.db.integrity import findings
from crawler.db.pruning import prune
from crawler.domain.models import iso_utc
from crawler.queries.check.rules import PinRule, Require
from crawler.queries.holds import holds
from tests.simulation.expected_knowledge import name_of
from tests.simulation.run import Simulation
from tests.simulation.seeds import fresh_database
from tests.simulation.world import NAMES, Weather
from tests.support.acceptance_table import Proven

FIRST = 900_000
SEEDS = 120
#: Histories that one test plays: side by side with others, and within the time that a test has.
PORTION = 40
RUNS = 30
MOMENTS = 8

Answers = dict[str, Any]


def ask_all(engine: Engine, simulation: Simulation, before: datetime, moments: list[datetime]) -> Iterator[Any]:
    """Ask every reader about the time from *before* on; yield questions with their answers."""
    address = address_of(engine)
    now = simulation.clock()
    spans = [span for past in simulation.oracle.pasts.values() for span in past.spans]
    ids = sorted({span.key.image_id for span in spans})
    names = sorted({*NAMES, *map(name_of, spans)} - {""})
    zones = sorted({spot.zone for spot in simulation.oracle.pasts})
    with History(address.url or str(address.path), clock=lambda: now) as history:
        for at in (*moments, None):
            yield f"images {at}", history.images(at, retired=True)
            yield f"where {at}", history.where("*", at, retired=True)
            yield f"compare {at}", [history.compare(zones[0], zone, at) for zone in zones]
        yield "where by name", [history.where(name, before, retired=True) for name in names]
        for first in moments:
            yield f"diff {first}", [history.diff(first, second) for second in moments[:3]]
        required = [Require(name=name, gpu=gpu) for name in names for gpu in (False, True)]
        pins = [PinRule(image_id=image_id, zone=zone) for image_id in ids for zone in (*zones, None)]
        yield "check", history.check([*required, *pins])
        yield "resolve", [resolved(history, zone, name) for zone in zones for name in names]
        yield "status", history.status(retired=True)
        recent = history.changes(since=before)
        yield "changes", recent
        for change in recent:
            explained = history.explain(change.id)
            yield f"explain {change.id}", explained and explained.as_dict()
        for image_id in ids:
            yield f"history {image_id}", list(timeline(history, image_id, before))
    with read(engine) as conn:
        yield "holds", [hold for hold in holds(conn, include_resolved=True) if not ended(hold.resolved_at, before)]


def ended(at: datetime | None, before: datetime) -> bool:
    return at is not None and at <= before


def resolved(history: History, zone: str, name: str) -> Any:
    try:
        return history.resolve(zone, name)
    except Exception as exc:  # noqa: BLE001 - a refusal is an answer
        return f"{type(exc).__name__}: {exc}"


def timeline(history: History, image_id: str, before: datetime) -> Iterator[Answers]:
    """Return the stays that reach into the window; of gaps only what lies in it."""
    window = iso_utc(before) or ""
    for row in history.history(image_id):
        if ended(row.valid_to, before):
            continue
        told = row.as_dict()
        for part in ("gaps", "gaps_before"):
            told[part] = [
                {**gap, "unknown_from": max(gap["unknown_from"], window)}
                for gap in told[part]
                if gap["unknown_to"] is None or gap["unknown_to"] > window
            ]
        yield told


def play(engine: Engine, seed: int) -> int:
    """Play a seed, prune it twice on the way, and count the answers that are equal before and after."""
    weather = Weather(seed)
    simulation = Simulation(engine, weather.model, seed=seed)
    rng = random.Random(f"pruned {seed}")
    equal = 0
    before = datetime.min.replace(tzinfo=UTC)
    try:
        for number in range(RUNS):
            simulation.run(weather.next_plan())
            if number not in (RUNS // 2, RUNS - 1):
                continue
            # the ends of runs and the times of changes are the moments at which something can go wrong
            past = [at for at in simulation.moments if before < at < simulation.clock()]
            before = rng.choice(past) + timedelta(microseconds=rng.choice((-1, 0, 1)))
            inside = [before, *(at for at in past if at >= before)]
            moments = [before, *rng.sample(inside, min(MOMENTS, len(inside)))]
            expected = dict(ask_all(engine, simulation, before, moments))
            prune(engine, None, before=before, now=simulation.clock())
            for question, answer in ask_all(engine, simulation, before, moments):
                assert answer == expected[question], f"seed {seed}, run {number}, pruned before {before}: {question}"
                equal += 1
            with read(engine) as conn:
                assert findings(conn) == []
    finally:
        simulation.close()
    return equal


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 6))
def test_no_answer_about_the_window_changes(seed: int) -> None:
    """Random histories are pruned at random moments and live on: every reader says what it said."""
    with fresh_database() as engine:
        assert play(engine, seed) > 100


def test_no_answer_changes_on_both_databases(engine: Engine) -> None:
    """So it is on SQLite on a disk and on PostgreSQL."""
    assert play(engine, FIRST + 100) > 100


@pytest.mark.prove
@pytest.mark.parametrize("first", range(FIRST + 1000, FIRST + 1000 + SEEDS, PORTION))
def test_no_answer_changes_in_many_histories(first: int, proven: Proven) -> None:
    """Many random histories, pruned and lived on: no answer about the window changes."""
    equal = 0
    for seed in range(first, first + PORTION):
        with fresh_database() as engine:
            equal += play(engine, seed)
    proven(f"prune: every reader, {PORTION} histories (from seed {first})", f"{equal:,} answers equal")
