"""What a run costs the database: writes follow the changes, not the targets."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from crawler.db import runs as db_runs
from crawler.db import targets
from crawler.db.engine import begin, opened, read
from tests.support.diary import Diary, Refusal, target
from tests.support.tally import tallied

TARGETS = [target(f"hk-{n // 40:02}", project=f"org-{n % 40}") for n in range(400)]
IMAGES = {f"uimage-{n}": f"Image {n}" for n in range(20)}
BATCH = 100


def crawl(diary: Diary, answers: Any) -> None:
    """Play a run as the pipeline does: judged one by one as they arrive, written in batches."""
    diary.now += timedelta(minutes=15)
    run_id, recorder = diary.start(list(answers))
    for position in range(0, len(answers), BATCH):
        recorder.judge([diary.item(where, answers[where]) for where in list(answers)[position : position + BATCH]])
        recorder.commit()
    diary.finish(run_id, recorder)


def test_unchanged_run(engine: Engine) -> None:
    """An unchanged run is one inserted row, an update per batch and one at the end, and no statement per target."""
    diary = Diary(engine)
    answers = dict.fromkeys(TARGETS, IMAGES)
    crawl(diary, answers)
    crawl(diary, answers)
    with tallied(engine) as tally:
        crawl(diary, answers)

    batches = len(TARGETS) // BATCH
    assert tally.count("INSERT", "DELETE") == tally.rows("INSERT", "INTO runs") == 1
    assert tally.count("UPDATE") == batches + 1
    assert (tally.rows("UPDATE", "marks"), tally.rows("UPDATE", "runs")) == (batches, 1)
    # the diary looks its targets up once more than a run does
    assert tally.transactions <= len(TARGETS) / 100 + 3
    assert tally.count("SELECT") <= 20


def test_growth_with_large_marks(sqlite_url: str) -> None:
    """Unchanged runs grow the file by a small row each, also where the mark of such a run nearly fills a page."""
    runs, reached = 40, bytes([255]) * 3_950
    with opened(sqlite_url) as engine:
        diary = Diary(engine)
        everywhere = {target(f"hk-{n}"): "" for n in range(8 * len(reached))}
        with begin(engine) as conn:
            ids = targets.add_targets(conn, diary.account_id, everywhere).values()
        sizes = []
        for _ in range(runs + 1):
            diary.now += timedelta(minutes=15)
            counters = {"ok": len(ids)}
            with begin(engine) as conn:
                run_id = db_runs.begin_run(conn, started_at=diary.now, account_ids=[diary.account_id], target_ids=ids)
            with begin(engine) as conn:
                db_runs.mark(conn, run_id, diary.account_id, reached=reached, at=diary.now, counters=counters)
            with begin(engine) as conn:
                db_runs.finish_run(conn, run_id, "complete", diary.now, {**counters, "sent": len(ids)})
            with read(engine) as conn:
                sizes.append(conn.exec_driver_sql("PRAGMA page_count").scalar_one() * 4096)

    assert (sizes[-1] - sizes[0]) / runs <= 300


def test_lasting_failures(engine: Engine) -> None:
    """Targets that stay denied or failed cost as little as unchanged ones."""
    diary = Diary(engine)
    answers = dict.fromkeys(TARGETS, Refusal())
    crawl(diary, answers)
    with tallied(engine) as tally:
        crawl(diary, answers)

    assert tally.count("INSERT", "DELETE") == 1
    assert tally.count("UPDATE") == len(TARGETS) // BATCH + 1


def test_shuffled_run(engine: Engine) -> None:
    """A cloud that shuffles every answer is read again each time, and writes nothing more for it."""
    diary = Diary(engine)
    crawl(diary, dict.fromkeys(TARGETS, IMAGES))
    shuffled = dict(reversed(IMAGES.items()))
    with tallied(engine) as tally:
        crawl(diary, dict.fromkeys(TARGETS, shuffled))

    assert tally.count("INSERT", "DELETE") == 1
    assert tally.count("UPDATE") == len(TARGETS) // BATCH + 1


def test_changed_run(engine: Engine) -> None:
    """Writes follow the changes: rows for what changed, in a number of statements that follows the batches."""
    diary = Diary(engine)
    answers: dict[Any, Any] = dict.fromkeys(TARGETS, IMAGES)
    crawl(diary, answers)
    for where in TARGETS[::10]:
        answers[where] = {**IMAGES, "uimage-new": "New", "uimage-0": "Another name"}
    with tallied(engine) as tally:
        crawl(diary, answers)

    assert tally.rows("INSERT", "INTO changes") == 80
    assert tally.rows("INSERT", "INTO intervals") == 80
    assert tally.rows("UPDATE", "intervals") == 40
    assert tally.rows("UPDATE", "targets") == 40
    assert tally.rows("INSERT", "INTO image_versions") == 2
    assert tally.rows("INSERT", "INTO payloads") == 1
    batches = len(TARGETS) // BATCH
    assert tally.count("INSERT", "UPDATE", "DELETE") <= 8 * batches
    assert tally.count("SELECT") <= 14 * batches + 20
