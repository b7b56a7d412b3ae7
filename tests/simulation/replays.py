"""Replays what a game has recorded into a database of its own."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from crawler.crawl.replay import Replay
from crawler.crawl.run import judge_of
from crawler.db.engine import opened
from crawler.db.migrations import upgrade
from crawler.db.recorded import Recorded
from crawler.queries.replay import ReplayReport, compare_replay
from tests.simulation.expected_knowledge import STALE_AFTER
from tests.support.crawling import account_at, settings_for


def replayed(source: Engine, path: Path) -> ReplayReport:
    """Replay the history of *source* into a new file, and compare."""
    settings = settings_for("sqlite://", account_at("http://cloud.invalid/"), stale_after=STALE_AFTER)
    recorded = Recorded(source)
    with opened(path) as engine:
        upgrade(engine)
        done = Replay(recorded, engine, None, judge_of(settings)).run()
        return compare_replay(recorded, source, engine, runs=done.runs, answers=done.answers)
